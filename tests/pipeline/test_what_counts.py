"""Whether a stage is done already depends on all that it reads, and on nothing else."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import mlflow
import pytest
from huggingface_hub import constants
from pydantic import BaseModel

from sign_models.errors import ResourceError
from sign_models.params import load
from sign_models.params.schema import PipelineParams
from sign_models.pipeline.context import Context, Upstream
from sign_models.pipeline.options import Options
from sign_models.stages.declaration import STAGES, Stage, model_names
from sign_models.tracking.fingerprint import fields_of
from sign_models.tracking.registered.registry import FILES, ModelRef, resolve
from tests.conftest import Command

EACH = pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
FILE_OF = {"keypoints": "sign_language_keypoints.pkl", "videos": "video_sequences.pkl", "texts": "text_data.json"}


def context(data: Path, params: PipelineParams | None = None) -> Context:
    options = Options(params=params or load.resolve(), data=data)
    return Context(options, tuple(STAGES.values()))


def model(role: str, content: str, version: int = 1) -> ModelRef:
    return ModelRef(
        "candidate", role, model_names()[role], version, f"run{version}", f"m-{version}", "", {FILES: content}
    )


def upstream(stage: Stage, **contents: str) -> Upstream:
    models = {role: model(role, contents.get(role, "a")) for role in stage.upstream}
    return Upstream(models, "run9", contents.get("artifact", "a") if stage.artifact else "")


def changed(params: BaseModel, name: str, value: Any) -> Any:
    """A copy in which the parameter of this dotted name is `value`, whether that is valid or not."""
    section, _, rest = name.partition(".")
    inner = changed(getattr(params, section), rest, value) if rest else value
    return params.model_copy(update={section: inner})


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, "test"]
    return "other" if value is None or isinstance(value, str) else value + 1


@EACH
def test_every_parameter_that_it_may_read_counts_and_no_other(stage: Stage, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()  # a parameter that names a folder names this one
    whole = load.resolve()
    before = context(tiny_data).fingerprint(stage, upstream(stage)).sha256
    counted = set()
    for name in load.names():
        value = other(reduce(getattr, name.split("."), whole))
        value = str(tmp_path / "other") if name.endswith("pretrained") else value
        after = context(tiny_data, changed(whole, name, value)).fingerprint(stage, upstream(stage)).sha256
        if after != before:
            counted.add(name)
    own = {name for name in load.names() if name.startswith(f"{stage.name}.")} - stage.execution_only
    assert counted == own | set(stage.settings)


@EACH
def test_every_model_and_file_that_it_builds_on_counts_by_content(stage: Stage, tiny_data: Path) -> None:
    found = {context(tiny_data).fingerprint(stage, upstream(stage)).sha256}
    for role in stage.upstream:
        found.add(context(tiny_data).fingerprint(stage, upstream(stage, **{role: "b"})).sha256)
    if stage.artifact:
        found.add(context(tiny_data).fingerprint(stage, upstream(stage, artifact="b")).sha256)
    assert len(found) == 1 + len(stage.upstream_roles)


@EACH
def test_a_model_that_was_made_again_to_the_bit_counts_as_the_same(stage: Stage, tiny_data: Path) -> None:
    once = upstream(stage)
    again = replace(once, models={role: model(role, "a", version=2) for role in stage.upstream}, artifact="run10")
    assert context(tiny_data).fingerprint(stage, once) == context(tiny_data).fingerprint(stage, again)


@EACH
def test_every_input_that_it_reads_counts_and_no_other(stage: Stage, tiny_data: Path, tmp_path: Path) -> None:
    before = context(tiny_data).fingerprint(stage, upstream(stage)).sha256
    for part, name in FILE_OF.items():
        data = Path(shutil.copytree(tiny_data, tmp_path / part))
        with (data / name).open("ab") as file:
            file.write(b" ")
        after = context(data).fingerprint(stage, upstream(stage)).sha256
        assert (after != before) == (part in stage.reads), part


@pytest.mark.parametrize("stage", [s for s in STAGES.values() if s.contents], ids=lambda stage: stage.name)
def test_what_a_parameter_names_counts_by_content(stage: Stage, tiny_data: Path, tmp_path: Path) -> None:
    for name in stage.contents:
        params, found = load.resolve(), []
        for change in ("", "weights", "tokenizer", "nothing"):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / "model.safetensors").write_bytes(b"other" if change == "weights" else b"first")
            (folder / "tokenizer.json").write_text("other" if change == "tokenizer" else "first")
            named = changed(params, f"{stage.name}.{name}", str(folder))
            found.append(context(tiny_data, named).fingerprint(stage, upstream(stage)).sha256)
        assert len(set(found)) == 3 and found[0] == found[3]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Hugging Face keeps its models on this machine; nothing is there."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield tmp_path / "hub"


def test_a_model_of_hugging_face_counts_by_its_commit(hub: Path, tiny_data: Path) -> None:
    params, stage = changed(load.resolve(), "alignment.decoder.pretrained", "some/model"), STAGES["alignment"]
    with pytest.raises(ResourceError, match="alignment.decoder.pretrained=some/model: the Hub cannot be reached"):
        context(tiny_data, params).fingerprint(stage, upstream(stage))
    found = []
    for commit in ("a" * 40, "b" * 40):
        folder = hub / "models--some--model"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
        found.append(context(tiny_data, params).fingerprint(stage, upstream(stage)).sha256)
    assert found[0] != found[1]


# On the real thing ----------------------------------------------------------------------------------------------------


def children() -> list[str]:
    """Stages of the newest pipeline's runs, in order."""
    client = mlflow.MlflowClient()
    parent, *_ = client.search_runs(["0"], "tags.`sign.stage` = 'pipeline'", order_by=["attributes.start_time DESC"])
    wanted = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    found = client.search_runs(["0"], wanted, order_by=["attributes.start_time ASC"])
    return [run.data.tags["sign.stage"] for run in found]


def test_a_stage_trained_again_to_the_bit_trains_nothing_that_builds_on_it(pipeline: Command) -> None:
    assert pipeline("pipeline", "--skip-trained", "--force", "skeleton,represent").code == 0
    assert children() == ["skeleton", "represent"]


def test_other_scoring_trains_what_is_chosen_by_it(pipeline: Command, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert pipeline("pipeline", "--skip-trained", "--generate.scoring", "characters").code == 0
    assert children() == ["alignment", "generate"]
    assert "alignment: nothing to skip: version 1: params.generate.scoring was auto, is characters" in caplog.text


def test_frozen_alignment_counts_the_representations_that_it_reads(pipeline: Command) -> None:
    words = ("pipeline", "--skip-trained", "--alignment.finetune", "false", "--alignment.training.steps", "2")
    assert pipeline(*words).code == 0
    assert children() == ["alignment", "generate"]
    assert "upstream.representations" in (fields_of(resolve("2", "alignment")) or {})
    assert pipeline(*words, "--force", "represent").code == 0  # to the bit
    assert children() == ["represent"]


def test_a_cut_off_stage_of_any_kind_goes_on(pipeline: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("represent", "generate"):
        with monkeypatch.context() as patch:
            patch.setattr(f"sign_models.stages.{stage}.run", cut)
            assert pipeline(stage).code == 130
        assert pipeline(stage).code == 0
        found = mlflow.MlflowClient().search_runs(["0"], f"tags.`sign.stage` = '{stage}'")
        assert [run.info.status for run in found] == ["FINISHED", "FINISHED"]


def cut(*_: object) -> None:
    raise KeyboardInterrupt
