"""A sweep: trials in the tracking store, pruned, gone on with after a kill; the best version is the candidate."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from entrypoints.sweep import main
from sign_models.cli import values
from sign_models.cli.commands import stage_command
from sign_models.cli.sweep import parse
from sign_models.errors import ParamsError, ResourceError
from sign_models.params.space import Choice, Range, Space, read_space
from tests import warm
from tests.conftest import copy_store

optuna = pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
ROOT = Path(__file__).resolve().parents[2]
NOTHING = {str(option.name): "" for option in main.params if option.name != "overrides"}


def space(folder: Path, text: str) -> str:
    path = folder / "space.yaml"
    path.write_text(text)
    return str(path)


def test_a_space_has_ranges_and_choices(tmp_path: Path) -> None:
    file = space(
        tmp_path, "training.lr: {low: 1e-4, high: 1e-2, log: true}\nmodel.layers: {low: 1, high: 3}\nseed: [0, 1]"
    )
    domains = read_space(Path(file)).domains
    assert domains == {"training.lr": Range(1e-4, 1e-2, True), "model.layers": Range(1, 3), "seed": Choice((0, 1))}
    assert domains["model.layers"].integer and not domains["training.lr"].integer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("training.lr: 3", "wanted"),
        ("training.lr: {low: 2, high: 1}", "wanted"),
        ("training.lr: {low: 0, high: 1, log: true}", "wanted"),
        ("training.lr: {low: 0.1, top: 1}", "wanted"),
        ("training.lr: []", "wanted"),
        ("training.lrr: {low: 0.1, high: 0.2}", "did you mean 'training.lr'"),
        ("decoder.layers: {low: 0, high: 2}", "greater than 0"),
        ("tokenizer.kind: [word, syllable]", "'word'"),
    ],
)
def test_a_space_that_no_trial_could_use_is_refused_before_any_work(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(NOTHING | {"space": space(tmp_path, text)}, [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": ""}, "space: not given"),
        ({"stage": "alignmnt"}, "did you mean 'alignment'"),
        ({"stage": "represent"}, "skeleton or temporal or alignment"),
        ({"trials": "0"}, "from 1 on"),
        ({"workers": "two"}, "from 1 on"),
    ],
)
def test_refusals(given: dict[str, str], message: str, tmp_path: Path) -> None:
    file = space(tmp_path, "training.lr: {low: 1e-4, high: 1e-2}")
    with pytest.raises(ParamsError, match=message):
        parse(NOTHING | {"space": file} | given, [])


def test_a_spark_session_is_started_where_none_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLflow's study takes the active session, and fails where nobody has started one."""
    from sign_models.tracking.studies import open_study

    started: list[str] = []

    class Builder:
        def appName(self, name: str) -> Builder:  # noqa: N802
            return self

        def getOrCreate(self) -> None:  # noqa: N802
            started.append("session")

    def study(name: str, *_: object, **__: object) -> str:
        if not started:
            raise RuntimeError("no active Spark session")
        return name

    for name, holds in {
        "pyspark": {},
        "pyspark.sql": {"SparkSession": SimpleNamespace(builder=Builder())},
        "mlflow.pyspark.optuna.study": {"MlflowSparkStudy": study},
    }.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**holds))
    monkeypatch.setattr("mlflow.optuna.storage.MlflowStorage", lambda experiment_id: None)
    assert open_study("a", "0", None, None, spark=True) == "a"


class JavaError(Exception):
    """As py4j raises it where no master answers, which is none of Spark's own errors."""

    def __str__(self) -> str:
        return (
            "An error occurred while calling None.org.apache.spark.sql.classic.SparkSession.\n"
            ": java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\n\n"
            "\tat org.apache.spark.SparkContext.assertNotStopped(SparkContext.scala:128)\n"
        )


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (JavaError(), "a stopped SparkContext"),
        (
            RuntimeError("Optimization failed.\nTraceback\n  x\nModuleNotFoundError: no 'sign_models'"),
            "no 'sign_models'",
        ),
        (ValueError(), "ValueError"),
    ],
)
def test_what_spark_raises_is_one_line(raised: Exception, found: str) -> None:
    from sign_models.tracking.studies import translate_spark_errors

    with (
        pytest.raises(ResourceError, match=f"spark: .*{found}.*; wanted a session; start one") as told,
        translate_spark_errors("a session", "start one"),
    ):
        raise raised
    assert "\n" not in str(told.value) and "scala:" not in str(told.value)


@contextmanager
def spark_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A stand-alone cluster of one worker on loopback, whose executors work in folders of their own; its settings."""
    import pyspark

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{free.getsockname()[1]}"
    (folder / "conf").mkdir(parents=True)
    lines = ["spark.driver.host 127.0.0.1", "spark.executor.memory 600m", "spark.ui.enabled false"]
    (folder / "conf" / "spark-defaults.conf").write_text("\n".join([f"spark.master {master}", *lines]))
    env = os.environ | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    begin = [str(Path(pyspark.__file__).with_name("bin") / "spark-class")]
    on = ["--host", "127.0.0.1", "--webui-port", "0"]
    with (folder / "log").open("w") as log, ExitStack() as stack:
        for words in (
            ["org.apache.spark.deploy.master.Master", *on, "--port", master.rpartition(":")[2]],
            ["org.apache.spark.deploy.worker.Worker", *on, *"--cores 2 --memory 2g -d".split(), str(folder), master],
        ):
            process = subprocess.Popen([*begin, *words], env=env, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield {"SPARK_CONF_DIR": str(folder / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local mode", "cluster"])
def test_a_sweep_on_spark(where: str, tiny_data: Path, tmp_path: Path) -> None:
    """Trials run in Spark's Python processes, wherever these work, and the next call goes on with the study."""
    from mlflow import MlflowClient

    pytest.importorskip("pyspark", reason="pyspark is not installed: it is no part of the extra `sweep`")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    here = tmp_path / "here"
    shutil.copytree(tiny_data, here / "data")
    with nullcontext({}) if where == "local mode" else spark_cluster(tmp_path / "spark") as settings:
        for asked, words in ((2, "2 trials ended"), (3, "goes on after 2 trials")):
            more = ("--trials", str(asked), "--workers", "2", "--spark", "true")
            said, _ = sweep(here, Path("data"), *more, store="sqlite:///mlflow.db", **settings).communicate()
            assert words in said and "candidate is this version now" in said, said
    ended = [run for run in trials(MlflowClient(f"sqlite:///{here}/mlflow.db")) if run.info.status == "FINISHED"]
    assert len(ended) == 3


@pytest.mark.parametrize("typed", ["", ".", "below", "../here/below"])
def test_a_trial_reads_the_same_files_wherever_it_starts(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's executors work in folders of their own."""
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    monkeypatch.chdir(here)
    space(here / typed, "training.lr: {low: 1e-4, high: 1e-2}")
    given = NOTHING | {"stage": "skeleton", "space": "space.yaml", "data": "mine", "relative_to": typed}
    (here / typed / "mine").mkdir()
    arguments = parse(given, []).arguments
    monkeypatch.chdir(tmp_path)
    options = dict(stage_command("skeleton").make_context("skeleton", [*arguments]).params)
    assert values.path(options, "data").resolve() == (here / typed / "mine").resolve()


@pytest.mark.parametrize("prune", [False, True])
def test_a_training_that_is_worse_than_the_others_is_stopped(
    prune: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four trials set the median. A fifth whose curve is worse is pruned at its first point, and its process ends."""
    from sign_models.pipeline import sweep

    curves = {f"run {n}": [(0, 0.5), (1, 0.6 + n / 100)] for n in range(4)}
    curves["run 4"] = [(0, 0.4)] if prune else [(0, 0.7), (1, 0.9)]
    children: list[subprocess.Popen[bytes]] = []
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=4))
    training = sweep.Training("skeleton", Space({"seed": Choice((0,))}), (), "0")
    asked: list[str] = []

    popen = subprocess.Popen

    def child(*_: object, **__: object) -> subprocess.Popen[bytes]:
        lasts = prune and len(asked) == 5
        children.append(popen([sys.executable, "-S", "-c", "import time; time.sleep(60)" if lasts else ""]))
        if not lasts:
            children[-1].wait()
        return children[-1]

    names = iter(curves)
    monkeypatch.setattr(sweep.Training, "_child_run", lambda self, trial: asked.append(name := next(names)) or name)
    monkeypatch.setattr(sweep, "_curve", lambda run_id: curves[run_id])
    monkeypatch.setattr(sweep, "client", lambda: SimpleNamespace(set_tag=lambda *_: None))
    monkeypatch.setattr(sweep.subprocess, "Popen", child)
    monkeypatch.setattr(sweep, "POLL_S", 0.01)
    study.optimize(training, n_trials=5)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 4 + ["PRUNED" if prune else "COMPLETE"]
    assert all(one.returncode is not None for one in children) and (children[-1].returncode != 0) == prune


def sweep(folder: Path, data: Path, *more: str, store: str = "", **settings: str) -> warm.Popen:
    file = Path(space(folder, "training.lr: {low: 1e-4, high: 1e-2, log: true}"))
    words = (
        f"--stage skeleton --space {file.name} --preset quick --data {data} --training.steps 8 --training.evaluations 2"
    )
    return warm.Popen(
        [sys.executable, "-m", "entrypoints.sweep", *words.split(), *more],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "MLFLOW_TRACKING_URI": store or f"sqlite:///{folder}/mlflow.db", **settings},
    )  # fmt: skip


@pytest.mark.slow
def test_two_workers_a_kill_and_the_rest(fresh_store: Path, tiny_data: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{copy_store(fresh_store, tmp_path)}"
    first = sweep(tmp_path, tiny_data, "--trials", "3", "--workers", "2")
    client, deadline = MlflowClient(uri), time.monotonic() + 120
    while time.monotonic() < deadline and first.poll() is None:  # until a trial has ended
        time.sleep(0.5)
        if [r for r in trials(client) if r.info.status == "FINISHED"]:
            break
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {run.info.run_id for run in trials(client) if run.info.status in ("FINISHED", "KILLED")}
    assert 0 < len(before) < 3
    second = sweep(tmp_path, tiny_data, "--trials", "3", "--workers", "2")
    said, _ = second.communicate(timeout=240)
    assert second.returncode == 0, said
    assert f"goes on after {len(before)} trials" in said
    runs = trials(client)
    ended = [run for run in runs if run.info.status in ("FINISHED", "KILLED")]
    assert len(ended) >= 3 and before <= {run.info.run_id for run in ended}
    assert not [run for run in runs if run.info.status == "RUNNING"]
    (done,) = client.search_runs(["0"], "attributes.status = 'FINISHED' and tags.`sign.stage` = 'sweep'")
    assert {"importance.png", "importance.json", "trials.json"} <= {
        f.path for f in client.list_artifacts(done.info.run_id)
    }
    best = max((run for run in ended if run.info.status == "FINISHED"), key=lambda run: run.data.metrics["value"])
    candidate = client.get_model_version_by_alias("sign-skeleton", "candidate")
    trained = client.get_run(candidate.run_id)
    assert trained.data.tags["mlflow.parentRunId"] == best.info.run_id
    assert float(trained.data.params["skeleton.training.lr"]) == pytest.approx(float(best.data.params["training.lr"]))


def trials(client) -> list:
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run for run in client.search_runs(ids) if "param_directions" in run.data.tags]
