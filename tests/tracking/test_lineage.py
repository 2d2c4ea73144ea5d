from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import mlflow
import pytest

from sign_models.errors import ParamsError, UpstreamError
from sign_models.tracking.registered import lineage
from sign_models.tracking.registered.lineage import Node, as_text, picture, trace
from sign_models.tracking.registered.registry import ModelRef
from tests.tracking import fakes

SVG = "{http://www.w3.org/2000/svg}"
COLOURS = ("#1f77b4", "#888888")  # of a version or a run, of data
CHAIN = ["translator", "alignment", "represent", "temporal", "skeleton"]


@pytest.fixture(scope="module")
def made(shared: Path) -> dict[str, ModelRef]:
    return fakes.train_all(shared / "out")


@pytest.fixture
def unmade(tracking: Path, fakes: None) -> dict[str, ModelRef]:
    """The same, to delete from."""
    from tests.tracking.fakes import train_all

    return train_all(tracking / "out")


def chain(node: Node) -> list[Node]:
    """The nodes from a version back to the skeleton, data aside."""
    return [n for n in node.walk() if n.kind != "data"]


def test_a_translator_leads_back_to_the_data(made: dict[str, ModelRef]) -> None:
    found = trace("sign-translator@candidate")
    nodes = chain(found)
    assert [n.kind for n in nodes] == CHAIN
    assert [n.uri for n in nodes if n.uri] == [made[n.kind].uri for n in nodes if n.uri]
    assert [n.run_id for n in nodes if n.uri] == [made[n.kind].run_id for n in nodes if n.uri]
    assert not any(n.missing for n in found.walk())
    digests = {n.digest for n in found.walk() if n.kind == "data"}
    assert digests == {
        (stage[0] + "0") * 32 for stage in ("skeleton", "temporal", "represent", "alignment", "generate")
    }
    assert all(n.commit and n.params == {f"{n.kind.replace('translator', 'generate')}.model.width": "8"} for n in nodes)
    assert all(n.scores == {"validation/score": 90.0} for n in nodes if n.uri)


@pytest.mark.parametrize(
    "asked",
    [
        "sign-translator",
        "sign-translator/1",
        "translator@candidate",
        "models:/sign-translator/1",
        "models:/sign-translator@candidate",
    ],
)
def test_every_way_to_name_a_version_works(made: dict[str, ModelRef], asked: str) -> None:
    assert trace(asked).uri == "models:/sign-translator/1"


def test_what_does_not_exist_is_refused(made: dict[str, ModelRef]) -> None:
    with pytest.raises(ParamsError, match="did you mean"):
        trace("sign-translatr@champion")
    with pytest.raises(UpstreamError, match="no such alias"):
        trace("sign-translator@champion")


def test_the_text_holds_all_that_was_found(made: dict[str, ModelRef]) -> None:
    text = as_text(trace("sign-translator"))
    for model in made.values():
        assert model.uri in text and model.run_id in text
    assert "score 90" in text and "12 clips" in text and "MISSING" not in text


def test_an_input_is_described_in_words() -> None:
    profile = {"clips": 12, "frames": 480, "extractors": "files that name no extractor", "without_text": 0}
    data = Node("data", "videos", digest="a" * 64, profile=profile)
    assert as_text(data).splitlines()[-1].endswith("12 clips, 480 frames, files that name no extractor, 0 without text")
    assert "no extractor extractors" not in picture(data)


def test_it_is_json(made: dict[str, ModelRef]) -> None:
    found = trace("sign-translator")
    assert json.loads(json.dumps(asdict(found)))["upstream"][0]["kind"] == "alignment"


def boxes(found: Node) -> tuple[list[str], list[tuple[float, float]], list[tuple[float, float]]]:
    """Of its picture: the boxes' colours and centres, in the order of walk(), and where its lines end."""
    root = ElementTree.fromstring(picture(found))
    rects = [{k: v for k, v in rect.items()} for rect in root.iter(SVG + "rect") if rect.get("rx")]
    numbers = [[float(rect[name]) for name in ("x", "y", "width", "height")] for rect in rects]
    size = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(x >= 0 and y >= 0 and x + w <= size[0] and y + h <= size[1] for x, y, w, h in numbers)
    for i, (x, y, w, h) in enumerate(numbers):  # none covers another
        assert all(abs(x - a) >= w or abs(y - b) >= max(h, d) for a, b, _, d in numbers[:i])
    ends = [(float(line.attrib["x1"]), float(line.attrib["y1"])) for line in root.iter(SVG + "line")]
    return [rect["stroke"] for rect in rects], [(x + w / 2, y + h / 2) for x, y, w, h in numbers], ends


def test_the_picture_has_a_box_for_each_node_and_a_line_to_what_it_was_made_of(made: dict[str, ModelRef]) -> None:
    found = trace("sign-translator")
    nodes = [*found.walk()]
    colours, centres, ends = boxes(found)
    assert len(centres) == len(nodes) and sorted(ends) == sorted(centres[1:])
    texts = [text.text for text in ElementTree.fromstring(picture(found)).iter(SVG + "text")]
    assert {node.title for node in nodes} <= {*texts} and colours == [COLOURS[node.kind == "data"] for node in nodes]


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", 'a "b" & c', "手语", "a\0b\x1b", "x" * 99])
def test_the_picture_shows_any_name_and_marks_what_is_missing(title: str) -> None:
    below = Node("data", title, upstream=(Node("data", "b"),) * 3)
    found = Node("temporal", title, missing=("its run",), upstream=(below, below))
    colours, centres, _ = boxes(found)
    assert colours == ["#d62728", *["#888888"] * 8] and len(centres) == 9
    texts = [text.text for text in ElementTree.fromstring(picture(found)).iter(SVG + "text")]
    assert texts.count(title[:36].replace("\0", " ").replace("\x1b", " ")) == 3


def missing(asked: str = "sign-translator") -> dict[str, tuple[str, ...]]:
    return {n.kind: n.missing for n in chain(trace(asked))}


def test_what_was_deleted_is_named_and_the_rest_is_found(unmade: dict[str, ModelRef]) -> None:
    client = mlflow.MlflowClient()
    client.delete_run(unmade["skeleton"].run_id)
    assert missing() == dict.fromkeys(CHAIN, ()) | {"skeleton": ("its run",)}
    client.delete_model_version("sign-alignment", "1")
    assert missing()["alignment"] == ("the version",)
    client.delete_logged_model(unmade["alignment"].model_id)
    assert missing()["alignment"] == ("the version", "the logged model")
    shutil.rmtree(unmade["temporal"].location)
    found = missing()
    assert list(found) == CHAIN and found["temporal"] == ("its files",)
    assert "MISSING: the version, the logged model" in as_text(trace("sign-translator"))
    picture(trace("sign-translator"))


def test_a_stage_after_one_that_left_no_trace_at_all_is_the_end(unmade: dict[str, ModelRef]) -> None:
    client = mlflow.MlflowClient()
    client.delete_model_version("sign-alignment", "1")
    client.delete_logged_model(unmade["alignment"].model_id)
    client.delete_run(unmade["alignment"].run_id)  # its tags are still there until `mlflow gc`
    assert list(missing()) == CHAIN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineage, "_run", lambda run_id: None)
        found = trace("sign-translator")
    assert [n.kind for n in chain(found)] == ["translator", "alignment"]
    assert found.upstream[0].missing == ("the version", "the logged model", "its run")
