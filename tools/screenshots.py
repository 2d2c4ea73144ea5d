"""The pictures of MLflow's pages in docs/pictures, of the store that commands typed here use.

usage: python -m tools.screenshots [--out docs/pictures]

Needs `make browser`, Chromium, and a store with a finished pipeline and two runs of alignment:

    mlflow run . -P preset=quick
    mlflow run . -e alignment -P preset=quick -P lr=5e-4
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from PIL import Image

from tools.ui import DEFAULT, server_command

SIZE = {"width": 1280, "height": 800}
COLORS = 128  # a picture of a page needs no more, and is a third as large
TRAINING = "workflowType=machine_learning"  # which the UI shows beside what is for chats
CLOSED = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"  # the panel of MLflow's chat
START_S, SETTLE_S = 120.0, 6.0


def pages(client: mlflow.MlflowClient) -> dict[str, tuple[str, str]]:
    """Name of the picture -> the page's address, after that of the server, and a text that shows that it is there.

    Raises:
        SystemExit: The store holds no pipeline with a translator and two runs of alignment.
    """
    alignment, pipelines = (
        mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"tags.`sign.stage` = '{stage}' and attributes.status = 'FINISHED'",
            output_format="list",
        )
        for stage in ("alignment", "pipeline")
    )
    versions = client.search_model_versions("name = 'sign-translator'")
    if len(alignment) < 2 or not pipelines or not versions:
        sys.exit(f"the store has too little to show:{(__doc__ or '').partition(':')[2].partition('alignment:')[2]}")
    experiment = alignment[0].info.experiment_id
    two = json.dumps([run.info.run_id for run in alignment[:2]])
    newest = max(int(version.version) for version in versions)
    return {
        "runs": (f"#/experiments/{experiment}/runs?{TRAINING}", "alignment"),
        "charts": (
            f"#/experiments/{experiment}/runs/{alignment[0].info.run_id}/model-metrics?{TRAINING}",
            "train/loss",
        ),
        "compare": (
            f"#/compare-runs?runs={two}&experiments={json.dumps([experiment])}&{TRAINING}",
            alignment[0].info.run_name,
        ),
        "version": (f"#/models/sign-translator/versions/{newest}?{TRAINING}", "How to call it"),
    }


@contextmanager
def server(tracking_uri: str) -> Iterator[str]:
    """MLflow's server on a free port, until the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = [sys.executable, "-m", "mlflow", *server_command(tracking_uri), "--port", str(port)]
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url, end = f"http://127.0.0.1:{port}/", time.monotonic() + START_S
        while time.monotonic() < end and process.poll() is None:
            try:
                urllib.request.urlopen(url + "health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        else:
            sys.exit("MLflow's server does not start: try `make ui`")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def take(browser: Any, url: str, text: str, file: Path) -> None:
    """One picture, in few colours."""
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(1000 * START_S)
    page.add_init_script(CLOSED)
    page.goto(url)
    page.get_by_text(text).first.wait_for()
    time.sleep(SETTLE_S)  # the page asks for more as long as it is open: charts are drawn meanwhile
    page.screenshot(path=str(file))
    page.close()
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(COLORS).save(file, optimize=True)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    out = parser.parse_args().out
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
    mlflow.set_tracking_uri(tracking_uri)
    wanted = pages(mlflow.MlflowClient())
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with server(tracking_uri) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless=new", "--no-sandbox"])
        for name, (page, text) in wanted.items():
            take(browser, url + page, text, out / f"{name}.png")
            print(out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
