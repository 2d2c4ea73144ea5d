"""Captions and annotations: the rules of subtitles, and files that other programs read."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_models.errors import DataError
from sign_models.video.captions import (
    UNSURE,
    Segment,
    cues,
    marked,
    to_eaf,
    to_json,
    to_srt,
    to_vtt,
    wrap,
)

LONG = "the man in the red coat asks the woman at the counter when the next train to the city leaves today " * 3
TWO = [Segment(0.5, 2.25, "Good morning", 0.91, ("Good day",)), Segment(3661.0, 3663.5, "A < B & C -->")]


def segments() -> st.SearchStrategy[list[Segment]]:
    texts = st.text(st.characters(codec="utf-8"), max_size=300)
    gaps = st.lists(st.tuples(st.floats(0, 20), st.floats(0.05, 40), texts), max_size=8)

    def build(parts: list[tuple[float, float, str]]) -> list[Segment]:
        at, made = 0.0, []
        for gap, length, text in parts:
            made.append(Segment(at + gap, at + gap + length, text, 0.5))
            at += gap + length
        return made

    return gaps.map(build)


@given(segments())
def test_captions_keep_to_the_rules(given_segments: list[Segment]) -> None:
    made = cues(given_segments)
    for start, end, lines in made:
        assert 0 <= start < end and end - start <= 7 + 1e-9
        assert 1 <= len(lines) <= 2 and all(0 < len(line) <= 42 for line in lines)
    assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(made))


@given(segments())
def test_no_text_is_lost(given_segments: list[Segment]) -> None:
    def letters(text: str) -> str:
        return "".join(c for c in text if c.isprintable() and not c.isspace())

    shown = "".join(line for _, _, lines in cues(given_segments) for line in lines)
    assert letters(shown) == letters("".join(s.text for s in given_segments))


def test_a_short_segment_is_shown_a_second_where_there_is_room() -> None:
    alone = cues([Segment(1.0, 1.2, "Yes")])
    assert alone == [(1.0, 2.0, ["Yes"])]
    pressed = cues([Segment(1.0, 1.2, "Yes"), Segment(1.5, 3.0, "No")])
    assert pressed == [(1.0, 1.5, ["Yes"]), (1.5, 3.0, ["No"])]


def test_a_long_text_becomes_captions_that_share_its_time() -> None:
    made = cues([Segment(0, 12, LONG)])
    assert len(made) == 4
    assert made[0][0] == 0 and made[-1][1] == 12
    assert all(1 <= end - start <= 7 for start, end, _ in made)


def test_two_lines_are_balanced_and_break_at_spaces() -> None:
    assert wrap("the man asks the woman at the counter when it leaves") == [
        "the man asks the woman at",
        "the counter when it leaves",
    ]
    assert wrap("x" * 50) == ["x" * 25, "x" * 25]


def test_wide_characters_count_twice_and_break_anywhere() -> None:
    assert [len(line) for line in wrap("今天的天气很好我们去公园散步吧明天也许会下雨所以要带伞")] == [14, 13]
    assert wrap("今天") == ["今天"]


def test_srt() -> None:
    assert to_srt(TWO) == (
        "1\n00:00:00,500 --> 00:00:02,250\nGood morning\n\n2\n01:01:01,000 --> 01:01:03,500\nA < B & C -->\n\n"
    )


def test_vtt_escapes_what_is_markup() -> None:
    text = to_vtt(TWO)
    assert text.startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nGood morning\n\n")
    assert "A &lt; B &amp; C --&gt;" in text
    assert len(re.findall("-->", text)) == 2


def test_json_holds_all() -> None:
    tree = json.loads(to_json(TWO, "a.mp4"))
    assert tree["source"] == "a.mp4"
    assert tree["segments"][0] == {
        "start": 0.5, "end": 2.25, "text": "Good morning", "confidence": 0.91, "n_best": ["Good day"],
    }  # fmt: skip
    assert tree["segments"][1]["confidence"] is None
    [unsure] = json.loads(to_json([Segment(0, 1, "", 0.2, ("tea",), unsure=True)]))["segments"]
    assert unsure["unsure"] is True and unsure["n_best"] == ["tea"]


def test_what_was_rejected_is_marked_and_all_else_is_as_it_was() -> None:
    given = [Segment(0, 1, "", 0.2, unsure=True), Segment(1, 2, "tea", 0.4, unsure=True), Segment(2, 3, "", None)]
    assert [s.text for s in marked(given)] == [UNSURE, "tea", ""]
    assert [(s.start, s.end, s.unsure) for s in marked(given)] == [(s.start, s.end, s.unsure) for s in given]
    assert marked(TWO) == TWO


def test_eaf_has_the_structure_of_the_schema() -> None:
    root = ET.fromstring(to_eaf(TWO, Path("/somewhere/a b.mp4")))
    assert (root.tag, root.get("FORMAT"), root.get("VERSION")) == ("ANNOTATION_DOCUMENT", "3.0", "3.0")
    # EAFv3.0.xsd is a sequence: this order is part of it.
    order = [child.tag for child in root]
    assert order == ["HEADER", "TIME_ORDER", "TIER", "TIER", "LINGUISTIC_TYPE", "LINGUISTIC_TYPE", "CONSTRAINT"]
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "-1")) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == [500, 2250, 3661000, 3663500]
    ids = [n.get("ANNOTATION_ID") for tag in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION") for n in root.iter(tag)]
    assert ids == ["a1", "a2", "a3"]
    types = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} == types
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None and media.attrib == {
        "MEDIA_URL": "./a b.mp4", "MIME_TYPE": "video/mp4", "RELATIVE_MEDIA_URL": "./a b.mp4",
    }  # fmt: skip


def test_pympi_reads_the_eaf(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan", reason="pympi-ling is not installed")
    file = tmp_path / "a.eaf"
    file.write_text(to_eaf(TWO, Path("a.mp4")), encoding="utf-8")
    read = elan.Eaf(str(file))
    assert [a[:3] for a in read.get_annotation_data_for_tier("sentence")] == [
        (500, 2250, "Good morning"),
        (3661000, 3663500, "A < B & C -->"),
    ]
    assert [a[2] for a in read.get_ref_annotation_data_for_tier("confidence")] == ["0.91"]
    assert read.get_linked_files()[0]["MIME_TYPE"] == "video/mp4"


@given(segments())
def test_eaf_is_xml_whatever_the_text(given_segments: list[Segment]) -> None:
    assert len(list(ET.fromstring(to_eaf(given_segments)).iter("ALIGNABLE_ANNOTATION"))) == len(given_segments)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([Segment(1, 1, "x")], "from 1 to 1 s"),
        ([Segment(-1, 1, "x")], "from -1 to 1 s"),
        ([Segment(0, float("nan"), "x")], "from 0 to nan s"),
        ([Segment(0, 2, "x"), Segment(1, 3, "y")], "starts at 1 s, before"),
        ([Segment(0, 2, "x", 1.5)], "confidence 1.5"),
    ],
)
def test_times_that_are_none_are_refused(bad: list[Segment], said: str) -> None:
    for write in (to_srt, to_vtt, to_eaf, to_json):
        with pytest.raises(DataError, match=re.escape(said)):
            write(bad)
