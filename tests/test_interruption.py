"""A request to stop is never lost, wherever the signal falls, and is never an exception where none may be."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from sign_models import interruption
from tests.tracking.conftest import tracking  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
SIGNALLED = "import os, signal, sys, time\nfrom sign_models import interruption\nme = os.getpid()\n"
# Places where Python or a library drops whatever a signal handler raises.
SWALLOWED = {
    "a weakref callback": """
import weakref
class Thing: pass
thing = Thing()
kept = weakref.ref(thing, lambda ref: os.kill(me, SIGNUM))
del thing
""",
    "a WeakKeyDictionary": """
import weakref
class Key:
    def __hash__(self): return 1
class Value:
    def __del__(self): os.kill(me, SIGNUM)
kept = weakref.WeakKeyDictionary()
key = Key()
kept[key] = Value()
del key
""",
    "a finaliser": """
class Thing:
    def __del__(self): os.kill(me, SIGNUM)
Thing()
""",
    "a library that catches all": """
try:
    os.kill(me, SIGNUM)
    time.sleep(0.1)
except BaseException:
    pass
""",
    "garbage collection": """
import gc
class Thing:
    def __del__(self): os.kill(me, SIGNUM)
thing = Thing()
thing.itself = thing
del thing
gc.collect()
""",
    "an exit handler of a thread": """
import threading
thread = threading.Thread(target=lambda: os.kill(me, SIGNUM))
thread.start()
thread.join()
""",
}


def run(code: str, signum: int = signal.SIGTERM) -> tuple[int, float, str]:
    """Exit code, seconds and messages of a process that runs `code`."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED + code.replace("SIGNUM", str(int(signum)))],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, time.monotonic() - began, done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("place", SWALLOWED)
def test_a_signal_is_not_lost(place: str, signum: signal.Signals) -> None:
    code = f"interruption.guard()\ninterruption.prolong(30)\n{SWALLOWED[place]}\ntry:\n    interruption.check()\nexcept BaseException as error:\n"
    returned, _, errors = run(f"{code}    sys.exit(7)\nsys.exit(1)", signum)
    assert returned == 7 and "ignored" not in errors, errors


def test_a_wait_is_over_at_once() -> None:
    code = "interruption.guard()\nimport threading\nthreading.Timer(0.2, os.kill, (me, SIGNUM)).start()\n"
    returned, seconds, _ = run(f"{code}interruption.wait(30)")
    assert returned == 128 + signal.SIGTERM and seconds < 10


def test_what_does_not_look_at_the_flag_is_ended_and_children_with_it(tmp_path: Path) -> None:
    code = f"""
import subprocess
from sign_models.tracking.process import guard_process
guard_process()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
os.kill(me, SIGNUM)
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    returned, seconds, errors = run(code)
    assert returned == 128 + signal.SIGTERM and seconds < 20, errors
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the child lives on")


def test_a_run_whose_work_does_not_look_at_the_flag_ends_killed(tracking: Path) -> None:  # noqa: F811
    code = """
from sign_models.tracking.process import guard_process
from sign_models.tracking.runs import stage_run
guard_process()
with stage_run("pipeline"), stage_run("skeleton", nested=True):
    os.kill(me, SIGNUM)
    time.sleep(60)
"""
    returned, _, errors = run(code)
    assert returned == 128 + signal.SIGTERM, errors
    client = mlflow.MlflowClient()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert [r.info.status for r in runs] == ["KILLED", "KILLED"]


def test_a_deferred_block_is_ended_whole_and_what_follows_is_not_begun() -> None:
    code = """
interruption.guard()
with interruption.deferred():
    os.kill(me, SIGNUM)
    interruption.check()
    time.sleep(interruption.GRACE_S + 0.5)
    print("whole", file=sys.stderr)
interruption.check()
print("begun", file=sys.stderr)
"""
    returned, _, errors = run(code)
    assert returned == 128 + signal.SIGTERM and "whole" in errors and "begun" not in errors


def test_a_second_request_ends_whatever_is_deferred() -> None:
    code = """
import threading
interruption.SAME_REQUEST_S = 0.2
interruption.guard()
threading.Timer(0.1, os.kill, (me, SIGNUM)).start()
threading.Timer(0.2, os.kill, (me, SIGNUM)).start()  # the echo
threading.Timer(0.8, os.kill, (me, SIGNUM)).start()
with interruption.deferred():
    time.sleep(60)
"""
    returned, seconds, _ = run(code)
    assert returned == 128 + signal.SIGTERM and seconds < interruption.DEFERRED_S


@pytest.mark.parametrize(
    "after", ["interruption.complete()\nos.kill(me, SIGNUM)", "os.kill(me, SIGNUM)\ninterruption.complete()"]
)
def test_work_that_is_done_stays_done(after: str) -> None:
    code = f"interruption.guard()\n{after}\ntime.sleep(interruption.GRACE_S + 0.5)\ninterruption.check()\ninterruption.wait(0)\n"
    assert run(code)[0] == 0


def test_a_signal_that_comes_once_other_work_has_begun_counts() -> None:
    code = "interruption.guard()\ninterruption.complete()\ninterruption.begin()\nos.kill(me, SIGNUM)\ninterruption.check()\n"
    assert run(code)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("moment", ["set_terminated", "delete_tag"])
def test_a_signal_as_a_run_is_ended_does_not_deny_its_end(moment: str, tracking: Path) -> None:  # noqa: F811
    code = f"""
import mlflow
from sign_models.tracking.process import guard_process
from sign_models.tracking.runs import stage_run
guard_process()
ended = mlflow.MlflowClient.{moment}
def signalled(*args, **kwargs):
    ended(*args, **kwargs)
    os.kill(me, SIGNUM)
mlflow.MlflowClient.{moment} = signalled
with stage_run("skeleton"):
    pass
interruption.check()
"""
    returned, _, errors = run(code)
    client = mlflow.MlflowClient()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert (returned, [r.info.status for r in runs]) == (0, ["FINISHED"]), errors


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_child_that_is_told_to_end_does_so_and_its_parent_goes_on(how: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, sys, time
from sign_models import interruption

def work():
    time.sleep(60)

if __name__ == "__main__":
    interruption.guard()
    child = multiprocessing.get_context({how!r}).Process(target=work)
    child.start()
    time.sleep(0.5)
    child.terminate()
    child.join(20)
    time.sleep(interruption.GRACE_S + 0.3)
    interruption.check()
    sys.exit(5 if child.exitcode == -15 else 1)
""")
    done = subprocess.run([sys.executable, script], env={"PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.returncode == 5


def test_signals_that_are_ignored_stay_ignored_and_a_release_gives_them_back() -> None:
    code = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
interruption.guard()
os.kill(me, signal.SIGHUP)
time.sleep(0.2)
assert interruption.requested() is None
interruption.release()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.set_wakeup_fd(-1) == -1
"""
    returned, _, errors = run(code)
    assert returned == 0, errors


def test_other_threads_are_not_stopped() -> None:
    code = """
import threading
interruption.guard()
os.kill(me, SIGNUM)
time.sleep(0.2)
found = []
def look():
    interruption.check()
    found.append("on")
thread = threading.Thread(target=look)
thread.start()
thread.join()
sys.exit(5 if found else 1)
"""
    assert run(code)[0] == 5


@pytest.mark.parametrize("exit_code", [0, 130])
def test_a_signal_while_python_takes_itself_down_changes_no_exit_code(exit_code: int) -> None:
    code = f"""
class Last:
    def __del__(self, kill=os.kill, me=me): kill(me, SIGNUM)
last = Last()
interruption.guard()
interruption.finish()
sys.exit({exit_code})
"""
    assert run(code)[0] == exit_code
    if not exit_code:
        assert run(code.replace("interruption.finish()", ""))[0] == -signal.SIGTERM  # so that this test can fail


def test_a_signal_before_a_command_has_imported_anything_is_not_lost(tmp_path: Path) -> None:
    """A library that swallows what Python's own handler raises is imported first."""
    (tmp_path / "click.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(0.1)\n"
        "except BaseException:\n    pass\ntime.sleep(30)\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.lineage"], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGINT and "interrupted" in done.stderr, done.stderr
    assert time.monotonic() - began < 25
