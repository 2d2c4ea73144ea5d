"""The command line with the phases faked: what each flag makes of Options, refusals, exit codes, fast help."""

from __future__ import annotations

import importlib
import runpy
import shlex
import signal
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest

import sign_models.pipeline
from sign_models.cli import commands
from sign_models.errors import ResourceError
from sign_models.params import load
from sign_models.params.schema import PipelineParams
from sign_models.pipeline.options import Options
from sign_models.stages.declaration import STAGES

COMMANDS = ("pipeline", *STAGES)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch):
    """Runs an entry point's command line; answers (exit code, Options that its phase got or None)."""
    got: list[tuple[str, Options]] = []
    phases = types.ModuleType("sign_models.pipeline.runner")
    phases.run_pipeline = lambda options: got.append(("pipeline", options))
    phases.run_single = lambda stage, options: got.append((stage, options))
    monkeypatch.setitem(sys.modules, "sign_models.pipeline.runner", phases)
    monkeypatch.setattr(sign_models.pipeline, "runner", phases, raising=False)
    monkeypatch.setattr(commands, "guard_process", lambda: None)

    def run(name: str, *arguments: str) -> tuple[int, Options | None]:
        got.clear()
        with pytest.raises(SystemExit) as end:
            commands.run(importlib.import_module(f"entrypoints.{name}").main, arguments)
        if not got:
            return end.value.code, None
        ((phase, options),) = got
        assert phase == name
        return end.value.code, options

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_bare_command_asks_for_the_defaults(start, name: str) -> None:
    assert start(name) == (0, expected({}))


def embedded(stage: str | None = None, preset: str = "", sets: dict[str, str] | None = None) -> PipelineParams:
    """The parameters of a command without data of its own."""
    return load.resolve(stage, ",".join(filter(None, ("embedded", preset))), None, sets)


def expected(changed: dict) -> Options:
    own_data = {"data", "keypoints", "videos", "texts"} & changed.keys()
    usual = {"params": load.resolve()} if own_data else {"params": embedded(), "preset": "embedded"}
    return Options(**{**usual, **changed})


PIPELINE_FLAGS = [
    ("--stage skeleton", {"stage": "skeleton"}),
    ("--skip-trained", {"skip_trained": True}),
    ("--skip-trained true", {"skip_trained": True}),
    ("--skip-trained --stage temporal", {"skip_trained": True, "stage": "temporal"}),
    ("--skip-trained false", {"skip_trained": False}),
    ("--skip-trained ''", {"skip_trained": False}),
    ("--no-inference", {"inference": False}),
    ("--inference false", {"inference": False}),
    ("--inference no", {"inference": False}),
    ("--inference", {"inference": True}),
    ("--inference ''", {"inference": True}),
    ("--force alignment", {"force": ("alignment",)}),
    ("--force skeleton,temporal", {"force": ("skeleton", "temporal")}),
    ("--force all", {"force": ("all",)}),
    ("--experiment trial", {"experiment": "trial"}),
    ("--preset quick", {"preset": "embedded,quick", "params": embedded(None, "quick")}),
    ("--data clips", {"data": Path("clips")}),
    ("--data clips --relative-to /far", {"data": Path("/far/clips")}),
    ("--data /near --relative-to /far", {"data": Path("/near")}),
    ("--keypoints a.pkl --videos b.pkl --texts c.json",
     {"keypoints": Path("a.pkl"), "videos": Path("b.pkl"), "texts": Path("c.json")}),
    ("--epochs 50", {"params": embedded(sets={"epochs": "50"})}),
    ("--steps 9 --batch-size 4 --lr 1e-2 --seed 3",
     {"params": embedded(sets={"steps": "9", "batch_size": "4", "lr": "1e-2", "seed": "3"})}),
    ("--epochs '' --lr '' --data '' --stage '' --preset ''", {}),
    ("--alignment.training.lr 1e-4", {"params": embedded(sets={"alignment.training.lr": "1e-4"})}),
    ("--alignment.training.lr=1e-4", {"params": embedded(sets={"alignment.training.lr": "1e-4"})}),
    ("--alignment.generation.length_penalty -0.5",
     {"params": embedded(sets={"alignment.generation.length_penalty": "-0.5"})}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "changed"), PIPELINE_FLAGS)
def test_pipeline_flag(start, line: str, changed: dict) -> None:
    assert start("pipeline", *shlex.split(line)) == (0, expected(changed))


def test_the_seeds_own_command(start, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("skeleton: {training: {batch_size: 4, epochs: 5}}")
    line = f"--stage skeleton --skip-trained --no-inference --config-override {file}"
    code, options = start("pipeline", *line.split())
    assert (code, options.stage, options.skip_trained, options.inference) == (0, "skeleton", True, False)
    assert options.config_override == file
    assert (options.params.skeleton.training.batch_size, options.params.skeleton.training.epochs) == (4, 5)


@pytest.mark.parametrize(
    ("name", "line", "changed"),
    [
        ("temporal", "--skeleton-model champion", {"upstream": {"skeleton": "champion"}}),
        ("temporal", "--skeleton-model 3", {"upstream": {"skeleton": "3"}}),
        ("temporal", "--skeleton-model models:/sign-skeleton@champion",
         {"upstream": {"skeleton": "models:/sign-skeleton@champion"}}),
        ("temporal", "--skeleton-model runs:/0123abcd/model", {"upstream": {"skeleton": "runs:/0123abcd/model"}}),
        ("temporal", "--skeleton-model ''", {}),
        ("represent", "--temporal-model previous", {"upstream": {"temporal": "previous"}}),
        ("alignment", "--temporal-model 2 --representations 0123abcd",
         {"upstream": {"temporal": "2", "representations": "0123abcd"}}),
        ("generate", "--alignment-model 4 --representations 0123abcd",
         {"upstream": {"alignment": "4", "representations": "0123abcd"}}),
        ("alignment", "--epochs 50", {"params": embedded("alignment", sets={"epochs": "50"})}),
        ("alignment", "--finetune", {"params": embedded(sets={"alignment.finetune": "true"})}),
        ("alignment", "--finetune false", {"params": embedded(sets={"alignment.finetune": "false"})}),
        ("skeleton", "--training.lr 1e-4", {"params": embedded(sets={"skeleton.training.lr": "1e-4"})}),
        ("generate", "--batch-size 3", {"params": embedded(sets={"generate.batch_size": "3"})}),
    ],
)  # fmt: skip
def test_stage_flag(start, name: str, line: str, changed: dict) -> None:
    assert start(name, *shlex.split(line)) == (0, expected(changed))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("pipeline", "--lrr 1", "did you mean 'lr'"),
        ("pipeline", "--skip-trainde", "did you mean 'skip_trained'"),
        ("pipeline", "--no-inferense", "did you mean 'no_inference'"),
        ("pipeline", "--stage skeletn", "did you mean 'skeleton'"),
        ("pipeline", "--force alignmnt", "did you mean 'alignment'"),
        ("pipeline", "--preset quikc", "did you mean 'quick'"),
        ("pipeline", "--skip-trained perhaps", "wanted true or false"),
        ("pipeline", "--no-inference --inference true", "leave one out"),
        ("pipeline", "--epochs many", "skeleton.training.epochs is 'many'; wanted a valid number"),
        ("pipeline", "--config-override my_config.py", "write my_config.yaml"),
        ("pipeline", "skeleton", "'skeleton' is not an option"),
        ("pipeline", "--stage represent --epochs 3", "'epochs' is no option or parameter of represent"),
        ("skeleton", "--training.lr", "skeleton.training.lr is 'true'; wanted a valid number"),
        ("skeleton", "--temporal.training.lr 1", "it belongs to temporal"),
        ("temporal", "--skeleton-modle 3", "did you mean 'skeleton_model'"),
        ("temporal", "--skeleton-model checkpoints/best.pt", "'checkpoints/best.pt' looks like a file"),
        ("temporal", "--skeleton-model model.safetensors", "looks like a file"),
        ("temporal", "--skeleton-model file:///tmp/model", "looks like a file"),
        ("alignment", "--representations all_representations.npz", "wanted a run ID"),
        ("represent", "--epochs 3", "wanted one of data, keypoints"),
        ("skeleton", "--data", "requires an argument"),
        ("skeleton", "--processes 0", "processes: '0'; wanted a number from 1 on"),
        ("pipeline", "--processes two", "processes: 'two'; wanted a number from 1 on"),
        ("represent", "--processes 2", "'processes' is no option or parameter of represent"),
    ],
)
def test_refusal_comes_before_any_work(start, capsys: pytest.CaptureFixture, name, line, message) -> None:
    assert start(name, *shlex.split(line)) == (2, None)
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_several_processes_are_started_with_the_same_words(start, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.training import launch

    launched: list[tuple] = []
    monkeypatch.setattr(launch, "launch", lambda *given: launched.append(given))
    line = "--processes 2 --stage skeleton --skip-trained --no-inference --model.width=64 --lr 1e-4"
    assert start("pipeline", *line.split()) == (0, None)
    [(size, module, (name, *words))] = launched
    assert (size, module, name) == (2, "sign_models", "pipeline")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, options = start("pipeline", *words)  # as each of them
    assert code == 0 and len(launched) == 1
    assert options == expected(
        {"params": embedded("skeleton", sets={"model.width": "64", "lr": "1e-4"}), "stage": "skeleton",
         "skip_trained": True, "inference": False, "processes": 2}
    )  # fmt: skip


def test_an_existing_file_without_a_suffix_is_no_model_either(start, capsys, tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    assert start("temporal", "--skeleton-model", "weights", "--relative-to", str(tmp_path)) == (2, None)
    assert "looks like a file" in capsys.readouterr().err


def test_mlflow_run_has_its_own_experiment_option(start, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123abcd")
    assert start("pipeline", "--experiment", "trial") == (2, None)
    assert "mlflow run --experiment-name trial" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ResourceError("no space left", place="disk"), 2, "ResourceError: disk: no space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(143), 143, ""),
    ],
)
def test_how_it_ends_is_the_exit_code(monkeypatch, capsys, raised: BaseException, code: int, message: str) -> None:
    def work() -> None:
        raise raised

    monkeypatch.setattr(commands, "guard_process", lambda: None)
    with pytest.raises(SystemExit) as end:
        commands.run(click.Command("work", callback=work), [])
    assert end.value.code == code
    assert message in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "guard_process", lambda: None)
    with pytest.raises(ZeroDivisionError):
        commands.run(click.Command("work", callback=lambda: 1 // 0), [])


def test_sigterm_ends_with_143(root: Path) -> None:
    work = (
        "import click, time; from sign_models.cli import commands\ndef f(): print('on', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", work + "commands.run(click.Command('f', callback=f), [])"],
        cwd=root,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143


def test_what_is_left_is_not_searched_for_garbage_when_a_command_ends(root: Path) -> None:
    work = """
import click
from sign_models.cli import commands

class Left:
    def __init__(self):
        self.own = self

    def __del__(self):
        print("searched")

kept = []
commands.run(click.Command("work", callback=lambda: kept.append(Left())), [])
"""
    done = subprocess.run([sys.executable, "-c", work], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


ENTRYPOINTS = sorted(path.stem for path in Path(importlib.import_module("entrypoints").__path__[0]).glob("*.py"))


@pytest.mark.parametrize("name", [name for name in ENTRYPOINTS if name != "__init__"])
def test_every_module_does_something_when_it_is_started(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m entrypoints.import_` once did nothing and ended with 0."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setattr(commands, "guard_process", lambda: None)
    monkeypatch.delitem(sys.modules, f"entrypoints.{name}", raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"entrypoints.{name}", run_name="__main__")
    assert not end.value.code and "Usage" in capsys.readouterr().out


def test_help_explains_every_option_and_loads_nothing_heavy(root: Path) -> None:
    code = f"""
import importlib, sys
for name in {COMMANDS!r}:
    command = importlib.import_module("entrypoints." + name).main
    command.main(["--help"], standalone_mode=False)
    assert all(option.help for option in command.params if option.name not in ("overrides", "video")), name
heavy = {{"torch", "mlflow", "transformers", "matplotlib", "pandas", "scipy", "pose_format"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"python -m entrypoints.{name}" in done.stdout
    assert "--training.lr 0.001" in done.stdout
