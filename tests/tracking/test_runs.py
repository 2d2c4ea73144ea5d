from __future__ import annotations

import logging
from pathlib import Path

import mlflow
import pytest

from sign_models import interruption
from sign_models.errors import DataError, ParamsError, UpstreamError
from sign_models.tracking.notes import NOTE
from sign_models.tracking.runs import stage_run

pytestmark = pytest.mark.usefixtures("tracking")


def the_run(run_id: str):
    return mlflow.MlflowClient().get_run(run_id)


def points(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in mlflow.MlflowClient().get_metric_history(run_id, name)]


@pytest.mark.parametrize(
    ("error", "status"),
    [(DataError("x"), "FAILED"), (ZeroDivisionError(), "FAILED"), (KeyboardInterrupt(), "KILLED"),
     (interruption.Terminated(15), "KILLED"), (SystemExit(1), "FAILED")],
)  # fmt: skip
def test_a_run_ends_as_its_body_did(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), stage_run("skeleton") as run:
        run.log_metrics({"loss": 1.0}, step=1)
        raise error
    assert the_run(run.id).info.status == status
    assert points(run.id, "loss") == [(1, 1.0)]
    assert mlflow.active_run() is None


def test_a_child_belongs_to_the_run_around_it() -> None:
    with stage_run("pipeline") as parent, stage_run("skeleton", nested=True, tags={"colour": "blue"}) as child:
        pass
    found = the_run(child.id)
    assert found.data.tags["mlflow.parentRunId"] == parent.id
    assert found.data.tags["sign.stage"] == "skeleton" and found.data.tags["colour"] == "blue"
    assert found.info.status == the_run(parent.id).info.status == "FINISHED"
    assert found.info.experiment_id == mlflow.MlflowClient().get_experiment_by_name("tests").experiment_id


def test_the_run_that_mlflow_run_made_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mlflow.MlflowClient().create_run("1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    with stage_run("pipeline") as parent, stage_run("skeleton", nested=True) as child:
        assert parent.id == made != child.id
        assert not parent.resumed


def test_a_resumed_run_has_no_point_twice() -> None:
    with pytest.raises(KeyboardInterrupt), stage_run("skeleton") as run:
        for step in range(5):
            run.log_metrics({"loss": float(step)}, step)
        raise KeyboardInterrupt
    with stage_run("skeleton", run_id=run.id) as again:
        assert again.resumed
        for step in range(3, 8):
            again.log_metrics({"loss": float(step), "accuracy": 0.5}, step)
    assert points(run.id, "loss") == [(step, float(step)) for step in range(8)]
    assert [step for step, _ in points(run.id, "accuracy")] == list(range(3, 8))
    assert the_run(run.id).info.status == "FINISHED"


def test_a_child_that_is_resumed_moves_to_the_new_parent() -> None:
    with stage_run("pipeline"), pytest.raises(KeyboardInterrupt), stage_run("skeleton", nested=True) as child:
        raise KeyboardInterrupt
    with stage_run("pipeline") as parent, stage_run("skeleton", nested=True, run_id=child.id):
        pass
    assert the_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


def test_a_run_of_another_stage_is_not_resumed() -> None:
    with stage_run("skeleton") as run:
        pass
    with pytest.raises(UpstreamError, match="skeleton"), stage_run("temporal", run_id=run.id):
        raise AssertionError("entered")
    with pytest.raises(UpstreamError, match="no such run"), stage_run("temporal", run_id="0" * 32):
        raise AssertionError("entered")


def test_params_are_stored_in_any_number_and_length() -> None:
    params: dict[str, object] = {f"model.p{i}": i for i in range(250)} | {"data.classes": "x" * 9000, "lr": 1e-3}
    with stage_run("skeleton") as run:
        run.log_params(params)
        run.log_params(params)  # the same again is no conflict
    stored = the_run(run.id).data.params
    assert len(stored) == len(params) and stored["lr"] == "0.001"
    assert len(stored["data.classes"]) == 6000 and stored["data.classes"].endswith("[cut from 9000 characters]")


def test_other_params_on_resuming_are_refused() -> None:
    with stage_run("skeleton") as run:
        run.log_params({"model.width": 64})
    with pytest.raises(ParamsError, match="model.width.*'128'.*'64'"), stage_run("skeleton", run_id=run.id) as again:
        again.log_params({"model.width": 128})


def test_data_models_and_code_are_recorded() -> None:
    digest = "0123456789abcdef" * 4
    client = mlflow.MlflowClient()
    model = client.create_logged_model("1", name="sign-skeleton")
    with stage_run("skeleton") as run:
        run.log_dataset("cafe", digest, "training", {"clips": 12, "frames": 480}, source="/data/cafe")
        run.link_inputs([model.model_id])
        run.log_code_state()
    found = the_run(run.id)
    assert found.data.tags["sign.data.training"] == digest
    assert {"sign.commit", "sign.dirty"} <= found.data.tags.keys()
    [entry] = found.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest, entry.tags[0].value) == ("cafe", digest[:36], "training")
    assert [m.model_id for m in found.inputs.model_inputs] == [model.model_id]


def test_runs_that_begin_together_on_the_same_data_both_record_it() -> None:
    """MLflow looks whether the dataset is there, then inserts it: here another run inserts it in between."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    with stage_run("skeleton") as other:
        pass
    with stage_run("skeleton") as run:
        mlflow.MlflowClient().update_run(other.id, "RUNNING")

        @event.listens_for(Session, "before_flush", once=True)
        def another(*_: object) -> None:
            other.log_dataset("cafe", "0" * 64, "training", {"clips": 12})

        run.log_dataset("cafe", "0" * 64, "training", {"clips": 12})
        mlflow.MlflowClient().set_terminated(other.id)
    for one in (run, other):
        [entry] = the_run(one.id).inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == ("cafe", "0" * 36)


def test_artifacts_of_each_kind_are_stored(tmp_path, painted) -> None:
    from matplotlib.figure import Figure

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inner.txt").write_text("inner")
    with stage_run("skeleton") as run:
        run.log_figure(Figure(), "pictures/empty.png")
        run.log_text("line", "report.txt")
        run.log_dict({"a": [1]}, "params.json")
        run.log_table({"id": ["a", "b"], "text": ["x", None]}, "results.json")
        run.log_artifacts(folder, "copied")
        run.log_artifacts(folder / "inner.txt")
    client = mlflow.MlflowClient()
    names = {f.path for f in client.list_artifacts(run.id)} | {f.path for f in client.list_artifacts(run.id, "copied")}
    assert names == {"pictures", "report.txt", "params.json", "results.json", "copied", "copied/inner.txt", "inner.txt"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("train.loss", "train/loss"), ("validation.chrf", "validation/chrf"), ("score", "validation/score")],
)
def test_a_run_of_earlier_names_goes_on_where_it_was(old: str, new: str) -> None:
    with pytest.raises(KeyboardInterrupt), stage_run("skeleton") as run:
        for step in (1, 2, 3):
            run.log_metrics({old: float(step)}, step)
        raise KeyboardInterrupt
    with stage_run("skeleton", run_id=run.id) as again:
        for step in (2, 3, 4):
            again.log_metrics({new: float(step)}, step)
    points = {name: mlflow.MlflowClient().get_metric_history(run.id, name) for name in (old, new)}
    assert [[point.step for point in points[name]] for name in (old, new)] == [[1, 2, 3], [4]]


# Names, notes and reasons ---------------------------------------------------------------------------------------------


def test_runs_are_numbered_by_stage_and_name_their_preset() -> None:
    names = []
    for stage, preset in (
        ("alignment", ""),
        ("alignment", "quick"),
        ("skeleton", "embedded"),
        ("alignment", "tiny, quick"),
    ):
        with stage_run(stage, preset=preset) as run:
            pass
        names.append(the_run(run.id).info.run_name)
    assert names == ["alignment 1", "alignment quick 2", "skeleton 1", "alignment tiny quick 3"]
    with stage_run("pipeline") as parent, stage_run("alignment", nested=True, preset="quick") as child:
        pass
    assert [the_run(run.id).info.run_name for run in (parent, child)] == ["pipeline 1", "alignment quick 4"]


@pytest.mark.parametrize("given", [None, "my best run", "big-lora-12"])
def test_the_name_that_mlflow_run_made_up_is_replaced_and_the_users_is_kept(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    made = mlflow.MlflowClient().create_run("1", run_name=given).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    with stage_run("skeleton", preset="quick"):
        pass
    assert the_run(made).info.run_name == (given or "skeleton quick 1")
    with stage_run("skeleton", run_id=made):  # resumed
        pass
    assert the_run(made).info.run_name == (given or "skeleton quick 1")


def stored_text(run_id: str, path: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)).read_text()


@pytest.mark.parametrize(
    ("error", "status", "traceback"),
    [
        (DataError("is empty", place="clips.pkl", remedy="copy it again"), "FAILED", False),
        (ZeroDivisionError("by hand"), "FAILED", True),
        (KeyboardInterrupt(), "KILLED", True),
    ],
)
def test_a_run_that_ends_early_says_why(error: BaseException, status: str, traceback: bool) -> None:
    logging.getLogger("sign_models").setLevel(logging.INFO)
    with pytest.raises(type(error)), stage_run("pipeline") as parent, stage_run("skeleton", nested=True) as run:
        run.describe("What it does.")
        logging.getLogger("sign_models.stages").info("it began")
        raise error
    for ended in (run, parent):
        found = the_run(ended.id)
        assert found.info.status == status
        assert (
            found.data.tags["sign.error"].startswith(type(error).__name__)
            and str(error) in found.data.tags["sign.error"]
        )
        assert status in found.data.tags[NOTE] and str(error) in found.data.tags[NOTE]
        text = stored_text(ended.id, "error.txt")
        assert str(error) in text and ("Traceback" in text) == traceback
        [log] = [file.path for file in mlflow.MlflowClient().list_artifacts(ended.id, "logs")]
        assert "INFO it began" in stored_text(ended.id, log)
    assert the_run(run.id).data.tags[NOTE].startswith("What it does.")


def test_a_run_that_ends_well_has_no_error() -> None:
    with pytest.raises(DataError), stage_run("skeleton") as run:
        raise DataError("x")
    with stage_run("skeleton", run_id=run.id):
        pass
    assert "sign.error" not in the_run(run.id).data.tags


def test_an_experiment_that_somebody_described_stays_as_it_is() -> None:
    mlflow.MlflowClient().set_experiment_tag("1", NOTE, "ours")
    with stage_run("skeleton"):
        pass
    assert mlflow.MlflowClient().get_experiment("1").tags[NOTE] == "ours"
