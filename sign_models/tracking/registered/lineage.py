"""Where a version comes from: the models, runs and data that it was made of, and which of them are deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from sign_models.keypoints.extractor import short_name
from sign_models.stages.declaration import Stage, by_role, model_names
from sign_models.tracking.metrics import current_name
from sign_models.tracking.registered.registry import (
    UPSTREAM,
    has_files,
    logged_model,
    model_id_of,
    resolve,
    stage_of,
    trained_on,
    versions_of,
)
from sign_models.tracking.store import client
from sign_models.tracking.store_errors import translate_store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

DATA = "sign.data."
COLUMN, ROW, LINE = 250, 140, 14  # pixels of the picture
# Params that tell two models of a stage apart at a glance; the run has them all.
SHOWN_PARAMS = re.compile(r"\.model\.|\.(steps|epochs|lr|seed|finetune|pretrained|vocabulary|beams|scoring)$")


@dataclass(frozen=True)
class Node:
    """A version, a run that left a file, or an input.

    Attributes:
        kind: Stage, or "data".
        title: First line of its text.
        uri: Of the version or input.
        run_id: Of the run that made it.
        asked: What a user named it by.
        digest: sha256 of an input.
        commit: Git commit of the code.
        dirty: Whether the code differed from it: "true", "false" or "unknown".
        scores: Of its run.
        params: Of its run, those that tell models apart at a glance.
        extractors: Of the clips that a version was trained on.
        profile: Sizes of an input.
        missing: Which parts of it were deleted.
        upstream: What it was made of.
    """

    kind: str
    title: str
    uri: str = ""
    run_id: str = ""
    asked: str = ""
    digest: str = ""
    commit: str = ""
    dirty: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    extractors: tuple[str, ...] = ()
    profile: dict[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    upstream: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Visit the tree.

        Yields:
            This node, then all below it.
        """
        yield self
        for node in self.upstream:
            yield from node.walk()


def trace(asked: str) -> Node:
    """Trace the lineage of a version.

    Args:
        asked: `sign-translator@champion` or `sign-translator/3`, either with `models:/` before it. A name alone means
            its candidate.

    Returns:
        The version, with all that it was made of. What is gone further back is marked in the nodes.

    Raises:
        ParamsError: There is no such model.
        UpstreamError: There is no such version.
        ResourceError: The store does not answer.
    """
    name, sign, spec = re.fullmatch(r"([^@/]*)([@/]?)(.*)", asked.strip().removeprefix("models:/")).groups()  # type: ignore[union-attr]
    stage = stage_of(name)
    with translate_store_errors(f"lineage of {asked}"):
        found = resolve(f"models:/{model_names()[stage]}{sign}{spec}" if spec else "candidate", stage)
        told = {"asked": asked, "uri": found.uri, "run_id": found.run_id, "model_id": found.model_id}
        return _version(stage, told)


def _version(role: str, told: Mapping[str, str]) -> Node:
    """The node of a version and all that it builds on, as the tags of its user name it."""
    name, _, number = told["uri"].removeprefix("models:/").partition("/")
    version = next((v for v in versions_of(name) if model_id_of(v) == told["model_id"]), None)
    model, run = logged_model(told["model_id"]), _run(told["run_id"])
    tags = dict(version.tags if version else model.tags if model else _as_version_tags(run))
    gone = [] if version else ["the version"]
    gone += ["the logged model"] if model is None else [] if has_files(model.artifact_location) else ["its files"]
    upstream = [_version(k, v) for k, v in _models(tags).items()]
    of_run = {} if run is None else run.data.tags
    for producer in (stage for stage in by_role().values() if stage.writes):
        if made := of_run.get(UPSTREAM + producer.made_role):
            below = [node for node in upstream if node.kind in producer.upstream]
            upstream = [_file(producer, made, below), *(node for node in upstream if node not in below)]
    return Node(
        kind=role,
        title=f"{name} version {number}",
        uri=told["uri"],
        run_id=told["run_id"],
        asked=told.get("asked", ""),
        commit=tags.get("sign.commit", ""),
        dirty=tags.get("sign.dirty", ""),
        extractors=tuple(map(short_name, trained_on(tags))),
        scores=_scores(model, run),
        params=_shown_params(run.data.params if run else model.params if model else {}),
        missing=(*gone, *_missing(run)),
        upstream=(*upstream, *_data(tags, run)),
    )


def _file(producer: Stage, run_id: str, below: list[Node]) -> Node:
    """Describe the run that left a file; `below` are its models, where the reader of the file names them."""
    run = _run(run_id)
    tags = {} if run is None else run.data.tags
    below = below or [_version(role, told) for role, told in _models(_as_version_tags(run)).items()]
    return Node(
        kind=producer.name,
        title=producer.made_role,
        run_id=run_id,
        commit=tags.get("sign.commit", ""),
        dirty=tags.get("sign.dirty", ""),
        params=_shown_params(run.data.params) if run else {},
        missing=_missing(run),
        upstream=(*below, *_data(tags, run)),
    )


def _data(tags: Mapping[str, str], run: Run | None) -> list[Node]:
    """The inputs: their whole digests from the tags, what else is known of them from the run."""
    inputs = [] if run is None or run.inputs is None else run.inputs.dataset_inputs
    known = {t.value: i.dataset for i in inputs for t in i.tags if t.key == "mlflow.data.context"}
    nodes = []
    for tag in sorted(t for t in tags if t.startswith(DATA) and t != "sign.data.source"):
        context = tag.removeprefix(DATA)
        dataset = known.get(context)
        profile = json.loads(dataset.profile) if dataset and dataset.profile else {}
        source = json.loads(dataset.source).get("uri", "") if dataset else ""
        title = dataset.name if dataset else context
        nodes.append(Node("data", title, uri=source, digest=tags[tag], profile=profile))
    return nodes


def _models(tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Role -> what was asked for and found, of the registered models that a version was built on."""
    found = {k.removeprefix(UPSTREAM): v for k, v in tags.items() if k.startswith(UPSTREAM) and v.startswith("{")}
    return {role: json.loads(text) for role, text in found.items() if role in model_names()}


def _as_version_tags(run: Run | None) -> dict[str, str]:
    """What a version's tags said, from its run's, where the version and its logged model are gone."""
    tags = {} if run is None else run.data.tags
    found = dict(tags)
    for role in model_names():
        fields = {part: tags.get(f"{UPSTREAM}{role}.{part}", "") for part in ("asked", "run_id", "model_id")}
        if uri := tags.get(UPSTREAM + role):
            found[UPSTREAM + role] = json.dumps({**fields, "uri": uri})
    return found


def _run(run_id: str) -> Run | None:
    import mlflow

    try:
        return client().get_run(run_id)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _missing(run: Run | None) -> tuple[str, ...]:
    gone = run is None or run.info.lifecycle_stage == "deleted"
    return ("its run",) if gone else ()


def _scores(model: LoggedModel | None, run: Run | None) -> dict[str, float]:
    points = (model.metrics or []) if model else []
    if points:
        return {current_name(p.key): p.value for p in sorted(points, key=lambda point: (point.key, point.step))}
    metrics = {} if run is None else {current_name(name): value for name, value in run.data.metrics.items()}
    return {k: v for k, v in sorted(metrics.items()) if k.startswith(("validation/", "test/"))}


def _shown_params(params: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in sorted(params.items()) if v and SHOWN_PARAMS.search(k)}


def as_text(node: Node) -> str:
    """Draw the tree for a terminal.

    Args:
        node: Root of the tree.

    Returns:
        A paragraph for each node.
    """
    return "\n".join(_lines(node, "", ""))


def _lines(node: Node, first: str, rest: str) -> Iterator[str]:
    missing = f"   MISSING: {', '.join(node.missing)}" if node.missing else ""
    yield f"{first}{node.title}{missing}"
    bar = "│  " if node.upstream else "   "
    for line in _facts(node):
        yield f"{rest}{bar}{line}"
    for i, child in enumerate(node.upstream):
        last = i == len(node.upstream) - 1
        yield from _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _facts(node: Node) -> Iterator[str]:
    """Lines that say what is known of a node."""
    asked = f", asked for as {node.asked!r}" if node.asked and node.asked != node.uri else ""
    if node.uri:
        yield f"{node.uri}{asked}"
    if node.digest:
        yield f"sha256 {node.digest[:16]}  {_profile(node)}".rstrip()
    if node.run_id:
        changed = {"true": " with changes", "unknown": ", perhaps with changes"}.get(node.dirty, "")
        yield f"run {node.run_id}" + (f"  commit {node.commit[:10]}{changed}" if node.commit else "")
    if node.extractors:
        yield f"trained on keypoints of {', '.join(node.extractors)}"
    for what, values in (("scores", node.scores), ("params", node.params)):
        if values:
            shown = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()]
            yield f"{what}  {', '.join(shown)}"


def picture(node: Node) -> str:
    """Draw the tree as boxes: what was made on the right, what it was made of to its left, deleted things in red.

    It is written as text: matplotlib takes a fifth of the command's time to import.

    Args:
        node: Root of the tree.

    Returns:
        SVG.
    """
    heights: dict[int, int] = {}  # boxes that a column holds already
    places: list[tuple[Node, int, int]] = []
    lines: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def place(shown: Node, depth: int) -> tuple[int, int]:
        row = heights[depth] = heights.get(depth, -1) + 1
        places.append((shown, depth, row))
        lines.extend((place(child, depth + 1), (depth, row)) for child in shown.upstream)
        return depth, row

    place(node, 0)
    columns, rows = len(heights), 1 + max(heights.values())

    def centre(depth: int, row: int) -> tuple[int, int]:
        return (columns - depth) * COLUMN - COLUMN // 2, row * ROW + ROW // 2

    drawn = []
    for child, parent in lines:
        (x1, y1), (x2, y2) = centre(*child), centre(*parent)
        drawn.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#bbbbbb"/>')
    for shown, depth, row in places:
        colour = "#d62728" if shown.missing else "#888888" if shown.kind == "data" else "#1f77b4"
        drawn += _box(_short(shown), *centre(depth, row), colour)
    size = f'width="{columns * COLUMN}" height="{rows * ROW}"'
    font = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *drawn, "</svg>\n"])


def _box(texts: list[str], x: int, y: int, colour: str) -> list[str]:
    """A box around lines of text, its centre at (x, y)."""
    width, height = COLUMN - 20, LINE * len(texts) + 10
    place = f'x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}"'
    first = y - height // 2 + LINE
    shown = [escape("".join(c if c.isprintable() else " " for c in text)) for text in texts]  # XML has no others
    written = [f'<text x="{x}" y="{first + LINE * i}">{text}</text>' for i, text in enumerate(shown)]
    return [f'<rect {place} rx="6" fill="white" stroke="{colour}"/>', *written]


def _profile(node: Node) -> str:
    """What an input holds: counts with what is counted, and texts (who extracted it) as they are."""
    return ", ".join(f"{v} {k.replace('_', ' ')}" if isinstance(v, int) else str(v) for k, v in node.profile.items())


def _short(node: Node) -> list[str]:
    scores = [f"{name} {value:.4g}" for name, value in sorted(node.scores.items())][:3]
    digest = node.digest and f"sha256 {node.digest[:12]}"
    run = node.run_id and f"run {node.run_id[:12]}"
    missing = node.missing and f"MISSING: {', '.join(node.missing)}"
    return [line[:36] for line in (node.title, run, digest, _profile(node), *scores, missing) if line]
