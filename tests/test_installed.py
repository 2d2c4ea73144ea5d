"""The package as others get it: a built wheel, outside of the checkout, used from Python and by `sign-models`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml
from click.testing import CliRunner

import sign_models
from sign_models.cli import group

PARTS = ("sign_models", "entrypoints", "params", "tools", "tests", "examples", "benchmarks")
FILES = ("sign_models_mlflow.py", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package, built from a copy of the sources."""
    root, copy = Path(__file__).resolve().parents[1], tmp_path_factory.mktemp("sources")
    for part in PARTS:
        shutil.copytree(root / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(root / file, copy / file)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", target, copy], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def run(site: Path, tmp_path: Path):
    """Runs a command in a folder without the sources, with the installed package before all others."""

    def call(*command: object, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env={**os.environ, "PYTHONPATH": str(site), **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_nothing_is_installed_under_a_name_that_others_use(site: Path) -> None:
    names = {path.name for path in site.iterdir() if path.suffix != ".dist-info"} - {"bin", "__pycache__"}
    assert names == {"sign_models", "sign_models_mlflow.py"}


def test_mlflow_finds_the_store_of_the_package(run) -> None:
    code = "from mlflow.tracking._tracking_service.utils import _tracking_store_registry as stores; "
    code += "print(stores.get_store_builder('sqlite:///x.db').__module__)"
    assert run("-c", code).strip() == "sign_models_mlflow"


TRANSLATE = """
import json, sys
import sign_models as sm

assert not {"torch", "mlflow", "numpy"} & set(sys.modules), "a bare import is to be light"
assert len(sm.__all__) <= 5 and set(sm.__all__) <= set(dir(sm))
translator = sm.load("models:/sign-translator@candidate")
clips = sm.read(sys.argv[1], fps=25)
found = {clip.id: [vars(segment) for segment in translator.translate(clip)] for clip in clips}
several = [vars(segment) for segment in translator.translate(clips[0], beams=4, n_best=3)]
print(json.dumps({"file": sm.__file__, "found": found, "several": several, "uri": translator.uri}))
"""


@pytest.mark.usefixtures("pipeline")
def test_an_installed_package_translates_clips_as_the_pipeline_did(run, site: Path, tiny_data: Path) -> None:
    said = json.loads(run("-c", TRANSLATE, tiny_data / "video_sequences.pkl"))
    assert Path(said["file"]).is_relative_to(site) and said["uri"] == "models:/sign-translator/1"
    made_by = mlflow.MlflowClient().get_model_version("sign-translator", "1").run_id
    results = json.loads(mlflow.artifacts.load_text(f"runs:/{made_by}/generation_results.json"))["results"]
    texts = {row["id"]: row["text"] for row in results}
    assert said["found"].keys() == texts.keys()
    for name, segments in said["found"].items():
        assert " ".join(s["text"] for s in segments) == texts[name]
        assert all(0 <= s["start"] < s["end"] and 0 <= s["confidence"] <= 1 for s in segments)
    [best] = said["several"]
    assert len(best["n_best"]) == 2 and len({best["text"], *best["n_best"]}) == 3


TRAIN = """
import json, sys
import sign_models as sm

data, params = sys.argv[1:]
made = sm.train(data, stage="skeleton", params=json.loads(params), experiment="notebook")
again = sm.train(data, stage="skeleton", params=json.loads(params), experiment="notebook", skip_trained=True)
print(json.dumps([made, again]))
for wrong in ({"stage": "skeletn"}, {"params": {"skeleton.training.lrr": 1}}, {"preset": "quikc"}):
    try:
        sm.train(data, **wrong)
    except Exception as error:
        assert type(error).__name__ == "ParamsError", error
    else:
        raise AssertionError(wrong)
"""


def test_an_installed_package_trains(run, tmp_path: Path, tiny_data: Path) -> None:
    sizes = {"part_width": 8, "width": 8, "layers": 1}
    params = {"training.steps": 2, "training.batch_size": 4, **{f"model.{name}": size for name, size in sizes.items()}}
    store = f"sqlite:///{tmp_path}/mlflow.db"
    said = run("-c", TRAIN, tiny_data, json.dumps(params), MLFLOW_TRACKING_URI=store).splitlines()
    made, again = json.loads(next(line for line in said if line.startswith("[")))
    assert made == again == {"skeleton": "models:/sign-skeleton/1"}


def test_every_command_is_there_with_its_parameters(run, site: Path, root: Path) -> None:
    entries = yaml.safe_load((root / "MLproject").read_text())["entry_points"].keys() - {"main"}
    script = site / "bin" / "sign-models"
    told = run(script, "--help")
    assert entries == {line.split()[0] for line in told.partition("Commands:")[2].splitlines() if line.strip()}
    assert "--training.lr 0.001" in run(script, "skeleton", "--help")
    assert "quick" in run(script, "pipeline", "--help")
    assert "Write keypoints" in run(script, "import", "--help")


def test_python_m_runs_the_same_commands(run, site: Path) -> None:
    (first, *rest), (other, *others) = (
        run(*program, "skeleton", "--help").splitlines()
        for program in (("-m", "sign_models"), (site / "bin" / "sign-models",))
    )
    assert "python -m sign_models skeleton" in first and "sign-models skeleton" in other and rest == others


@pytest.mark.parametrize("name", group.names())
def test_the_examples_of_each_command_work_without_a_checkout(name: str) -> None:
    told = CliRunner().invoke(group.group, [name, "--help"]).output.partition("\nExamples:\n")[2]
    lines = [line.strip() for line in told.partition("\n\n")[0].splitlines()]
    assert lines
    for line in lines:
        program, other, *words = shlex.split(line)
        assert program == "sign-models", line
        command = group.command(other)
        command.make_context(other, words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(run, site: Path, shell: str) -> None:
    script = site / "bin" / "sign-models"
    assert "sign-models" in run(script, _SIGN_MODELS_COMPLETE=f"{shell}_source")
    words = {"COMP_WORDS": "sign-models ske", "COMP_CWORD": "1"}
    assert "skeleton" in run(script, _SIGN_MODELS_COMPLETE="bash_complete", **words)


def test_a_mistake_of_the_user_is_one_message(site: Path, tmp_path: Path) -> None:
    command = [sys.executable, site / "bin" / "sign-models", "skeleton", "--trainng.lr", "1"]
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "did you mean 'training.lr'" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_types_reach_other_projects(site: Path, tmp_path: Path) -> None:
    assert (site / "sign_models" / "py.typed").is_file()
    stub = (site / "sign_models" / "__init__.pyi").read_text(encoding="utf-8")
    assert set(re.findall(r"import \w+ as (\w+)", stub)) == set(sign_models.__all__)
