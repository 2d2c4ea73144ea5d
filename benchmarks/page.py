"""The page in headless Chromium with a real video: frames a second, and what it sees and says beside `extract`.

usage: python -m benchmarks.page --video CLIP [--camera] [--model candidate] [--port 8080] [--screenshot FILE]

Needs `make video`, `make browser`, Chromium, and the page:

    python -m entrypoints.demo --model candidate --port 8080 &

A video is read frame by frame as fast as the browser can, so that its rate is that of a camera which never waits. With
--camera Chromium plays the clip as its camera, over and over, and the page records a while. Headless Chromium has no
graphics card: the processor draws and computes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from sign_models.keypoints import formats
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence
from sign_models.serving import load
from sign_models.serving.frames import FrameReader, clip_of_frames
from sign_models.serving.web import N_BEST
from sign_models.tracking.registered.registry import resolve
from sign_models.tracking.runs import connect
from sign_models.video import decode
from sign_models.video.extract import DEFAULTS, extract_to_file
from sign_models.video.models import model_files

FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic")
CAMERA_FLAGS = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
CAMERA_FPS = 25
WAIT_MS = 600_000
ENDED = "#status[data-key=done], #status[data-key=nothing], #status.bad"


def write_camera(path: Path, pictures: list[np.ndarray]) -> None:
    """Write the .y4m file that Chromium plays as its camera: pictures (H, W, 3) uint8 RGB."""
    import av

    height, width = (side - side % 2 for side in pictures[0].shape[:2])
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{CAMERA_FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            file.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())


def use_page(given: argparse.Namespace, camera: Path | None) -> tuple[bytes, tuple[float, float]]:
    """Drop the video, or record the camera. Prints the rate and the texts -> what the page sent, the pictures' size."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    more = (*CAMERA_FLAGS, f"--use-file-for-fake-video-capture={camera}") if camera else ()
    sent: list[bytes] = []

    def keep(asked: Any) -> None:
        if "/translate" in asked.url:
            sent.append(asked.post_data_buffer)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *more])
        page = browser.new_page(locale="en-US")
        page.set_default_timeout(WAIT_MS)
        page.on("request", keep)
        page.goto(f"http://127.0.0.1:{given.port}/")
        begin = time.perf_counter()
        if camera:
            page.click("#camera")
            page.wait_for_selector("#numbers:has-text('body ✓')", state="attached")
            page.keyboard.press("r")
            while int(page.get_attribute("#record", "data-frames") or 0) < given.frames:
                time.sleep(0.1)  # the page's policy forbids what wait_for_function evaluates
            page.keyboard.press("r")
        else:
            page.set_input_files("#file", str(given.video))
        page.wait_for_selector(ENDED)
        seconds = time.perf_counter() - begin
        rate, numbers = page.get_attribute("#numbers", "data-rate"), page.inner_text("#numbers")
        print(f"{rate} frames/s of the last 30 frames; {seconds:.1f} s with the models; load {os.getloadavg()[0]:.1f}")
        print(f"{numbers}\n{page.inner_text('#status')}\n{page.inner_text('#results')}")
        canvas = "document.getElementById('skeleton')"
        width, height = page.evaluate(f"[{canvas}.width, {canvas}.height]")
        if given.screenshot:
            page.screenshot(path=given.screenshot, full_page=True)
        browser.close()
    return sent[-1], (width, height)


def compare(given: argparse.Namespace, data: bytes, size: tuple[float, float], ours: KeypointSequence) -> None:
    """Print how far the page's landmarks are from `extract`'s, and both texts."""
    times, values = FrameReader(size).read(data)
    fps = ours.fps or CAMERA_FPS
    theirs = clip_of_frames(times, values, size, fps, ours.extractor)
    seen = KeypointSequence(
        "page", values[..., :2], values[..., 3], ours.layout, size=size, fps=fps, depth=values[..., 2]
    )
    mine, other = normalise(ours), normalise(seen if given.camera else theirs)
    # A camera begins somewhere in the clip: each of its frames is held against the most alike of the clip's.
    pairs = [(frame, mine[i]) for i, frame in enumerate(other[: len(mine)])]
    if given.camera:
        medians = [[float(np.median(_distances(frame, own))) for own in mine] for frame in other]
        pairs = [(frame, mine[int(np.argmin(row))]) for frame, row in zip(other, medians, strict=True)]
    distance = np.concatenate([_distances(*pair) for pair in pairs])
    shares = [float((clip[..., 2] > 0)[:, :13].any(1).mean()) for clip in (mine, other)]
    print(f"a body in {shares[0]:.0%} of {len(mine)} frames by extract, in {shares[1]:.0%} of {len(other)} by the page")
    print(f"distance: median {np.median(distance):.4f}, 95 % {np.quantile(distance, 0.95):.4f} shoulder widths")
    if not given.camera:  # which recorded a part of the clip, or more than it
        connect(None)
        predictor = load(resolve(given.model, "translator").path())
        answers = [
            predictor.predict([clip], windows=True, reject_below=0, n_best=N_BEST)[0]["windows"]
            for clip in (ours, theirs)
        ]
        print("texts:", *([window["text"] for window in windows] for windows in answers))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of landmarks that both (K, 3) frames show, in shoulder widths."""
    both = (a[:, 2] > 0) & (b[:, 2] > 0)
    return np.hypot(*(a - b)[both, :2].T) if both.any() else np.array([np.inf])


def main() -> None:
    """Run the page, then `extract`, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--camera", action="store_true")
    parser.add_argument("--frames", type=int, default=30, help="to record of the camera")
    parser.add_argument("--model", default="candidate")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--screenshot")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "clip.pose")
        camera = Path(scratch, "camera.y4m") if given.camera else None
        if camera:
            write_camera(camera, [frame.pixels for frame in decode.frames(given.video, max_side=1280)])
        data, size = use_page(given, camera)
        extract_to_file(given.video, file, model_files(), DEFAULTS)
        (ours,) = formats.read(file)
        compare(given, data, size, ours)


if __name__ == "__main__":
    main()
