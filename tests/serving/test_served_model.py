from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.pyfunc import PyFuncModel, scoring_server

from sign_models.keypoints import formats
from sign_models.keypoints.layouts import name_of, names_of
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.serving import served_model
from sign_models.tracking.registered.registration import register
from sign_models.tracking.runs import stage_run
from tests.keypoints.clips import SIZE
from tests.keypoints.file_examples import EXAMPLES
from tests.tracking import fakes


@pytest.fixture(scope="module")
def model(shared: Path) -> PyFuncModel:
    folder = fakes.write(shared / "out", "translator", 0.5)
    with stage_run("generate") as run:
        registered = register(run, "translator", folder, metrics={}, upstream={}, tags={}, step=0)
    return mlflow.pyfunc.load_model(registered.uri)


def npz(**arrays: np.ndarray) -> str:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


POINTS = np.random.default_rng(1).random((6, 75, 3), np.float32)


def sequence_of(**fields: Any) -> KeypointSequence:
    [sequence] = served_model.sequences_of([served_model.Clip(**fields)])
    return sequence


def ask(model: PyFuncModel, *clips: dict[str, Any], **params: Any) -> tuple[int, Any]:
    """Status and content of the answer, as `mlflow models serve` gives it."""
    try:
        body = json.dumps({"inputs": list(clips), "params": params})
        answer = scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema())
    except mlflow.MlflowException as error:
        return error.get_http_status_code(), error.serialize_as_json()
    return answer.status, json.loads(answer.response)["predictions"]


def test_every_form_of_a_clip_is_answered_alike_and_in_order(model: PyFuncModel, root: Path) -> None:
    status, answers = ask(
        model,
        {"keypoints": POINTS.tolist()},
        {"npz": npz(keypoints=POINTS)},
        {"npz": npz(keypoints=POINTS[:2, :, :2], confidence=POINTS[:2, :, 2])},
        {"npz": npz(keypoints=POINTS), "fps": 25, "layout": "mediapipe_75"},
    )
    default = {"beams": 4, "n_best": 1, "windows": False}
    six, two = {"text": "translator 6", "score": 3.0, **default}, {"text": "translator 2", "score": 1.0, **default}
    assert (status, answers) == (200, [six, six, two, six])


def test_params_are_those_of_the_signature(model: PyFuncModel) -> None:
    one = {"npz": npz(keypoints=POINTS)}
    schema = model.metadata.get_params_schema()
    known = [(p.name, p.dtype.name, p.default) for p in schema.params]
    assert known == [
        ("beams", "long", 4),
        ("n_best", "long", 1),
        ("windows", "boolean", False),
        ("strict_extractor", "boolean", False),
    ]
    status, [answer] = ask(model, one, n_best=3, windows=True)
    assert (status, answer["beams"], answer["n_best"], answer["windows"]) == (200, 4, 3, True)
    for name, value in (("beams", 17), ("n_best", 0)):
        status, said = ask(model, one, **{name: value})
        assert status == 400 and f"{name} {value}; wanted 1 to 16" in said and len(said) < 500
    assert ask(model, one, beams="a")[0] == 400


def test_from_which_confidence_on_is_a_param_of_translators_that_know_of_it(shared: Path) -> None:
    folder = fakes.write(shared / "doubting", "translator", 0.5)
    config = {"stage": "translator", "width": 8, "generation": {"beams": 4, "reject_below": 0.25}}
    (folder / "config.json").write_text(json.dumps(config))
    with stage_run("generate") as run:
        version = register(run, "translator", folder, metrics={}, upstream={}, tags={}, step=0)
    doubting = mlflow.pyfunc.load_model(version.uri)
    param = next(p for p in doubting.metadata.get_params_schema().params if p.name == "reject_below")
    assert (param.dtype.name, param.default) == ("double", 0.25)
    clip = {"npz": npz(keypoints=POINTS)}
    for given, used in ((None, 0.25), (0, 0.0), (0.75, 0.75), (1, 1.0)):
        status, [answer] = ask(doubting, clip, **({} if given is None else {"reject_below": given}))
        assert (status, answer["reject_below"]) == (200, used)
    for wrong in (-0.1, 1.5):
        status, said = ask(doubting, clip, reject_below=wrong)
        assert status == 400 and f"reject_below {wrong}; wanted 0 to 1" in said


def test_a_pose_file_is_read_as_it_is_from_disk() -> None:
    from importlib import resources

    from sign_models.keypoints.formats import read

    file = next(p for p in Path(str(resources.files("spoken_to_signed"))).rglob("*.pose"))
    [here] = read(file)
    served = sequence_of(pose=base64.b64encode(file.read_bytes()).decode())
    assert np.array_equal(served.points, here.points) and served.layout == here.layout and served.fps == here.fps


def test_what_a_client_sends_for_a_sequence_is_that_sequence() -> None:
    for sequence in fakes.clips():
        served = sequence_of(**served_model.clip_of(sequence))
        assert np.array_equal(served.points, sequence.points)
        assert np.array_equal(served.confidence, sequence.confidence)
        told = ("layout", "unit", "fps", "size")
        assert [getattr(served, name) for name in told] == [getattr(sequence, name) for name in told]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ({}, "no keypoints; wanted one of npz, pose, keypoints"),
        ({"npz": "a", "pose": "b"}, "npz and pose keypoints"),
        ({"npz": "%%%"}, "no base64"),
        ({"npz": base64.b64encode(b"PK\x03\x04 not really").decode()}, "clip 0: is a broken zip file"),
        ({"npz": npz(points=POINTS)}, "an array named keypoints"),
        ({"npz": npz(keypoints=np.array({"a": 1}, dtype=object))}, "holds object values; wanted numbers"),
        ({"npz": npz(keypoints=np.float32(1.0))}, "shape"),
        ({"pose": base64.b64encode(b"hello").decode()}, "clip 0: is no readable .pose file"),
        ({"pose": 5}, "pose: Input should be a valid string"),
        ({"npz": npz(keypoints=POINTS), "fps": -1}, "clip 0: a frame rate"),
        ({"npz": npz(keypoints=POINTS), "fps": float("nan")}, "clip 0: a frame rate"),
        ({"keypoints": 5}, "keypoints of shape ()"),
        ({"keypoints": {"a": 1}}, "clip 0: keypoints"),
        ({"keypoints": "abc"}, "clip 0: keypoints"),
        ({"keypoints": [[[1.0, 2.0]] * 75, [[1.0, 2.0]]]}, "no regular array"),
        ({"keypoints": [[[1.0, "a"]] * 75]}, "clip 0"),
        ({"keypoints": []}, "clip 0"),
        ({"keypoints": [[[1.0, float("nan")]] * 75]}, "no landmark is seen"),
        ({"keypoints": [[[float("inf"), 1.0]] * 75]}, "NaN or Inf"),
        ({"keypoints": [[[0.0, 0.0]] * 75]}, "no landmark is seen"),
        ({"keypoints": [[[1.0, 1.0]] * 7]}, "7 landmarks"),
        ({"keypoints": [[[1.0, 1.0]] * 75], "layout": "coco_wholebody_133"}, "coco_wholebody_133"),
        ({"keypoints": [[[1.0, 1.0]] * 75], "layout": "mediapip"}, "mediapipe"),
        ({"keypoints": [[[1.0, 1.0]] * 75], "unit": "metre"}, "pixel, normalized, centered"),
        ({"keypoints": [[[1.0, 1.0]] * 75], "unit": "body"}, "write centered"),
        ({"keypoints": [[[1.0, 1.0]] * 75], "size": [640]}, "width and height"),
        ({"keypoint": [[[1.0, 1.0]] * 75]}, "keypoint"),
    ],
)
def test_what_is_no_clip_is_refused_and_the_server_goes_on(model: PyFuncModel, clip: dict, message: str) -> None:
    status, answer = ask(model, {"npz": npz(keypoints=POINTS)}, clip)
    assert status == 400 and message.replace("clip 0", "clip 1") in answer
    assert ask(model, {"npz": npz(keypoints=POINTS)})[0] == 200


def test_limits_are_kept_and_the_input_is_not_sent_back(model: PyFuncModel, monkeypatch: pytest.MonkeyPatch) -> None:
    served = type(model.unwrap_python_model()).load_context.__globals__  # of the file that is kept beside the model
    one = {"npz": npz(keypoints=POINTS)}
    status, answer = ask(model, *[one] * 65)
    assert status == 400 and "65 clips" in answer and len(answer) < 500
    monkeypatch.setitem(served, "MAX_FRAMES", 5)
    assert "6 frames; wanted at most 5" in ask(model, one)[1]
    monkeypatch.setitem(served, "MAX_FRAMES", 6)
    monkeypatch.setitem(served, "MAX_LISTED", 5)
    assert "6 frames as lists; wanted at most 5; send them as npz" in ask(model, {"keypoints": POINTS.tolist()})[1]
    monkeypatch.setitem(served, "MAX_REQUEST_FRAMES", 17)
    assert ask(model, one, one)[0] == 200
    assert "clip 2: 6 frames more; wanted at most 17 a request" in ask(model, one, one, one)[1]
    monkeypatch.setitem(served, "MAX_REQUEST_BYTES", 50_000)
    bomb = {"npz": npz(keypoints=np.zeros((1000, 75, 2)))}
    status, answer = ask(model, bomb)
    assert status == 400 and "wanted at most 50000" in answer and len(answer) < 500
    status, answer = ask(model, {"npz": "a", "x" * 100_000: "b" * 100_000})
    assert status == 400 and len(answer) < 1500


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "pose hand"])
@pytest.mark.parametrize("described", [False, True])
def test_a_clip_of_any_format_is_sent_as_it_was_read(name: str, described: bool, tmp_path: Path) -> None:
    for read in formats.read(EXAMPLES[name].write(tmp_path), size=SIZE):
        if described:  # a layout that a file describes, whose name no server knows
            names = ("_", *names_of(read.layout))
            points, confidence = (np.concatenate([v[:, :1], v], 1) for v in (read.points, read.confidence))
            read = replace(read, points=points, confidence=confidence, layout=name_of(names), depth=None)
        sent = json.loads(json.dumps(served_model.clip_of(read)))
        np.testing.assert_allclose(normalise(sequence_of(**sent)), normalise(read), atol=1e-5)
