"""The page's server: what it answers, and what it refuses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from sign_models.keypoints.sequence import KeypointSequence
from sign_models.serving import web
from sign_models.serving.answers import Answering
from sign_models.serving.frames import FRAME_BYTES
from sign_models.serving.limits import MAX_CLIENTS, RateLimit
from tests.serving.raw import rows

BASE = "http://127.0.0.1:8080"
OURS, OTHER = "mediapipe-tasks 1 pose=" + "a" * 64, "mediapipe-tasks 1 pose=" + "b" * 64
WHERE = "/translate?width=640&height=480"


class Counting:
    """Says how many frames it saw; two windows for clips of more than 100."""

    def predict(
        self, sequences: list[KeypointSequence], *, n_best: int | None = None, windows: bool = False
    ) -> list[dict[str, Any]]:
        [clip] = sequences
        cuts = [0, len(clip)] if len(clip) <= 100 else [0, 60, len(clip)]
        told = [
            {"start": a / clip.fps, "end": b / clip.fps, "text": f"{b - a} frames", "score": -0.1}
            for a, b in itertools.pairwise(cuts)
        ]
        others = [{"text": f"text {i}", "score": -1.0 * i} for i in range(n_best or 1)]
        return [{"text": "all", "score": -0.1, "n_best": others, "windows": told}]


def client(tmp_path: Path, **given: Any) -> TestClient:
    files = {"mediapipe/a.wasm": tmp_path / "a.wasm"}
    files["mediapipe/a.wasm"].write_bytes(b"\0asm")
    answering = Answering(Counting(), OURS, (OURS,), **given)
    return TestClient(web.make_app(answering, {"model": "models:/m/1"}, files), base_url=BASE)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path) as made:
        yield made


def test_the_page_and_its_files_come_with_the_headers_that_close_it(page: TestClient) -> None:
    index = page.get("/")
    assert index.status_code == 200 and "text/html" in index.headers["content-type"]
    for path, kind in (
        ("/static/app.js", "text/javascript"), ("/static/style.css", "text/css"), ("/assets/mediapipe/a.wasm", "application/wasm"), ("/about", "application/json"),
    ):  # fmt: skip
        answer = page.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind), path
        for header in ("content-security-policy", "x-content-type-options", "cross-origin-resource-policy"):
            assert header in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    policy = index.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
    assert "<script>" not in index.text and "style=" not in index.text and "onclick=" not in index.text
    assert "http://" not in index.text and "https://" not in index.text  # nothing comes from elsewhere


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../web.py",
            "/static/..%2fweb.py",
            "/static/%2e%2e/web.py",
            "/static//etc/passwd",
            "/assets/../../etc/passwd",
        ),
        *(
            "/assets/%2fetc%2fpasswd",
            "/assets//etc/passwd",
            "/assets/mediapipe/../../a.wasm",
            "/docs",
            "/openapi.json",
            "/static/",
        ),
    ],
)
def test_no_path_of_a_request_is_opened(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404


def test_a_clip_becomes_segments(page: TestClient) -> None:
    answer = page.post(WHERE, content=rows([True] * 50).tobytes()).json()
    [segment] = answer["segments"]
    assert (segment["text"], segment["start"], segment["end"]) == ("50 frames", 0.0, 2.0)
    assert segment["confidence"] == pytest.approx(np.exp(-0.1), abs=1e-3) and not segment["unsure"]
    assert [h["text"] for h in segment["n_best"]] == ["text 1", "text 2"]
    assert answer["frames"] == 50 and answer["warning"] == "" and answer["latency_ms"] > 0
    longer = page.post(WHERE, content=rows([True] * 150).tobytes()).json()
    assert [s["text"] for s in longer["segments"]] == ["60 frames", "90 frames"]
    assert all(s["n_best"] == [] for s in longer["segments"])


def test_what_is_wrong_with_the_frames_is_said_of_clips_and_segments(page: TestClient) -> None:
    fine, beside = rows([True] * 50 + [False] * 30), rows([True] * 50 + [False] * 30)
    beside[:, 2 : 2 + 4 * 33 : 4] += 0.5  # a shoulder is beyond the right edge
    for frames, wrong in ((fine, []), (beside, ["hands", "no_shoulders"])):  # hands so far from the body are nobody's
        assert [*page.post(WHERE, content=frames.tobytes()).json()["look_at"]] == wrong
        told = [m for m in messages(page, frames) if m["type"] == "final"]
        assert all([*m["look_at"]] == wrong for m in told) and bool(told) == (frames is fine)


@pytest.mark.parametrize("fps", [5.0, 12.0, 30.0])
def test_a_clip_is_read_at_training_s_frame_rate(page: TestClient, fps: float) -> None:
    answer = page.post(WHERE, content=rows([True] * int(2 * fps + 1), fps).tobytes()).json()
    assert answer["segments"][0]["text"] == "51 frames"


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        (WHERE, b"", 400, "whole frames"),
        (WHERE, b"x", 400, "whole frames"),
        (WHERE, bytes(FRAME_BYTES), 400, "nobody is seen"),
        (WHERE, b"\xff" * FRAME_BYTES, 400, "out of range"),
        (WHERE, bytes((web.MAX_CLIP_FRAMES + 1) * FRAME_BYTES), 413, "send a shorter clip"),
        ("/translate?width=1e9&height=1e9", bytes(FRAME_BYTES), 400, "1000000000"),
        ("/captions?form=vtt", b"{", 400, "no list of segments"),
        ("/captions?form=vtt", b"[" * 100_000, 400, "no list of segments"),
        ("/captions?form=vtt", b'[{"start": 2, "end": 1, "text": "a"}]', 400, "before the end"),
        ("/captions?form=vtt", b" " * (web.MAX_CAPTION_BYTES + 1), 413, "bytes"),
    ],
)
def test_a_bad_request_gets_one_clear_message(
    page: TestClient, path: str, content: bytes, status: int, said: str
) -> None:
    answer = page.post(path, content=content)
    assert answer.status_code == status and said in answer.json()["message"].replace("1e+09", "1000000000")
    assert "Traceback" not in answer.text
    assert page.post(WHERE, content=rows([True] * 9).tobytes()).status_code == 200  # and the next is answered


@pytest.mark.parametrize("path", ["/translate", "/translate?width=a&height=1", "/captions?form=exe"])
def test_missing_and_wrong_parameters_are_refused(page: TestClient, path: str) -> None:
    assert page.post(path, content=b"").status_code == 422


def test_other_hosts_and_pages_of_other_origins_are_refused(page: TestClient) -> None:
    """A name that somebody else's domain server points to this machine, and a page that posts from elsewhere."""
    content = rows([True] * 9).tobytes()
    assert page.get("/", headers={"host": "evil.example"}).status_code == 400
    assert page.post(WHERE, content=content, headers={"origin": "http://evil.example"}).status_code == 403
    assert page.post(WHERE, content=content, headers={"origin": "null"}).status_code == 403
    assert page.post(WHERE, content=content, headers={"origin": BASE}).status_code == 200
    preflight = page.options(WHERE, headers={"origin": "http://evil.example", "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers
    with (
        pytest.raises(WebSocketDisconnect),
        page.websocket_connect(STREAM, headers={"origin": "http://evil.example"}),
    ):
        pass


def test_too_many_requests_are_refused(page: TestClient) -> None:
    content = rows([True] * 2).tobytes()
    found = [page.post(WHERE, content=content).status_code for _ in range(60)]
    assert found[:20] == [200] * 20 and found[-1] == 429


def test_a_rate_limit_refills_and_forgets() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 4.0, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(5)] == [True] * 4 + [False]
    assert limit.take("b")
    now[0] = 1.0
    assert [limit.take("a") for _ in range(3)] == [True, True, False]
    now[0] = 100.0
    assert not limit.take("a", 5.0) and limit.take("a", 4.0)
    for i in range(2 * MAX_CLIENTS):
        limit.take(str(i))
    assert len(limit._clients) == MAX_CLIENTS


def test_another_extractor_is_warned_of_or_refused(tmp_path: Path) -> None:
    content = rows([True] * 9).tobytes()
    for strict in (False, True):
        answering = Answering(Counting(), OTHER, (OURS,), strict=strict)
        with TestClient(web.make_app(answering, {}, {}), base_url=BASE) as asked:
            answer = asked.post(WHERE, content=content)
            assert answer.status_code == (400 if strict else 200)
            assert "pose bbbbbbbb" in answer.json()["message" if strict else "warning"]


def test_captions_are_those_of_translate(page: TestClient) -> None:
    cues = [
        {"start": 0, "end": 2, "text": "a < b", "confidence": 0.5, "n_best": []},
        {"start": 2, "end": 3.5, "text": "手语"},
    ]
    vtt = page.post("/captions?form=vtt", content=json.dumps(cues)).text
    assert vtt == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na &lt; b\n\n00:00:02.000 --> 00:00:03.500\n手语\n\n"
    assert page.post("/captions?form=srt", content=json.dumps(cues)).text.startswith("1\n00:00:00,000")


# The stream -----------------------------------------------------------------------------------------------------------

STREAM = "ws://127.0.0.1:8080/stream?width=640&height=480"


def messages(page: TestClient, frames: np.ndarray) -> list[dict[str, Any]]:
    with page.websocket_connect(STREAM) as socket:
        for i in range(0, len(frames), 10):
            socket.send_bytes(frames[i : i + 10].tobytes())
        socket.send_text("end")
        found = []
        while not found or found[-1]["type"] not in ("end", "error"):
            found.append(socket.receive_json())
        return found


def test_a_stream_answers_at_rests_and_revises_the_last_segment_only(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "PARTIAL_S", 0.0)
    found = messages(page, rows([True] * 40 + [False] * 30 + [True] * 50 + [False] * 10))
    assert found[-1] == {"type": "end"}
    finals = [m for m in found if m["type"] == "final"]
    assert [m["segment"] for m in finals] == [0, 1]
    assert finals[0]["end"] < finals[1]["start"] and all(m["text"] and m["n_best"] for m in finals)
    done = -1
    for message in found[:-1]:
        assert message["segment"] == done + 1  # a finished one is never spoken of again
        done += message["type"] == "final"
    assert sum(m["type"] == "partial" for m in found) >= 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x", "whole frames"),
        (bytes((web.MAX_MESSAGE_FRAMES + 1) * FRAME_BYTES), "at most 64 frames"),
        (b"\xff" * FRAME_BYTES, "out of range"),
    ],
)
def test_a_bad_message_ends_the_stream_with_one(page: TestClient, content: bytes, said: str) -> None:
    with page.websocket_connect(STREAM) as socket:
        socket.send_bytes(content)
        told = socket.receive_json()
        assert told["type"] == "error" and said in told["message"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_a_stream_that_is_too_fast_or_silent_is_ended(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    found = messages(page, rows([False] * 1500, fps=600.0))
    assert found[-1]["type"] == "error" and "too many frames" in found[-1]["message"]
    monkeypatch.setattr(web, "SILENCE_S", 0.05)
    with page.websocket_connect(STREAM) as socket:
        assert "nothing was sent" in socket.receive_json()["message"]


def test_streams_at_once_are_bounded_and_those_who_leave_make_room(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_STREAMS", 1)
    for _ in range(3):
        with page.websocket_connect(STREAM) as socket:
            with pytest.raises(WebSocketDisconnect), page.websocket_connect(STREAM):
                pass
            socket.send_text("end")
            assert socket.receive_json() == {"type": "end"}


def test_a_request_that_never_ends_is_refused(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def never(self: Any) -> Any:
        yield b"x"
        await asyncio.sleep(60)

    monkeypatch.setattr(web, "BODY_S", 0.05)
    monkeypatch.setattr(web.Request, "stream", never)
    answer = page.post(WHERE, content=b"x")
    assert answer.status_code == 400 and "is not whole" in answer.json()["message"]


# What is not sure -----------------------------------------------------------------------------------------------------


class Doubting(Counting):
    """As Counting, with a model's own confidence: clips of fewer than 45 frames are rejected."""

    def predict(
        self, sequences: list[KeypointSequence], *, n_best: int | None = None, windows: bool = False
    ) -> list[dict[str, Any]]:
        [answer] = super().predict(sequences, n_best=n_best, windows=windows)
        told = []
        for window in answer["windows"]:
            unsure = int(window["text"].split()[0]) < 45
            text = {"text": "", "guess": window["text"]} if unsure else {}
            told.append(window | {"confidence": 0.3 if unsure else 0.8, "unsure": unsure} | text)
        return [answer | {"windows": told}]


@pytest.fixture
def doubting() -> Iterator[TestClient]:
    with TestClient(web.make_app(Answering(Doubting(), OURS, (OURS,)), {}, {}), base_url=BASE) as made:
        yield made


@pytest.mark.parametrize("frames", [30, 50])
def test_a_segment_that_is_not_sure_has_no_text_but_a_guess(doubting: TestClient, frames: int) -> None:
    [segment] = doubting.post(WHERE, content=rows([True] * frames).tobytes()).json()["segments"]
    unsure, text = frames < 45, f"{frames} frames"
    assert segment["unsure"] == unsure and segment["confidence"] == (0.3 if unsure else 0.8)
    assert (segment["text"], segment.get("guess")) == (("", text) if unsure else (text, None))
    assert all(h["confidence"] <= segment["confidence"] for h in segment["n_best"])


def test_a_stream_says_what_it_is_not_sure_of(doubting: TestClient) -> None:
    found = messages(doubting, rows([True] * 20 + [False] * 30 + [True] * 60 + [False] * 30))
    first, second = (m for m in found if m["type"] == "final")
    assert (first["text"], first["unsure"], first["confidence"]) == ("", True, 0.3) and first["guess"].endswith(
        "frames"
    )
    assert second["text"].endswith("frames") and not second["unsure"] and "guess" not in second


def test_captions_of_what_is_not_sure_say_so(page: TestClient) -> None:
    cues = [
        {"start": 0, "end": 2, "text": "", "confidence": 0.3, "unsure": True},
        {"start": 2, "end": 4, "text": "tea", "unsure": False},
    ]
    vtt = page.post("/captions?form=vtt", content=json.dumps(cues)).text
    assert "00:00:00.000 --> 00:00:02.000\n[unsure]\n" in vtt and "\ntea\n" in vtt
