"""The extractor of the training clips: from the data to the registered model, its lineage and what it answers."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from sign_models.keypoints import formats
from sign_models.keypoints.extractor import short_name
from sign_models.serving.served_model import clip_of
from tests import tiny
from tests.conftest import Command
from tests.keypoints.test_extractor import OTHER_MODEL, OURS, record, write


def write_data(folder: Path, line: str | None, clips: int = 6) -> Path:
    for i in range(clips):
        write(folder / f"clip{i}.pose", record(line) if line else {}, i, 20)
    rows = [{"id": f"clip{i}", "text": tiny.WORDS[i], "split": "dev" if i == 0 else "train"} for i in range(clips)]
    (folder / "text_data.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def trained(empty: Command, tmp_path: Path) -> Command:
    """A pipeline of a few steps on clips of OURS."""
    data, texts = write_data(tmp_path / "ours", OURS), tmp_path / "ours" / "text_data.json"
    texts.rename(tmp_path / "texts.json")
    given = ("--videos", data, "--texts", tmp_path / "texts.json", "--steps", "2")
    assert (done := empty("pipeline", *given, data=False)).code == 0, done.err
    return empty


def generate(command: Command, folder: Path, *more: str):
    texts = folder / "text_data.json"
    rows = texts.read_text()
    texts.unlink()
    (folder.parent / "of_generate.json").write_text(rows)
    return command("generate", "--videos", folder, "--texts", folder.parent / "of_generate.json", *more, data=False)


def test_a_registered_model_says_what_it_was_trained_on_and_warns(
    trained: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = mlflow.MlflowClient()
    for name in ("sign-skeleton", "sign-temporal", "sign-alignment", "sign-translator"):
        assert json.loads(client.get_model_version(name, "1").tags["sign.extractors"]) == [OURS]
    told = trained("lineage", "--model", "sign-translator@candidate", data=False, params=False)
    assert told.out.count(f"trained on keypoints of {short_name(OURS)}") == 4

    other = write_data(tmp_path / "other", OTHER_MODEL)
    done = generate(trained, other)
    assert done.code == 0
    assert (
        f"generate: 6 of 6 clips: 6 from {short_name(OTHER_MODEL)}; models:/sign-alignment/1 was trained on"
        in caplog.text
    )
    # What it has translated last is not what it was trained on.
    assert json.loads(client.get_model_version("sign-translator", "2").tags["sign.extractors"]) == [OURS]

    write_data(other, OTHER_MODEL)
    done = generate(trained, other, "--strict_extractor", "true")
    assert done.code == 2 and "DataError" in done.err and "leave out strict_extractor" in done.err
    ours = write_data(tmp_path / "again", OURS)
    caplog.clear()
    done = generate(trained, ours, "--strict-extractor", "true")
    assert done.code == 0 and "of 6 clips" not in caplog.text

    model = mlflow.pyfunc.load_model("models:/sign-translator/1")
    (mine,) = formats.read(ours / "clip1.pose")
    (theirs,) = formats.read(other / "clip1.pose")
    first, second = model.predict([clip_of(mine), clip_of(theirs)])
    assert "warning" not in first and first["text"] == second["text"]
    assert short_name(OTHER_MODEL) in second["warning"]
    with pytest.raises(mlflow.MlflowException, match="clip 0: 1 of 1 clips"):
        model.predict([clip_of(theirs)], params={"strict_extractor": True})
    with pytest.raises(mlflow.MlflowException, match="extractor 'a program of mine'"):
        model.predict([clip_of(mine) | {"extractor": "a program of mine"}])


def test_translate_warns_and_refuses_where_it_is_asked_to(
    pipeline: Command, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """The model of `pipeline` was trained on files that name no extractor."""
    clips = write_data(tmp_path / "in", OURS, 1)
    (clips / "text_data.json").unlink()
    done = pipeline("translate", "--videos", clips, "--model", "candidate", data=False, params=False)
    assert done.code == 0 and f"clip0: warning: 1 of 1 clips: 1 from {short_name(OURS)}; the model was" in done.err
    given = ("--videos", clips, "--model", "candidate", "--strict-extractor")
    done = pipeline("translate", *given, data=False, params=False)
    assert done.code == 2 and done.err.startswith("DataError: clip0.pose: 1 of 1 clips")
    assert not np.any([line.startswith("clip0\t") for line in done.out.splitlines()])
