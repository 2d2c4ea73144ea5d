"""What a command loads is what was registered, and the code that runs is this package's own."""

from __future__ import annotations

import compileall
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import UpstreamError
from sign_models.tracking.registered.promotion import Gate, promote, rollback
from sign_models.tracking.registered.registration import register, smoke_test
from sign_models.tracking.registered.registry import FILES, PACKAGE_FILES, ModelRef, resolve
from sign_models.tracking.runs import stage_run
from sign_models.tracking.store import folder_digest
from tests.tracking import fakes

pytestmark = pytest.mark.usefixtures("tracking", "fakes")
Train = Callable[[], ModelRef]
FOREIGN = 'open("/proc/self/cwd/foreign", "w").write("ran")\n'


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def train() -> ModelRef:
        with stage_run("generate") as run:
            folder = fakes.write(tmp_path / "out", "translator", 1.0)
            return register(run, "translator", folder, metrics={"test.chrf": 50.0}, upstream={}, tags={}, step=1)

    return train


def change(path: Path) -> None:
    path.write_text(path.read_text() + " ")


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": lambda model: change(model / "model.safetensors"),
    "zeroed weights": lambda model: (model / "model.safetensors").write_text("0.0"),
    "config": lambda model: change(model / "config.json"),
    "a file more": lambda model: (model / "tokenizer.py").write_text(FOREIGN),
    "a folder more": lambda model: ((model / "tokenizer").mkdir(), (model / "tokenizer" / "x").write_text("")),
    "a file less": lambda model: (model / "config.json").unlink(),
    "another name": lambda model: (model / "config.json").rename(model / "config2.json"),
}


def test_a_model_that_was_changed_in_the_store_is_not_loaded(train: Train, tmp_path: Path) -> None:
    stored = Path(train().location, "artifacts", "model")
    shutil.copytree(stored, tmp_path / "as registered")
    for changed in CHANGES.values():
        assert resolve("1", "translator").path()
        changed(stored)
        for use in (
            lambda: resolve("1", "translator").path(),
            lambda: promote("sign-translator", "1", gate=Gate(force=True), reason="x"),
        ):
            with pytest.raises(UpstreamError, match="models:/sign-translator/1: its files have.*changed in the store"):
                use()
        shutil.rmtree(stored)
        shutil.copytree(tmp_path / "as registered", stored)


def test_a_version_that_mlflow_has_loaded_or_served_is_promoted(train: Train) -> None:
    """A store on this machine is loaded from in place: MLflow and Python leave files there."""
    location = Path(train().location)
    mlflow.artifacts.download_artifacts("models:/sign-translator/1")
    assert compileall.compile_dir(location / "code", quiet=2)
    assert {path.name for path in location.rglob("*")} >= {"registered_model_meta", "__pycache__"}
    assert promote("sign-translator", "1").version == 1


def test_what_the_first_try_leaves_is_not_registered(train: Train) -> None:
    """Python writes byte code beside what it imports, and each time other byte code."""
    assert not sys.dont_write_bytecode
    version = train()
    assert not [path for path in Path(version.location).rglob("*") if "__pycache__" in path.parts]
    assert promote("sign-translator", "1").version == 1


def test_a_version_that_was_registered_with_it_is_promoted(train: Train) -> None:
    location = Path(train().location)
    assert compileall.compile_dir(location / "code", quiet=2)
    mlflow.MlflowClient().set_model_version_tag("sign-translator", "1", PACKAGE_FILES, folder_digest(location))
    assert promote("sign-translator", "1").version == 1


def test_a_version_without_digests_is_not_loaded(train: Train) -> None:
    train()
    mlflow.MlflowClient().delete_model_version_tag("sign-translator", "1", FILES)
    with pytest.raises(UpstreamError, match="none was registered"):
        resolve("1", "translator").path()


def plant(model: ModelRef) -> None:
    """Foreign code wherever MLflow would run it."""
    for path in Path(model.location).rglob("*.py"):
        path.write_text(path.read_text() + FOREIGN)


def test_code_that_was_changed_in_the_store_is_neither_run_nor_promoted(train: Train) -> None:
    train(), train()
    promote("sign-translator", "1")
    plant(resolve("2", "translator"))
    with pytest.raises(UpstreamError, match="changed in the store"):
        promote("sign-translator", "2")
    promote("sign-translator", "1", alias="staging")
    plant(resolve("1", "translator"))
    assert resolve("1", "translator").path()  # the stages load weights and config only
    with pytest.raises(UpstreamError):
        rollback("sign-translator", "staging")
    assert not Path("foreign").exists()


def test_code_of_a_version_is_never_run_even_where_it_is_what_was_registered(train: Train) -> None:
    model = train()
    plant(model)
    digest = folder_digest(Path(model.location))
    mlflow.MlflowClient().set_model_version_tag("sign-translator", "1", PACKAGE_FILES, digest)
    smoke_test(resolve("1", "translator"))
    promote("sign-translator", "1")
    assert not Path("foreign").exists()
    mlflow.pyfunc.load_model("models:/sign-translator/1")
    assert Path("foreign").exists()  # so that this test can fail: MLflow runs it
