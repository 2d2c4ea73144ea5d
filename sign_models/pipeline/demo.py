"""The page: a registered translator behind a web server on this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sign_models.errors import UpstreamError
from sign_models.keypoints.extractor import difference, short_name
from sign_models.tracking.registered.lineage import Node, trace
from sign_models.tracking.registered.registry import ModelRef, resolve, trained_fps, trained_on, trained_parts
from sign_models.tracking.runs import connect
from sign_models.video.browser import browser_extractor, browser_files
from sign_models.video.models import model_files

SCORES = ("test/chrf", "test/bleu4", "dev/chrf", "dev/bleu4")


@dataclass(frozen=True)
class DemoOptions:
    """Options of the command `demo`.

    Attributes:
        model: Version of the translator, as the registry resolves it.
        host: Address to listen on.
        port: Port to listen on.
        strict_extractor: Refuse clips of another extractor than training's.
        experiment: Name of the MLflow experiment. "": the default.
    """

    model: str
    host: str
    port: int
    strict_extractor: bool = False
    experiment: str = ""


def run_demo(options: DemoOptions) -> None:
    """Serve the page until the process is told to end.

    Args:
        options: Of the command.

    Raises:
        UpstreamError: No such translator.
        ResourceError: The optional extra, MediaPipe's files, npm or the port are not to be had.
    """
    from sign_models.serving.web import LOOPBACK, listen, make_app, serve

    listening = listen(options.host, options.port)
    connect(options.experiment or None)
    upstream = resolve(options.model, "translator")
    models = model_files()
    files = browser_files(models)
    from sign_models.serving import load
    from sign_models.serving.answers import DEFAULT_FPS, Answering

    predictor = load(upstream.path())
    fps = predictor.fps or trained_fps(upstream.tags) or DEFAULT_FPS
    longest_s = predictor.reach()[0] / fps
    extractor, trained = browser_extractor(models), trained_on(upstream.tags)
    answering = Answering(predictor, extractor, trained, fps, longest_s, options.strict_extractor)
    app = make_app(answering, about(upstream, extractor, fps), files, (*LOOPBACK, options.host))
    print(f"{upstream.uri} on http://{options.host}:{listening.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
    if options.host not in LOOPBACK:
        print("browsers give a camera to https and to this machine only", file=sys.stderr)
    serve(app, listening)


def about(model: ModelRef, extractor: str, fps: float) -> dict[str, Any]:
    """What the page tells of the model: where its training clips come from, how many, how well it did.

    Args:
        model: The version that is shown.
        extractor: Of the page.
        fps: The model's frame rate.

    Returns:
        Values by name, for JSON.
    """
    node = trace(model.uri)
    trained = next((n for n in node.walk() if n.kind == "alignment"), None)
    if trained is None:
        raise UpstreamError("its lineage names no alignment model", place=model.uri, remedy="train it again")
    data = [_data(n) for n in trained.upstream if n.kind == "data"]
    return {
        "model": model.uri,
        "data": data,
        "scores": {name: value for name, value in node.scores.items() if name in SCORES},
        "fps": fps,
        "extractor": short_name(extractor),
        # the page finds body and hands: the model reads clips here in which the face is never seen
        "face_missing": "face" in trained_parts(model.tags),
        "warning": difference({extractor: 1}, trained_on(model.tags)),
        "trained_extractors": [short_name(e) for e in trained_on(model.tags)],
    }


def _data(node: Node) -> dict[str, Any]:
    """An input by the names of its files, without the paths of this machine."""
    names = dict.fromkeys(Path(path).name for path in node.uri.split(", "))
    return {"name": node.title, "source": ", ".join(names), **node.profile}
