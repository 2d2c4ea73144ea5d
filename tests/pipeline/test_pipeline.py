"""What a finished pipeline leaves in the store: runs, curves, artifacts, models, outputs."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow.entities import Run
from safetensors.numpy import load_file

from sign_models.params import load
from sign_models.stages.declaration import STAGES
from tests import tiny

TRAINED = ("skeleton", "temporal", "alignment")
UPSTREAM = {"temporal": "skeleton", "represent": "temporal", "alignment": "temporal", "generate": "alignment"}
INPUTS = {
    "skeleton": {"keypoints"}, "temporal": {"videos", "texts"}, "represent": {"videos"}, "alignment": {"videos", "texts"},
    "generate": {"videos", "texts"},
}  # fmt: skip
client = mlflow.MlflowClient

pytestmark = pytest.mark.usefixtures("finished")


def runs(stage: str) -> list[Run]:
    found = client().search_runs(["0"], f"tags.`sign.stage` = '{stage}'", order_by=["attributes.start_time ASC"])
    return [client().get_run(run.info.run_id) for run in found]


def run_of(stage: str) -> Run:
    [run] = runs(stage)
    return run


def artifacts(run: Run, path: str = "") -> set[str]:
    """Paths of all files of a run."""
    found: set[str] = set()
    for entry in client().list_artifacts(run.info.run_id, path):
        found |= artifacts(run, entry.path) if entry.is_dir else {entry.path}
    return found


def fetched(run: Run, path: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path))


def curve(run: Run, name: str) -> list[int]:
    return [point.step for point in client().get_metric_history(run.info.run_id, name)]


def results() -> dict:
    return json.loads(fetched(run_of("generate"), "generation_results.json").read_text())


def test_one_parent_has_five_children_in_order() -> None:
    parent = run_of("pipeline")
    assert "mlflow.parentRunId" not in parent.data.tags
    children = client().search_runs(
        ["0"], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["attributes.start_time ASC"]
    )
    assert [child.data.tags["sign.stage"] for child in children] == list(STAGES)
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_logged_singly_and_whole(stage: str, tiny_data: Path) -> None:
    wanted = getattr(load.resolve(None, "", tiny_data / "tiny.yaml"), stage)
    run = run_of(stage)
    assert {k: v for k, v in run.data.params.items()} == {k: str(v) for k, v in load.flatten(wanted, stage).items()}
    assert yaml.safe_load(fetched(run, f"params/{stage}.yaml").read_text()) == wanted.model_dump(mode="json")


@pytest.mark.parametrize("stage", STAGES)
def test_data_is_logged_by_digest(stage: str) -> None:
    run = run_of(stage)
    found = {entry.dataset.name: entry.dataset for entry in run.inputs.dataset_inputs}
    assert found.keys() == INPUTS[stage]
    for name, dataset in found.items():
        assert run.data.tags[f"sign.data.{stage}.{name}"].startswith(dataset.digest)
    if "videos" in found:
        profile = json.loads(found["videos"].profile)
        frames = sum(map(len, tiny.videos().values()))
        wanted = {"clips": tiny.VIDEOS, "frames": frames, "without_text": tiny.UNLABELLED}
        assert profile.items() >= wanted.items()


def test_the_same_data_has_the_same_digest_in_every_stage() -> None:
    digests = {run_of(stage).data.tags[f"sign.data.{stage}.videos"] for stage in UPSTREAM}
    assert len(digests) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_code_is_logged(stage: str, root: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    tags = run_of(stage).data.tags
    assert tags["sign.commit"] == (head or "none")
    assert tags["sign.dirty"] in ({"true", "false"} if head else {"unknown"})


@pytest.mark.parametrize("stage", TRAINED)
def test_curves_go_by_step_and_by_epoch(stage: str, tiny_data: Path) -> None:
    run = run_of(stage)
    training = getattr(load.resolve(None, "", tiny_data / "tiny.yaml"), stage).training
    every = training.steps // training.evaluations
    evaluated = [every * (i + 1) - 1 for i in range(training.evaluations)]
    for name in ("train/loss", "train/learning_rate", "train/frames_per_second", "train/gradient_norm"):
        assert set(curve(run, name)) >= set(evaluated), name
    assert curve(run, "validation/score") == evaluated
    clips = {"skeleton": 10 - 1, "temporal": 14, "alignment": 14}[stage]
    assert run.data.metrics["train/epoch"] == training.steps / -(-clips // training.batch_size)
    assert run.data.metrics["train/frames_per_second"] > 0


@pytest.mark.parametrize("stage", TRAINED)
def test_the_learning_rate_rises_and_falls(stage: str) -> None:
    rates = [p.value for p in client().get_metric_history(run_of(stage).info.run_id, "train/learning_rate")]
    assert rates == sorted(rates, reverse=True) and rates[-1] > 0


@pytest.mark.parametrize("stage", TRAINED)
def test_checkpoints_hold_the_last_and_the_best_weights(stage: str) -> None:
    run = run_of(stage)
    tags, files = run.data.tags, artifacts(run, "checkpoints")
    last = load_file(fetched(run, f"{tags['sign.checkpoint.last']}/state.safetensors"))
    assert {name.partition(".")[0] for name in last} - {"task"} == {"model", "averaged", "optimizer", "best"}
    best = tags["sign.checkpoint.best"]
    assert int(best.rpartition("-")[2]) == int(tags["sign.best_step"]) + 1
    assert {f"{best}/state.safetensors", f"{best}/progress.json", f"{best}/manifest.json"} <= files
    registered = load_file(fetched_model(f"sign-{stage}") / "model.safetensors")
    for name, value in registered.items():
        key = f"best.model.{name}"
        assert np.array_equal(last[key], value), name


def fetched_model(name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(f"models:/{name}@candidate")) / "artifacts" / "model"


@pytest.mark.parametrize("stage", ["skeleton", "temporal"])
def test_a_picture_shows_what_is_restored(stage: str) -> None:
    content = fetched(run_of(stage), "pictures/restoration.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000


@pytest.mark.parametrize(("stage", "role"), UPSTREAM.items())
def test_upstream_is_logged_as_asked_and_as_resolved(stage: str, role: str) -> None:
    run, made = run_of(stage), run_of(role)
    tags = run.data.tags
    [version] = client().search_model_versions(f"name = 'sign-{role}'")
    assert tags[f"sign.upstream.{role}"] == f"models:/sign-{role}/1"
    assert tags[f"sign.upstream.{role}.asked"] == "candidate"
    assert tags[f"sign.upstream.{role}.run_id"] == made.info.run_id == version.run_id
    assert [model.model_id for model in run.inputs.model_inputs] == [tags[f"sign.upstream.{role}.model_id"]]


@pytest.mark.parametrize("name", ["sign-skeleton", "sign-temporal", "sign-alignment", "sign-translator"])
def test_a_version_is_registered_with_all_that_serving_needs(name: str) -> None:
    [version] = client().search_model_versions(f"name = '{name}'")
    assert client().get_model_version_by_alias(name, "candidate").version == version.version
    info = mlflow.models.get_model_info(f"models:/{name}/1")
    assert [column.name for column in info.signature.inputs] and info.signature.outputs is not None
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1"))
    assert (folder / info.saved_input_example_info["artifact_path"]).is_file()
    assert load_file(folder / "artifacts" / "model" / "model.safetensors")
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pt", ".pth", ".bin")]
    assert version.tags["sign.fingerprint"] and version.tags["sign.commit"]


def test_representations_are_read_without_unpickling() -> None:
    with np.load(fetched(run_of("represent"), "temporal_representations_all/all_representations.npz"),
                 allow_pickle=False) as archive:  # fmt: skip
        arrays = {name: archive[name] for name in archive.files}
    stride = load.resolve().temporal.model.stride
    assert arrays.keys() == tiny.videos().keys()
    for name, clip in tiny.videos().items():
        assert arrays[name].shape == (-(-len(clip) // stride), 32) and arrays[name].dtype == np.float32
        assert np.isfinite(arrays[name]).all()


def test_results_hold_every_video_its_text_and_the_scores() -> None:
    found, rows = results(), {row["id"]: row for row in tiny.texts()}
    assert {row["id"] for row in found["results"]} == tiny.videos().keys()
    for row in found["results"]:
        known = rows.get(row["id"], {"text": None, "split": None})
        assert (row["reference"], row["split"]) == (known["text"], known["split"])
        assert isinstance(row["text"], str) and row["score"] <= 0
    assert any(row["text"] for row in found["results"])
    names = {"bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l", "exact_match", "character_error_rate"}
    run = run_of("generate")
    for split in tiny.SPLITS:
        assert names <= found["scores"][split].keys()
        assert {f"{split}/{name}": run.data.metrics[f"{split}/{name}"] for name in found["scores"][split]} == {
            f"{split}/{name}": value for name, value in found["scores"][split].items()
        }
    assert "version:" in found["signatures"]["bleu"] and found["signatures"]["rouge_l"]
    assert {k: run.data.tags[f"sign.signature.{k}"] for k in found["signatures"]} == found["signatures"]
    assert run_of("pipeline").data.metrics.items() >= run.data.metrics.items()


def asked(clip: np.ndarray) -> dict:
    """What a client sends for a clip in its file's own form."""
    file = io.BytesIO()
    np.savez_compressed(file, keypoints=clip)
    return {"npz": base64.b64encode(file.getvalue()).decode(), "layout": tiny.LAYOUT, "fps": tiny.FPS}


def test_the_translator_gives_the_texts_of_the_results() -> None:
    model = mlflow.pyfunc.load_model("models:/sign-translator@candidate")
    wanted = {row["id"]: row for row in results()["results"]}
    answers = model.predict([asked(clip) for clip in tiny.videos().values()])
    assert [answer["text"] for answer in answers] == [wanted[name]["text"] for name in tiny.videos()]
    scores = [wanted[name]["score"] for name in tiny.videos()]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=1e-4)


def test_the_translator_generates_as_it_was_asked_to(pipeline) -> None:
    assert pipeline("generate", "--beams", "1", "--splits", "test").code == 0
    folder = fetched_model("sign-translator")
    assert json.loads((folder / "config.json").read_text())["generation"]["beams"] == 1
    assert json.loads((fetched_model("sign-alignment") / "config.json").read_text())["generation"]["beams"] == 2
    both = [load_file(f / "model.safetensors") for f in (folder, fetched_model("sign-alignment"))]
    assert all(np.array_equal(both[0][name], both[1][name]) for name in both[0].keys() | both[1].keys())


def test_two_runs_of_a_stage_compare(pipeline) -> None:
    """They share the names of params and metrics."""
    assert pipeline("alignment", "--steps", "4", "--lr", "1e-4").code == 0
    first, second = runs("alignment")
    assert first.data.params.keys() == second.data.params.keys()
    assert first.data.metrics.keys() == second.data.metrics.keys()
    assert (second.data.params["alignment.training.lr"], second.data.params["alignment.training.steps"]) == (
        "0.0001",
        "4",
    )


def test_the_end_says_scores_examples_where_to_look_and_what_next(pipeline) -> None:
    done = pipeline("pipeline", "--skip-trained")
    assert done.code == 0
    for said in (
        "test (cased)",
        "bleu4",
        "character_error_rate",
        "mlflow ui",
        "mlflow models serve -m models:/sign-translator/1",
    ):
        assert said in done.out
    assert done.out.count("reference  ") == 3
    done = pipeline("skeleton", "--steps", "1")
    assert "mlflow run . -e temporal -P skeleton_model=2" in done.out
