"""The page in a real Chromium, headless, with a drawn signer before its camera and a trained model behind it."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from sign_models.keypoints.normalise import normalise
from sign_models.models.confidence import FEATURES, Confidence
from sign_models.serving.frames import FRAME_FLOATS, FrameReader, clip_of_frames
from tests.conftest import use_store
from tests.serving.raw import rows
from tests.video.figure import SIZE, write_camera, write_signing

pytestmark = [pytest.mark.video, pytest.mark.browser]
WAIT_MS = 180_000  # the machine may be busy with other tests
FLAGS = [
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]
SHOTS = os.environ.get("PAGE_SCREENSHOTS")  # a folder: where the pictures of docs/video.md are written
# Of the two extractors' landmarks on one clip, in shoulder widths: the median, and 95 % of them.
MEDIAN_TOLERANCE, P95_TOLERANCE = 0.02, 0.10


@dataclass
class Served:
    url: str
    answering: Any
    bodies: list[bytes] = field(default_factory=list)  # of the requests to /translate


@pytest.fixture(scope="module")
def served(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The tiny pipeline's translator behind the page, as `demo` puts it there."""
    import uvicorn

    from sign_models.pipeline import demo
    from sign_models.serving import web

    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: it fetches MediaPipe's package for the browser")
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(built / "mlflow.db", folder)
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        mlflow.MlflowClient().set_registered_model_alias("sign-translator", "champion", "1")
        kept: dict[str, Any] = {}
        make_app = web.make_app

        def made(answering: Any, *more: Any) -> Any:
            kept["answering"] = answering
            kept["app"] = make_app(answering, *more)
            return kept["app"]

        patch.setattr(web, "make_app", made)
        patch.setattr(web, "serve", lambda app, listening: listening.close())
        demo.run_demo(demo.DemoOptions("sign-translator@champion", "127.0.0.1", 0))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(kept["app"], log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}/", kept["answering"])
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    camera = write_camera(tmp_path_factory.mktemp("camera") / "signer.y4m", 20)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        yield browser
        browser.close()


# In place of MediaPipe, whose models take seconds to load: every picture shows the generated signer.
SIGNER_EVERYWHERE = f"""
export const FRAME_FLOATS = {FRAME_FLOATS}, found = () => ({{ body: true, left: true, right: true }}), draw = () => {{}};
export class Extractor {{
  static create = async () => new Extractor();
  detect = (source, time) => Float32Array.from({rows([True])[0].tolist()}).fill(time, 0, 1);
  close() {{}}
}}
"""


@pytest.fixture
def page(chromium: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of its own; every request that it makes goes to its server."""
    context = chromium.new_context(**getattr(request, "param", {"locale": "en-US"}))
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("request", lambda asked: keep(served, asked))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.url)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def quick_page(page: Any) -> Any:
    """A page that finds the same landmarks in every picture."""
    page.route("**/extractor.js", lambda asked: asked.fulfill(body=SIGNER_EVERYWHERE, content_type="text/javascript"))
    page.reload()
    return page


def keep(served: Served, asked: Any) -> None:
    if "/translate" in asked.url:
        served.bodies.append(asked.post_data_buffer)


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def translate_file(page: Any, path: Path) -> None:
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#status[data-key=done], #status[data-key=nothing], #status.bad")
    assert page.get_attribute("#status", "class") != "bad", page.inner_text("#status")


def test_the_camera_becomes_text_and_captions(page: Any, served: Served, tmp_path: Path) -> None:
    page.click("#camera")
    page.wait_for_selector("#status[data-key=ready]")
    page.wait_for_selector("#numbers:has-text('body ✓')", state="attached")
    page.keyboard.press("r")
    page.wait_for_selector("#record[aria-pressed=true]")
    end = time.monotonic() + WAIT_MS / 1000
    while int(page.get_attribute("#record", "data-frames") or 0) < 4:
        assert time.monotonic() < end
        time.sleep(0.1)
    page.keyboard.press("r")
    page.wait_for_selector("#results > li")
    segments = page.locator("#results > li").count()
    assert page.locator("#results meter").count() == segments
    assert re.search(r"0\.0 – \d+\.\d s", page.inner_text("#results"))
    assert "ms after the last frame" in page.inner_text("#results")
    assert page.evaluate("document.getElementById('skeleton').width") == SIZE[0]
    drawn = page.evaluate(
        "(() => { const c = document.getElementById('skeleton');"
        " return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); })()"
    )
    assert drawn
    shot(page, "page")
    with page.expect_download() as download:
        page.click("#vtt")
    download.value.save_as(tmp_path / "a.vtt")
    assert (tmp_path / "a.vtt").read_text(encoding="utf-8").startswith("WEBVTT\n")
    page.keyboard.press("l")
    page.wait_for_selector("#status[data-key=liveOn]")
    # A machine as busy as this may be finds too few frames for a partial text; then a final one comes.
    more = f"#results > li:nth-child({segments + 1})"
    page.wait_for_selector(f"#partial:not(:empty), {more}", state="attached")
    page.keyboard.press("l")
    page.wait_for_selector(more)
    page.wait_for_selector("#live[aria-pressed=false]")


def test_one_clip_by_both_extractors_is_one_clip(page: Any, served: Served, tmp_path: Path) -> None:
    """The same video by the page and by `extract`: coordinates within a tolerance, and the same text."""
    from sign_models.keypoints import formats
    from sign_models.video.extract import DEFAULTS, extract_to_file
    from sign_models.video.models import model_files

    video = write_signing(tmp_path / "clip.mp4", [True] * 12)
    served.bodies.clear()
    translate_file(page, video)
    times, values = FrameReader(SIZE).read(served.bodies[-1])
    assert len(times) >= 10
    theirs = clip_of_frames(times, values, SIZE, 25.0, served.answering.extractor)
    extract_to_file(video, tmp_path / "clip.pose", model_files(), DEFAULTS)
    (ours,) = formats.read(tmp_path / "clip.pose")
    count = min(len(ours), len(theirs))
    mine, other = normalise(ours)[:count], normalise(theirs)[:count]
    both = (mine[..., 2] > 0) & (other[..., 2] > 0)
    assert both.mean() > 0.8 * (mine[..., 2] > 0).mean()
    distance = np.hypot(*(mine - other)[both].T[:2])
    print(f"median {np.median(distance):.4f}, 95 % {np.quantile(distance, 0.95):.4f} shoulder widths")
    assert np.median(distance) < MEDIAN_TOLERANCE and np.quantile(distance, 0.95) < P95_TOLERANCE
    texts = [served.answering.predictor.predict([clip])[0]["text"] for clip in (ours, theirs)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("page", [{"locale": "zh-CN", "viewport": {"width": 390, "height": 844}}], indirect=True)
def test_chinese_on_a_phone_held_upright(page: Any) -> None:
    assert page.get_attribute("html", "lang") == "zh-CN" and page.title() == "手语翻译"
    assert "不能代替手语翻译员" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = [page.locator(name).bounding_box() for name in ("#camera", "#choose", "#record", "#live")]
    assert all(box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    shot(page, "page-phone-zh")
    page.select_option("#language", "en")
    assert page.inner_text("#camera") == "Camera" and page.get_attribute("html", "lang") == "en"


def test_it_is_usable_by_keyboard_and_screen_reader(page: Any) -> None:
    """Every control has a name, is reached by Tab in the order of the page, and what happens is announced."""
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, a, canvas')]"
        ".filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label'))).map((e) => e.id)"
    )
    assert unnamed == []
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert order == ["skip", "language", "camera", "choose"]
    assert page.get_attribute("#status", "role") == "status" and page.get_attribute("#results", "aria-live") == "polite"
    levels = page.evaluate("[...document.querySelectorAll('h1, h2')].map((e) => e.tagName)")
    assert levels == ["H1", "H2", "H2", "H2"]


def test_it_says_what_the_model_was_trained_on(page: Any) -> None:
    page.wait_for_selector("#about dd", state="attached")  # it is fetched
    about = page.inner_text("#about")
    assert "models:/sign-translator/1" in about and "20 clips" in about
    assert "no interpreter" in page.inner_text("main")
    assert "files that name no extractor" in about
    assert page.inner_text("#warning").startswith("Warning, keypoints unlike training's: 1 of 1 clips")


def test_what_it_is_not_sure_of_is_marked_and_stands_in_no_caption(
    quick_page: Any, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip, read by a model that is sure of it and by one that is not, in both languages."""
    page, model = quick_page, served.answering.predictor.model
    monkeypatch.setattr(model, "generation", replace(model.generation, reject_below=0.9))
    video, texts = write_signing(tmp_path / "clip.mp4", [True] * 4), []
    for language, confidence, mark in (("en", 0.97, None), ("en", 0.42, "not sure"), ("zh", 0.42, "不确定")):
        even = (0.0,) * len(FEATURES)
        bias = math.log(confidence / (1 - confidence))
        monkeypatch.setattr(model, "confidence", Confidence(even, (1.0,) * len(FEATURES), even, bias))
        page.select_option("#language", language)
        translate_file(page, video)
        item = page.locator("#results > li")
        texts.append(item.locator(".text").inner_text())
        assert f"{round(100 * confidence)} %" in item.inner_text()
        assert item.locator(".text.unsure").count() == item.locator(".unsure-mark").count() == (1 if mark else 0)
        if mark:  # before the guess, also to a screen reader
            assert item.inner_text().startswith(mark) and item.inner_text().index(texts[-1]) > 0
            shot(page, f"page-unsure-{language}")
        with page.expect_download() as download:
            page.click("#vtt")
        download.value.save_as(tmp_path / "a.vtt")
        captions = (tmp_path / "a.vtt").read_text(encoding="utf-8")
        assert ("[unsure]" in captions, texts[-1] in captions) == (bool(mark), not mark)
        page.click("#clear")
    assert texts[0] and len(set(texts)) == 1


def test_it_says_what_is_wrong_with_the_frames_and_that_it_finds_no_face(
    quick_page: Any, served: Served, tmp_path: Path
) -> None:
    page, whole = quick_page, str(rows([True])[0].tolist())
    about = page.request.get(f"{served.url}about").json()
    assert about["face_missing"] is False and page.inner_text("#no-face") == ""
    video = write_signing(tmp_path / "a.mp4", [True] * 4)
    translate_file(page, video)
    assert page.inner_text("#look") == ""
    beside = rows([True])[0]
    beside[2 : 2 + 4 * 33 : 4] += 0.5  # a shoulder is beyond the right edge
    shown = SIGNER_EVERYWHERE.replace(whole, str(beside.tolist()))
    page.route("**/extractor.js", lambda asked: asked.fulfill(body=shown, content_type="text/javascript"))
    page.route("**/about", lambda asked: asked.fulfill(json=about | {"face_missing": True}))
    page.reload()
    page.wait_for_selector("#no-face:not(:empty)")
    assert page.inner_text("#no-face").startswith("This model was trained on clips with faces.")
    translate_file(page, video)
    assert "no_shoulders" in page.get_attribute("#look", "data-keys").split()
    assert "A shoulder is outside of the picture in 100 % of the frames" in page.inner_text("#look")
    page.select_option("#language", "zh")
    assert "肩膀在画面之外" in page.inner_text("#look") and "面部" in page.inner_text("#no-face")


def test_a_recording_without_a_duration_is_read(quick_page: Any, served: Served, tmp_path: Path) -> None:
    """As browsers record it: the container is written while it is recorded."""
    video = write_signing(tmp_path / "live.webm", [True] * 8, codec="libvpx", options={"live": "1"})
    served.bodies.clear()
    translate_file(quick_page, video)
    times, _ = FrameReader(SIZE).read(served.bodies[-1])
    assert len(times) >= 6 and times[-1] == pytest.approx(0.27, abs=0.1)


def hostile(kind: str, folder: Path) -> Path:
    from tests.video.clips import write_sound

    path = folder / f"{kind}.mp4"
    if kind == "sound":
        return write_sound(path)
    if kind == "text":
        path.write_text("no video")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        whole = write_signing(folder / "whole.mp4", [True] * 30).read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    return path


@pytest.mark.parametrize("kind", ["sound", "text", "empty", "truncated"])
def test_a_file_that_is_no_video_gets_one_message(page: Any, kind: str, tmp_path: Path) -> None:
    page.set_input_files("#file", str(hostile(kind, tmp_path)))
    page.wait_for_selector("#status.bad")
    assert page.inner_text("#status") in (
        "This file holds no picture.",
        "This file is no video that this browser can read.",
    )
    assert page.locator("#results > li").count() == 0
