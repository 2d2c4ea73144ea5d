"""`mlflow run` where there is no conda, and from another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests import warm
from tests.conftest import copy_store
from tools import conda_standin

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """bin/ with the stand-in, in front of a PATH that has no other conda."""
    bin = tmp_path / "bin"
    bin.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(bin), str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"]))
    for name in ("CONDA_EXE", "MLFLOW_CONDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(conda_standin.shutil, "which", lambda name, path: None)
    conda_standin.installed(bin / "conda")
    return bin


def environment_file(folder: Path, *pip: str, python: str = "python>=3.11,<3.14") -> str:
    file = folder / "conda.yaml"
    file.write_text(yaml.safe_dump({"dependencies": [python, "pip", {"pip": list(pip)}]}))
    return str(file)


def test_standin_answers_what_mlflow_asks(standin: Path) -> None:
    def conda(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["conda", *arguments], capture_output=True, text=True, timeout=60)

    assert conda("--help").returncode == 0
    assert conda("env", "list", "--json").stdout.split() == ['{"envs":', "[]}"]
    create = conda("env", "create", "-n", "mlflow-1234", "--file", str(ROOT / "conda.yaml"))
    assert (create.returncode, create.stderr) == (0, "")
    assert conda("install", "numpy").returncode == 2


@pytest.mark.parametrize(
    ("pip", "python", "message"),
    [
        ("pyyaml==0.1", "python>=3.11,<3.14", "pyyaml==0.1 is asked for"),
        ("no-such-package==1.0", "python>=3.11,<3.14", "no-such-package==1.0 is not installed"),
        ("-r other.txt", "python>=3.11,<3.14", "cannot be checked"),
        ("pyyaml", "python=3.8", "python=3.8 is asked for"),
        ("pyyaml", "ffmpeg", "which only conda can install"),
    ],
)
def test_standin_refuses_another_environment(tmp_path: Path, capsys, pip: str, python: str, message: str) -> None:
    file = environment_file(tmp_path, pip, python=python)
    assert conda_standin.main(["env", "create", "-n", "x", "--file", file]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "make setup" in error


def test_standin_takes_local_versions_and_conda_spelling(tmp_path: Path) -> None:
    python = f"python={sys.version_info.major}.{sys.version_info.minor}"
    assert conda_standin.disagreements(Path(environment_file(tmp_path, "pyyaml>=5", python=python))) == []


def test_standin_gives_way_to_a_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it stood in before the conda came."""
    target, conda = tmp_path / "venv" / "conda", tmp_path / "conda" / "conda"
    for folder in (target.parent, conda.parent):
        folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (target.parent, conda.parent))))
    assert "there is none" in conda_standin.installed(target) and os.access(target, os.X_OK)
    shutil.copy(target, conda)
    assert f"using {conda}" in conda_standin.installed(target)
    assert not target.exists()


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="`source activate` needs a virtual environment")
def test_bare_mlflow_run_from_another_folder_without_conda(standin: Path, tmp_path: Path) -> None:
    """Through the stand-in into the command, which refuses: the run ends FAILED and says why."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "my.yaml").write_text("alignment: {finetun: true}")
    done = subprocess.run(
        ["mlflow", "run", str(ROOT), "-P", "config_override=my.yaml", "-P", "lrr=1"],
        cwd=away,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"{away / 'my.yaml'}: alignment.finetun is no parameter; did you mean 'alignment.finetune'?" in done.stderr
    assert "'lrr' is no option or parameter; did you mean 'lr'?" in done.stderr
    from mlflow import MlflowClient

    (run,) = MlflowClient(f"sqlite:///{away / 'mlflow.db'}").search_runs(["0"])
    assert run.info.status == "FAILED"


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="`source activate` needs a virtual environment")
def test_mlflow_run_from_another_folder_trains_and_registers_there(
    standin: Path, fresh_store: Path, tiny_data: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    away = tmp_path / "away"
    away.mkdir()
    copy_store(fresh_store, away)
    shutil.copytree(tiny_data, tmp_path / "data")
    given = [
        "-P",
        "data=../data",
        "-P",
        "config_override=../data/tiny.yaml",
        "-P",
        "steps=2",
        "-P",
        "license=it's; $(touch x)",
    ]
    done = warm.run([sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "skeleton", *given], cwd=away)
    assert done.returncode == 0, done.stderr
    assert "skeleton: registered models:/sign-skeleton/1" in done.stderr
    client = MlflowClient(f"sqlite:///{away / 'mlflow.db'}")
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.project.entryPoint"] == run.data.tags["sign.stage"] == "skeleton"
    assert run.data.params["skeleton.training.steps"] == "2"
    version = client.get_model_version_by_alias("sign-skeleton", "candidate")
    assert (version.run_id, version.status) == (run.info.run_id, "READY")
    assert "| license | it's; $(touch x)" in version.description  # which no shell has read
    assert {path.name for path in away.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlruns", "mlartifacts"}
    assert list(away.glob("ml*s/**/model.safetensors"))


def test_a_fresh_database_is_made_without_this_package_in_the_process(tmp_path: Path) -> None:
    """Else a model that is loaded there would run with today's code in place of its own."""
    plugin = PYPROJECT["entry-points"]["mlflow.tracking_store"]["sqlite"]
    module, function = plugin.split(":")
    code = f"""
import sys
from {module} import {function}
store = {function}("sqlite:///{tmp_path}/a%20store.db", "{tmp_path}/artifacts")
assert [e.name for e in store.search_experiments()] == ["Default"]
assert "sign_models" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a store.db").stat().st_size
