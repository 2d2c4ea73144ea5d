"""The page in headless Chromium with a video file: frames a second of body and hands, and how long the text took.

usage: python -m benchmarks.page --video CLIP [--port 8080] [--screenshot FILE]

Needs `make browser`, Chromium, and the page:

    python -m entrypoints.demo --model candidate --port 8080 &

A video is read frame by frame as fast as the browser can, so that its rate is that of a camera which never waits.
Headless Chromium has no graphics card: the processor draws and computes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic")
WAIT_MS = 600_000
ENDED = "#status[data-key=done], #status[data-key=nothing], #status.bad"


def main() -> None:
    """Print the rate, and what the page says of the video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--screenshot")
    given = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
        page = browser.new_page(locale="en-US")
        page.set_default_timeout(WAIT_MS)
        page.goto(f"http://127.0.0.1:{given.port}/")
        begin = time.perf_counter()
        page.set_input_files("#file", str(given.video))
        page.wait_for_selector(ENDED)
        seconds = time.perf_counter() - begin
        rate, numbers = page.get_attribute("#numbers", "data-rate"), page.inner_text("#numbers")
        print(
            f"{rate} frames/s over the last 30 frames; {seconds:.1f} s with the models; load {os.getloadavg()[0]:.1f}"
        )
        print(f"{numbers}\n{page.inner_text('#status')}\n{page.inner_text('#results')}")
        if given.screenshot:
            page.screenshot(path=given.screenshot, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
