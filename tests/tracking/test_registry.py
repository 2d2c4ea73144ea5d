from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import mlflow
import pytest

from sign_models.errors import UpstreamError
from sign_models.tracking.registered import registry
from sign_models.tracking.registered.registration import register, requirements
from sign_models.tracking.registered.registry import ModelRef, resolve
from sign_models.tracking.runs import Run, stage_run
from sign_models.tracking.sources import _read, reachable
from tests import warm
from tests.tracking import fakes

pytestmark = pytest.mark.usefixtures("tracking", "fakes")


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., ModelRef]:
    """Registers a model in a run of its own."""

    def train(stage: str = "skeleton", weight: float = 1.0, run: Run | None = None, **more: object) -> ModelRef:
        if run is None:
            with stage_run(stage) as run:
                return train(stage, weight, run, **more)
        given = {"metrics": {"val_loss": 0.5}, "upstream": {}, "tags": {}, "step": 10, **more}
        folder = fakes.write(tmp_path / "out", stage, weight)
        registered = register(run, stage, folder, **given)  # type: ignore[arg-type]
        shutil.rmtree(folder)  # the registry must not need it
        return registered

    return train


def test_every_name_of_a_version_finds_it(train: Callable[..., ModelRef]) -> None:
    first, second = train(weight=1.0), train(weight=2.0)
    client().set_registered_model_alias("sign-skeleton", "champion", "1")
    for version, specs in {
        first: ["champion", "1", first.run_id, "models:/sign-skeleton@champion", "models:/sign-skeleton/1"],
        second: ["candidate", "2", second.run_id, f"runs:/{second.run_id}", f"runs:/{second.run_id}/sign-skeleton",
                 f"models:/{second.model_id}", " 2 "],
    }.items():  # fmt: skip
        for spec in specs:
            found = resolve(spec, "skeleton")
            assert (found.version, found.model_id, found.run_id) == (version.version, version.model_id, version.run_id)
            assert found.asked == spec and found.uri == f"models:/sign-skeleton/{version.version}"
    assert float((resolve("1", "skeleton").path() / "model.safetensors").read_text()) == 1.0
    config = json.loads((resolve("2", "skeleton").path() / "config.json").read_text())
    assert config == {"stage": "skeleton", "width": 8}


def test_what_names_no_version_is_refused(train: Callable[..., ModelRef]) -> None:
    train()
    for spec, message in (
        ("canddate", "no such alias.*candidate \\(version 1\\).*did you mean 'candidate'"),
        ("7", "no version 7.*a version \\(1\\)"),
        ("0" * 32, "no such run"),
        ("checkpoints/best.pt", "looks like a file"),
        ("/data/model.safetensors", "looks like a file"),
        ("file:///data/model", "no URI"),
        ("models:/sign-temporal/1", "a version of sign-temporal"),
        ("models:/m-" + "0" * 32, "no version holds"),
        ("", "looks like a file"),
    ):
        with pytest.raises(UpstreamError, match=message):
            resolve(spec, "skeleton")


def test_a_file_is_never_read_even_where_it_is_named_like_an_alias(train: Callable[..., ModelRef]) -> None:
    train()
    fakes.write(Path("mymodel"), "skeleton")
    with pytest.raises(UpstreamError, match="a file of that name is not read"):
        resolve("mymodel", "skeleton")


def test_an_empty_registry_says_what_to_run() -> None:
    with pytest.raises(UpstreamError, match="none exists; run -e temporal first"):
        resolve("candidate", "temporal")


def test_a_run_without_our_model_is_refused(train: Callable[..., ModelRef]) -> None:
    skeleton = train()
    train("temporal")
    with pytest.raises(UpstreamError, match="this run registered sign-skeleton"):
        resolve(skeleton.run_id, "temporal")
    with stage_run("represent") as run:
        pass
    with pytest.raises(UpstreamError, match="stage 'represent' is FINISHED and registered no model"):
        resolve(run.id, "temporal")


def test_a_version_that_is_not_ready_is_refused(train: Callable[..., ModelRef]) -> None:
    train()
    pending = client().create_logged_model("1", name="sign-skeleton")
    client().create_model_version("sign-skeleton", f"models:/{pending.model_id}", model_id=pending.model_id)
    with pytest.raises(UpstreamError, match="PENDING"):
        resolve("2", "skeleton")
    client().delete_logged_model(resolve("1", "skeleton").model_id)
    with pytest.raises(UpstreamError, match="deleted"):
        resolve("1", "skeleton")


def test_files_that_are_gone_are_named(train: Callable[..., ModelRef]) -> None:
    shutil.rmtree(Path(train().location))
    with pytest.raises(UpstreamError, match="models:/sign-skeleton/1: the files of this version are gone"):
        resolve("1", "skeleton").path()


def test_a_registered_model_serves_and_tells_its_origin(train: Callable[..., ModelRef]) -> None:
    skeleton = train()
    with stage_run("temporal") as run:
        run.log_params({"temporal.model.width": 64})
        run.set_tags({"sign.data.training": "d" * 64})
        run.log_code_state()
        temporal = train("temporal", 3.0, run, upstream={"skeleton": skeleton}, tags={"sign.fingerprint": "f" * 64})
    loaded = mlflow.pyfunc.load_model(temporal.uri)
    example = loaded.input_example
    assert loaded.predict(example) == [{"text": "temporal 16", "score": 48.0}, {"text": "temporal 24", "score": 72.0}]
    tags = temporal.tags
    assert tags["sign.fingerprint"] == "f" * 64 and tags["sign.data.training"] == "d" * 64
    assert {"sign.commit", "sign.dirty", "sign.files"} <= tags.keys()
    assert json.loads(tags["sign.upstream.skeleton"]) == {
        "asked": "candidate", "uri": "models:/sign-skeleton/1",
        "run_id": skeleton.run_id, "model_id": skeleton.model_id,
    }  # fmt: skip
    found = client().get_run(run.id)
    assert [m.model_id for m in found.inputs.model_inputs] == [skeleton.model_id]
    assert [(m.model_id, m.step) for m in found.outputs.model_outputs] == [(temporal.model_id, 10)]
    model = client().get_logged_model(temporal.model_id)
    assert model.params == {"temporal.model.width": "64"} and model.source_run_id == run.id
    assert [(m.key, m.value, m.step) for m in model.metrics] == [("val_loss", 0.5, 10)]
    assert not list(Path(temporal.location).rglob("*.pkl"))


def test_registering_the_same_again_adds_nothing(train: Callable[..., ModelRef]) -> None:
    with stage_run("skeleton") as run:
        first = train(run=run)
        assert train(run=run) == first
        assert train(weight=2.0, run=run).version == 2
    assert len(registry.versions_of("sign-skeleton")) == 2


def test_a_model_that_answers_nonsense_is_never_registered(train: Callable[..., ModelRef]) -> None:
    train()
    with pytest.raises(UpstreamError, match="finite"):
        train(weight=float("nan"))
    assert resolve("candidate", "skeleton").version == 1
    assert len(registry.versions_of("sign-skeleton")) == 1


CALLS = (
    ("create_logged_model", "after"),
    ("log_model_artifacts", "after"),
    ("finalize_logged_model", "before"),
    ("create_model_version", "before"),
    ("create_model_version", "after"),
    ("set_registered_model_alias", "before"),
)
KILLED_WHILE_REGISTERING = """
import os
from pathlib import Path
from mlflow import MlflowClient
import sign_models.serving
from tests.tracking import fakes
sign_models.serving.load = fakes.Fake
from sign_models.tracking import runs
from sign_models.tracking.registered import registration
real = MlflowClient.create_model_version
def dying(*arguments, **more):
    real(*arguments, **more)
    os.kill(os.getpid(), 9)
MlflowClient.create_model_version = dying
with runs.stage_run("skeleton") as run:
    print(run.id, flush=True)
    folder = fakes.write(Path("out"), "skeleton", 2.0)
    registration.register(
        run, "skeleton", folder, metrics={}, upstream={}, tags={}, step=1
    )
"""


class Cut(BaseException):
    """The process ends here, as far as register can tell."""


def check_a_cut_registration(before: ModelRef, run_id: str, train: Callable[..., ModelRef]) -> None:
    assert resolve("candidate", "skeleton").model_id == before.model_id
    for version in registry.versions_of("sign-skeleton"):  # whatever can be named, loads
        assert resolve(str(version.version), "skeleton").path().is_dir()
    with stage_run("skeleton", run_id=run_id) as run:
        again = train(weight=2.0, run=run)
    assert resolve("candidate", "skeleton").model_id == again.model_id
    loaded = mlflow.pyfunc.load_model(again.uri)
    assert loaded.predict(loaded.input_example)
    assert len(registry.versions_of("sign-skeleton")) == 2  # the version that was cut off is found again
    steps = [point.step for point in client().get_metric_history(run_id, "val_loss")]
    assert steps in ([], [10])  # no point twice


@pytest.mark.parametrize(("call", "when"), CALLS)
def test_an_end_anywhere_in_registering_moves_no_alias(
    train: Callable[..., ModelRef], monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    before = train()
    real = getattr(mlflow.MlflowClient, call)

    def cut(*arguments: object, **more: object) -> None:
        if when == "after":
            real(*arguments, **more)
        raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut), stage_run("skeleton") as run:
        patch.setattr(mlflow.MlflowClient, call, cut)
        train(weight=2.0, run=run)
    check_a_cut_registration(before, run.id, train)


def test_a_kill_while_registering_moves_no_alias(train: Callable[..., ModelRef]) -> None:
    before = train()
    done = warm.run([sys.executable, "-c", KILLED_WHILE_REGISTERING])
    assert done.returncode == -9, done.stderr
    check_a_cut_registration(before, done.stdout.strip(), train)


def test_requirements_hold_whatever_the_served_code_imports() -> None:
    reached = reachable("sign_models.serving.served_model")
    roots = {name.partition(".")[0] for module in reached for name in _read(module).imports}
    # pyarrow, triton and huggingface_hub come with mlflow, torch and transformers; h5py is for files that no request brings
    known = {"sign_models", *sys.stdlib_module_names, "pyarrow", "triton", "huggingface_hub", "h5py"}
    packages = metadata.packages_distributions()
    needed = {packages[root][0].lower().replace("_", "-") for root in roots - known}
    assert needed <= {line.partition("==")[0].lower() for line in requirements()} | {"mlflow-skinny", "mlflow-tracing"}
    assert {"torch", "pydantic", "pose-format"} <= needed


def test_requirements_are_pinned_to_what_is_installed() -> None:
    pinned = dict(line.split("==") for line in requirements())
    assert {"mlflow", "torch", "numpy", "transformers"} <= pinned.keys()
    assert all(version and "+" not in version for version in pinned.values())
