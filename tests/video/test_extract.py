"""From frames to `.pose` files: with landmarks that are known beforehand, and with MediaPipe itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sign_models.errors import DataError, ParamsError, ResourceError
from sign_models.keypoints import formats
from sign_models.keypoints.formats.estimators.pose_record import read_record
from sign_models.keypoints.landmarks import HAND, MEDIAPIPE_POSE
from sign_models.video import batch, extract, models, report
from sign_models.video.extract import Counts, Settings, constant_rate
from sign_models.video.following import Detected, Follower, assign_hands
from sign_models.video.models import ModelFiles
from tests.keypoints.signer import signer
from tests.video.clips import write_sound, write_video

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
ROOT = Path(__file__).resolve().parents[2]
B, H = len(MEDIAPIPE_POSE), len(HAND)


def person(x: float, y: float = 100.0, width: float = 100.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Body (33, 4), left and right hand (21, 3) in pixels, of a signer whose neck is at x, y."""
    points = signer("mediapipe_75", 1)[0] * width + (x, y)
    depth = np.full((len(points), 1), 5.0)
    every = np.hstack([points, depth]).astype(np.float32)
    body = np.hstack([every[:B], np.full((B, 1), 0.9, np.float32)])
    return body, every[B : B + H], every[B + H :]


class FakeLandmarker:
    """Finds a signer who moves to the right by a pixel a frame; nobody in frame 3; a second person far right."""

    def __init__(self, files: ModelFiles, people: int = 1) -> None:
        self.frame = -1

    def __enter__(self) -> FakeLandmarker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detect(self, pixels: np.ndarray, time_s: float) -> Detected:
        self.frame += 1
        if self.frame == 3:
            return Detected([], [], [])
        body, left, right = person(100.0 + self.frame)
        other, _, others_right = person(500.0, width=60.0)
        return Detected([other, body], [others_right, right, left], ["right", "right", "left"])


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    made = ModelFiles(tmp_path / "pose.task", tmp_path / "hand.task")
    for path in (made.pose, made.hand):
        models.write_bundle(path, {"a.tflite": path.name.encode()})
    return made


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, files: ModelFiles) -> ModelFiles:
    monkeypatch.setattr(extract, "Landmarker", FakeLandmarker)
    monkeypatch.setattr(extract, "count_people", lambda *_: 2)
    monkeypatch.setattr(extract, "extractor_version", lambda: "1.2.3")
    return files


def test_a_video_becomes_a_file_that_the_import_reads(tmp_path: Path, faked: ModelFiles) -> None:
    video = write_video(tmp_path / "clip.mp4", range(0, 400, 40), (640, 480))
    record, frames = extract.extract_to_file(video, tmp_path / "out" / "clip.pose", faked, Settings())
    (sequence,) = formats.read(tmp_path / "out")
    assert (sequence.id, sequence.layout, sequence.size) == ("clip", "mediapipe_75", (640.0, 480.0))
    assert sequence.fps == pytest.approx(25.0) and sequence.points.shape == (10, 75, 2)
    for t in (0, 1, 9):
        body, left, right = person(100.0 + t)
        wanted = np.concatenate([body[:, :2], left[:, :2], right[:, :2]])
        np.testing.assert_allclose(sequence.points[t], wanted, atol=1e-3)
        assert set(sequence.confidence[t, :B]) == {np.float32(0.9)} and (sequence.confidence[t, B:] == 1).all()
    assert not sequence.confidence[3].any()
    assert record["counts"] == Counts(10, 9, 9, 9, 9, 5, 0).__dict__  # every second picture is dark
    assert frames.sheet().shape[2] == 3
    assert not list((tmp_path / "out").glob(".*"))


def test_pose_format_reads_depth_and_stops_before_the_record(tmp_path: Path, faked: ModelFiles) -> None:
    from pose_format import Pose

    video = write_video(tmp_path / "clip.mp4", range(0, 400, 40), (640, 480))
    out = tmp_path / "clip.pose"
    record, _ = extract.extract_to_file(video, out, faked, Settings())
    pose = Pose.read(out.read_bytes())
    assert pose.body.data.shape == (10, 1, 75, 3) and pose.header.total_points() == 75
    assert np.allclose(pose.body.data[0, 0, :, 2], 5.0)
    assert read_record(out) == json.loads(json.dumps(record))
    assert record["extractor"]["models"] == faked.checksums and record["extractor"]["name"] == "mediapipe-tasks"


def test_landmarks_are_told_in_pixels_of_the_video(
    tmp_path: Path, faked: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "MAX_SIDE_PIXELS", 320)
    video = write_video(tmp_path / "clip.mp4", range(0, 200, 40), (640, 480))
    made = extract.extract(video, faked)
    np.testing.assert_allclose(made.sequence.points[0, :B], 2 * person(100.0)[0][:, :2], atol=1e-3)
    assert (made.depth[0] == 10.0).all() and made.sequence.size == (640.0, 480.0)


@pytest.mark.parametrize(("rule", "x"), [("nearest", 100.0), ("largest", 100.0), ("left", 100.0), ("right", 500.0)])
def test_the_person_who_is_followed(rule: Any, x: float) -> None:
    follower = Follower(rule)
    big, small = person(100.0)[0], person(500.0, width=60.0)[0]
    assert follower.choose([small, big], 0.0) == (0 if x == 500.0 else 1)
    # The order of the bodies changes, the person does not; nor where the other one comes to be larger.
    assert follower.choose([big, person(500.0, width=120.0)[0]], 0.1) == (1 if x == 500.0 else 0)


def test_a_person_who_is_not_found_for_a_moment_is_waited_for() -> None:
    follower = Follower()
    follower.choose([person(100.0)[0]], 0.0)
    assert follower.choose([person(500.0)[0]], 0.5) is None
    assert follower.choose([person(110.0)[0]], 0.9) == 0
    assert follower.choose([person(500.0)[0]], 2.5) == 0


def test_hands_go_to_the_nearest_wrist_whatever_they_are_called() -> None:
    body, left, right = person(100.0)
    assert assign_hands(body, [right, left], ["left", "right"]) == (1, 0)
    assert assign_hands(body, [left], ["right"]) == (0, None)
    assert assign_hands(body, [person(500.0)[1]], ["left"]) == (None, None)
    assert assign_hands(body, [], []) == (None, None)
    assert assign_hands(None, [left, right], ["left", "right"]) == (0, 1)


def test_a_variable_rate_is_made_constant() -> None:
    steady = np.array([0, 33, 67, 100, 133]) / 1000
    fps, index = constant_rate(steady)
    assert fps == pytest.approx(4 / 0.133) and index.tolist() == [0, 1, 2, 3, 4]
    fps, index = constant_rate(np.array([0, 40, 80, 200, 240, 250]) / 1000)
    assert fps == pytest.approx(25.0)
    assert index.tolist() == [0, 1, 2, 2, 3, 3, 5] or index.tolist() == [0, 1, 2, 2, 3, 3, 4]
    assert constant_rate(np.zeros(1)) == (25.0, np.array([0]))


def test_a_damaged_record_is_refused_and_other_files_have_none(tmp_path: Path, faked: ModelFiles) -> None:
    out = tmp_path / "clip.pose"
    extract.extract_to_file(write_video(tmp_path / "clip.mp4"), out, faked, Settings())
    data = bytearray(out.read_bytes())
    data[-12:-8] = (2**31).to_bytes(4, "little")
    out.write_bytes(data)
    with pytest.raises(DataError, match="record is damaged"):
        read_record(out)
    out.write_bytes(data[:-8])
    assert read_record(out) is None


def run_one(video: Path, out: Path, files: ModelFiles, settings: Settings = Settings()) -> batch.Result:  # noqa: B008
    return batch._one(batch.Video(video.stem, video), out, files, settings, True)


def test_whole_files_are_kept_and_others_made_again(
    tmp_path: Path, faked: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_progress", lambda frames: None)
    video, out = write_video(tmp_path / "clip.mp4"), tmp_path / "out"
    assert run_one(video, out, faked).state == "extracted"
    made = (out / "clip.pose").stat().st_mtime_ns
    kept = run_one(video, out, faked)
    assert kept.state == "kept" and kept.record["counts"]["frames"] == 25
    assert (out / "clip.pose").stat().st_mtime_ns == made
    assert run_one(video, out, faked, Settings(max_fps=10)).state == "replaced"
    (out / "clip.pose").write_bytes((out / "clip.pose").read_bytes()[:-100])  # cut off
    assert run_one(video, out, faked).state == "replaced"
    write_video(video, range(0, 400, 40))  # another video of the same name
    assert run_one(video, out, faked).record["counts"]["frames"] == 10
    models.write_bundle(faked.pose, {"a.tflite": b"another"})
    assert run_one(video, out, ModelFiles(faked.pose, faked.hand)).state == "replaced"


def test_a_bad_video_leaves_no_file_and_stands_in_the_report(
    tmp_path: Path, faked: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_progress", lambda frames: None)
    out = tmp_path / "out"
    results = [
        run_one(write_video(tmp_path / "a.mp4"), out, faked),
        run_one(write_sound(tmp_path / "b.mp4"), out, faked),
    ]
    assert [r.state for r in results] == ["extracted", "failed"]
    assert [p.name for p in out.glob("*.pose")] == ["a.pose"]
    text = report.markdown(results)
    assert "2 videos: 1 extracted, 0 kept from before" in text and "1 failed" in text
    assert "| a | extracted | 25 | 96% | 96% | 96% | 96% | 52% | 0% | 96% |" in text
    assert "- b: b.mp4: holds no pictures (audio only)" in text and "- a: too dark in 52%" in text
    told = report.metrics(results)
    assert told["videos_failed"] == 1 and told["body_share"] == 0.96
    assert (out / "report" / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    report.write_report(results, out)
    assert [s.id for s in formats.read(out)] == ["a"]  # the report beside them does not disturb


def test_videos_are_found_by_file_folder_and_pattern(tmp_path: Path) -> None:
    for name in ("a.mp4", "s1/b.MOV", "s1/.c.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [v.id for v in batch.find_videos(tmp_path)] == ["a", "s1/b"]
    assert [v.id for v in batch.find_videos(tmp_path / "a.mp4")] == ["a"]
    assert [v.id for v in batch.find_videos(tmp_path / "**" / "*.MOV")] == ["b"]
    with pytest.raises(DataError, match="did you mean 'a.mp4'"):
        batch.find_videos(tmp_path / "aa.mp4")
    (tmp_path / "a.mov").write_bytes(b"x")
    with pytest.raises(DataError, match="rename one"):
        batch.find_videos(tmp_path)


# Model files --------------------------------------------------------------------------------------------------------


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    models.write_bundle(wheel, {part.member: b"other" for parts in models.BUNDLES.values() for part in parts.values()})
    with pytest.raises(DataError, match="of SHA-256"):
        models.make_bundles(["hand.task"], tmp_path / "cache", wheel)
    models.write_bundle(wheel, {"README": b""})
    with pytest.raises(DataError, match="holds no mediapipe/modules"):
        models.make_bundles(["hand.task"], tmp_path / "cache", wheel)
    assert not (tmp_path / "cache").exists()


def test_without_a_registry_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ResourceError, match="pip cannot download it .*--pose-model"):
        models.model_files(folder=tmp_path)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.task").write_bytes(b"no zip")
    with pytest.raises(DataError, match="is no zip archive"):
        models.model_files(tmp_path / "a.task")
    with pytest.raises(DataError, match="does not exist"):
        models.model_files(tmp_path / "b.task")


def test_equal_models_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        models.write_bundle(tmp_path / name, {"x.tflite": b"1", "y.tflite": b"2"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# The command --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"videos": ""}, "videos: not given"),
        ({"out": ""}, "out: not given"),
        ({"person": "tallest"}, "nearest or largest or left or right"),
        ({"max_fps": "0"}, "max_fps: '0'"),
        ({"max_fps": "nan"}, "max_fps: 'nan'"),
        ({"workers": "-1"}, "workers: '-1'"),
        ({"on_bad_video": "ignore"}, "stop or skip"),
        ({"sheets": "maybe"}, "true or false"),
    ],
)
def test_mistakes_are_refused_before_any_work(options: dict[str, str], said: str) -> None:
    from entrypoints.extract import main
    from sign_models.cli.extract import parse

    given = {option.name or "": "" for option in main.params} | {"videos": "v", "out": "o"} | options
    with pytest.raises(ParamsError) as caught:
        parse(given)
    assert said in str(caught.value)


@pytest.mark.video
def test_rendered_videos_by_mediapipe_in_processes(tmp_path: Path) -> None:
    """Nobody is in them: what is tried is the whole way through processes, and going on."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(2):
        write_video(videos / f"clip{n}.mp4", range(0, 200, 40), (64, 48 + 16 * n))
    write_sound(videos / "sound.mp4")
    told: list[int] = []
    found = batch.find_videos(videos)
    results = batch.extract_all(found, tmp_path / "out", models.model_files(), workers=2, progress=told.append)
    assert [(r.id, r.state) for r in results] == [("clip0", "extracted"), ("clip1", "extracted"), ("sound", "failed")]
    assert sum(told) == 10 and [r.record["counts"]["body"] for r in results[:2]] == [0, 0]
    again = batch.extract_all(found[:2], tmp_path / "out", models.model_files(), workers=1)
    assert [r.state for r in again] == ["kept", "kept"]


@pytest.mark.video
@pytest.mark.skipif(not REAL.is_dir(), reason="real videos of signing are not part of the repository")
def test_real_signing(tmp_path: Path) -> None:
    made = extract.extract(REAL / "hoy.mp4", models.model_files())
    assert made.counts.frames == 64 and made.counts.body == 64 and made.counts.right_hand >= 60
    assert made.counts.several_people == 0 and made.counts.too_dark == 0
    shoulder = made.sequence.points[:, MEDIAPIPE_POSE.index("body.left_shoulder")]
    assert 700 < np.median(shoulder[:, 0]) < 900 and 250 < np.median(shoulder[:, 1]) < 450
