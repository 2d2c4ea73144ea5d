"""Labels with times cut clips out of long recordings: tables in every unit, ELAN files, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.columns import times
from sign_models.video.captions import Segment, to_eaf
from tests.keypoints.eaf import Eaf
from tests.keypoints.signer import pixels

FPS, FRAMES = 25, 250
WHOLE = pixels("coco_17", FRAMES)
SPANS = {"good morning": (10, 60), "rain": (60, 137)}


def recording(folder: Path, name: str = "rec", frames: int = FRAMES, fps: float | None = FPS) -> None:
    path = folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=WHOLE[:frames], **({} if fps is None else {"fps": np.array(float(fps))}))


def check(folder: Path, spans: dict[str, tuple[int, int]] = SPANS, **options: object) -> list[str]:
    """The clips are these, to the frame. -> their ids."""
    found = list(read(folder, **options))
    assert {s.text: (s.cut[2], s.cut[3]) for s in found} == spans
    for s in found:
        np.testing.assert_allclose(s.points, WHOLE[s.cut[2] : s.cut[3]], rtol=1e-6)
    return [s.id for s in found]


def table(columns: tuple[str, ...], rows: list[tuple[object, ...]], separator: str = ",") -> str:
    return "\n".join(separator.join(map(str, row)) for row in [columns, *rows]) + "\n"


def scaled(start: int, end: int, unit: str) -> tuple[object, object]:
    """Frame numbers in a unit, as a table has them."""
    match unit:
        case "frames":
            return start, end
        case "ms":
            return start * 40, end * 40
        case "clock":
            return tuple(f"00:{f // FPS // 60:02}:{f / FPS % 60:06.3f}" for f in (start, end))  # type: ignore[return-value]
    return start / FPS, end / FPS


TABLES = {
    "seconds": (("video", "text", "start", "end"), "seconds"),
    "named ms": (("video", "text", "start_ms", "end_ms"), "ms"),
    "elan export": (("file", "text", "Begin Time - msec", "End Time - msec"), "ms"),
    "elan export, clock": (("file", "text", "Begin Time - hh:mm:ss.ms", "End Time - hh:mm:ss.ms"), "clock"),
    "frames": (("video_id", "sentence", "start_frame", "end_frame"), "frames"),
    "frames, the other way": (("video", "text", "frame_start", "frame_end"), "frames"),
    "clock": (("video", "translation", "start", "stop"), "clock"),
    "german": (("datei", "deutsch", "von", "bis"), "seconds"),
    "time words": (("recording", "text", "start_time", "end_time", "id"), "seconds"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_with_times_cuts_clips_out_of_a_recording(tmp_path: Path, name: str) -> None:
    columns, unit = TABLES[name]
    recording(tmp_path)
    rows = [("rec.mp4", text, *scaled(*span, unit), f"s{i}") for i, (text, span) in enumerate(SPANS.items())]
    (tmp_path / "labels.csv").write_text(table(columns, [row[: len(columns)] for row in rows]))
    ids = check(tmp_path)
    assert ids == ["s0", "s1"] if "id" in columns else all(id.startswith("rec/") for id in ids)


def test_rows_of_json_and_of_each_separator(tmp_path: Path) -> None:
    rows = [{"video": "rec", "text": t, "start": a / FPS, "end": b / FPS} for t, (a, b) in SPANS.items()]
    recording(tmp_path / "json")
    (tmp_path / "json" / "labels.json").write_text(json.dumps(rows))
    check(tmp_path / "json")
    for i, separator in enumerate(";\t|"):
        recording(folder := tmp_path / str(i))
        content = table(("video", "text", "start", "end"), [tuple(row.values()) for row in rows], separator)
        (folder / "labels.txt").write_text(content)
        check(folder)


def test_how2sign_rows_label_clips_and_cut_whole_videos(tmp_path: Path) -> None:
    columns = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE")
    rows = [
        ("v", "v-rgb_front", i, f"v_{i}-rgb_front", a / FPS, b / FPS, text)
        for i, (text, (a, b)) in enumerate(SPANS.items())
    ]
    for name, files in {"whole": {"v-rgb_front": FRAMES}, "cut": {f"v_{i}-rgb_front": 30 for i in range(2)}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "how2sign_realigned_val.csv").write_text(table(columns, rows, "\t"))
        for file, frames in files.items():
            recording(tmp_path / name, file, frames)
    assert check(tmp_path / "whole") == ["v_0-rgb_front", "v_1-rgb_front"]
    assert [(s.id, s.text, len(s), s.cut, s.split) for s in read(tmp_path / "cut")] == [
        (f"v_{i}-rgb_front", text, 30, None, "dev") for i, text in enumerate(SPANS)
    ]


def test_openasl_rows_cut_whole_videos(tmp_path: Path) -> None:
    rows = [
        (f"y-{i}", "rec", text, a / FPS, b / FPS, "train", "signer 3") for i, (text, (a, b)) in enumerate(SPANS.items())
    ]
    recording(tmp_path)
    (tmp_path / "openasl.tsv").write_text(
        table(("vid", "yid", "raw-text", "start", "end", "split", "signer"), rows, "\t")
    )
    assert check(tmp_path) == ["y-0", "y-1"]
    assert {(s.split, s.group) for s in read(tmp_path)} == {("train", "signer 3")}


def test_a_clip_that_is_cut_already_stays_whole(tmp_path: Path) -> None:
    """Its row's times tell where it comes from: they are as long as the clip."""
    for i, (start, frames) in enumerate(((100, 50), (0, 80))):
        recording(tmp_path, f"c{i}", frames)
        with (tmp_path / "labels.csv").open("a") as file:
            file.write(
                ("id,text,start,end\n" if not i else "") + f"c{i},text {i},{start / FPS},{(start + frames) / FPS}\n"
            )
    assert [(s.id, s.text, len(s)) for s in read(tmp_path)] == [("c0", "text 0", 50), ("c1", "text 1", 80)]


def test_a_sentence_as_long_as_its_recording_is_named_and_labelled(tmp_path: Path) -> None:
    recording(tmp_path)
    eaf = Eaf()
    eaf.timed("Translation", [(0, 10_000, "all of it")])
    write(tmp_path, eaf)
    assert [(s.id, s.text, len(s)) for s in read(tmp_path)] == [("rec/0.000-10.000", "all of it", FRAMES)]


def test_one_sentence_of_a_recording_has_its_name(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "labels.csv").write_text("id,text,start,end\nrec,good morning,0.4,2.4\n")
    assert check(tmp_path, {"good morning": (10, 60)}) == ["rec"]


def test_times_of_nothing_are_no_times(tmp_path: Path) -> None:
    """PHOENIX14T has -1 for both; other columns of such names hold something else."""
    for name, row in {"phoenix": "-1|-1", "words": "Bonn|Mainz", "empty": "|"}.items():
        recording(tmp_path / name)
        (tmp_path / name / "train.csv").write_text(f"name|start|end|translation\nrec|{row}|hello\n")
        assert [(s.id, s.text, len(s)) for s in read(tmp_path / name)] == [("rec", "hello", FRAMES)]


def test_an_end_of_minus_one_is_the_recordings(tmp_path: Path) -> None:
    recording(tmp_path)
    rows = '[{"video": "rec", "text": "a", "frame_start": 0, "frame_end": 100}, {"video": "rec", "text": "b", "frame_start": 200, "frame_end": -1}]'
    (tmp_path / "labels.json").write_text(rows)
    check(tmp_path, {"a": (0, 100), "b": (200, FRAMES)})


@pytest.mark.parametrize(
    ("header", "rows", "fps", "message"),
    [
        ("start,end", ["1,2", "3,4"], FPS, r"labels.csv: line 2: 'rec/1-2': times 1 to 2 without a unit.*--times"),
        ("start_s,end_s", ["1,2", "3,4"], None, "nothing tells the frame rate of 'rec'.*--fps"),
        ("start_s,end_s", ["1,2", "9,12"], FPS, "line 3: .*frames 225 to 300 of a recording of 250.*10.000 s"),
        ("start_s,end_s", ["1,2", "10,11"], FPS, "line 3: .*frames 250 to 275"),
        (
            "start_s,end_s",
            ["1,2", "4,3"],
            FPS,
            "line 3: start_s '4' and end_s '3'; wanted a start of 0 or more and a later",
        ),
        ("start_s,end_s", ["1,2", "x,3"], FPS, "line 3: start_s 'x'"),
        ("start_s,end_s", ["1,2", "3,"], FPS, "line 3: start_s '3' and end_s ''"),
    ],
)
def test_times_that_cannot_be_used_are_refused(
    tmp_path: Path, header: str, rows: list[str], fps: float | None, message: str
) -> None:
    recording(tmp_path, fps=fps)
    body = "".join(f"rec,text {i},{row}\n" for i, row in enumerate(rows))
    (tmp_path / "labels.csv").write_text(f"video,text,{header}\n{body}")
    with pytest.raises(DataError, match=message):
        list(read(tmp_path))
    bad: list[DataError] = []
    list(read(tmp_path, on_bad=bad.append))
    assert len(bad) == (2 if "unit" in message or "rate" in message else 1)


def test_units_and_rates_that_the_user_tells(tmp_path: Path) -> None:
    recording(tmp_path, fps=None)
    rows = [("rec", text, a * 40, b * 40) for text, (a, b) in SPANS.items()]
    (tmp_path / "labels.csv").write_text(table(("video", "text", "start", "end"), rows))
    check(tmp_path, times="ms", fps=25.0)


def test_a_little_beyond_the_end_is_the_end(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "labels.csv").write_text("video,text,start,end\nrec,a,1.0,2.0\nrec,b,8.0,10.4\n")
    check(tmp_path, {"a": (25, 50), "b": (200, 250)})


def test_clips_of_one_recording_are_one_group_where_neither_signer_nor_split_is_told(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "labels.csv").write_text("video,text,start,end\nrec,a,1.0,2.0\nrec,b,8.0,9.5\n")
    assert {s.group for s in read(tmp_path)} == {"rec"}
    (tmp_path / "splits.csv").write_text("id,text,split\nrec/1-2,,train\nrec/8-9.5,,test\n")
    assert {(s.group, s.split) for s in read(tmp_path)} == {
        (None, "train"),
        (None, "test"),
    }  # as whoever split them wants


def test_columns_of_times_are_known_by_their_words() -> None:
    assert times(["START", "END", "START_REALIGNED", "END_REALIGNED"]) == ("START_REALIGNED", "END_REALIGNED", None)
    assert times(["start", "end", "start_time_ms", "end_time_ms"]) == ("start_time_ms", "end_time_ms", "ms")
    assert times(["begin (s)", "end (s)"]) == ("begin (s)", "end (s)", "seconds")
    for names in (["start", "text"], ["end_result", "start_city"], ["spender", "starter"]):
        assert times(names) is None


# ELAN -----------------------------------------------------------------------------------------------------------------


def ms(*spans: tuple[int, int]) -> list[tuple[int, int]]:
    return [(a * 40, b * 40) for a, b in spans]


def write(folder: Path, eaf: Eaf, name: str = "rec") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.eaf").write_text(str(eaf), encoding="utf-8")


def annotated(tier: str = "Translation", **more: str) -> Eaf:
    eaf = Eaf()
    eaf.timed("Gloss", [(0, 400, "MORNING")])
    eaf.timed(tier, [(a * 40, b * 40, text) for text, (a, b) in SPANS.items()], **more)
    return eaf


@pytest.mark.parametrize(
    "tier",
    ["Translation", "Deutsche Übersetzung", "Deutsch", "English", "english_A", "Sentence", "Free translation", "Satz"],
)
def test_tiers_of_sentences_become_clips(tmp_path: Path, tier: str) -> None:
    recording(tmp_path)
    write(tmp_path, annotated(tier))
    assert check(tmp_path) == ["rec/0.400-2.400", "rec/2.400-5.480"]


def test_a_linguistic_type_tells_sentences_too(tmp_path: Path) -> None:
    recording(tmp_path)
    write(tmp_path, annotated("S1", kind="translation"))
    check(tmp_path)


def test_linked_slots_and_slots_without_a_time(tmp_path: Path) -> None:
    """Neighbours share a slot; three that have no times between them share what lies between evenly."""
    eaf = Eaf()
    a, b, c, d, e = eaf.slot(0), eaf.slot(1000), eaf.slot(None), eaf.slot(None), eaf.slot(4000)
    eaf.aligned("Translation", [(a, b, "one"), (b, c, "two"), (c, d, "three"), (d, e, "four")])
    recording(tmp_path)
    write(tmp_path, eaf)
    check(tmp_path, {"one": (0, 25), "two": (25, 50), "three": (50, 75), "four": (75, 100)})


def test_referring_annotations_have_the_times_of_their_parents(tmp_path: Path) -> None:
    eaf = Eaf()
    parents = eaf.timed("Segments", [(0, 2000, "x"), (2000, 4000, "y")])
    middle = eaf.referring("Copy", [(parents[0], "x"), (parents[1], "y")])
    eaf.referring("Translation", [(middle[0], "one"), (middle[1], "two"), (middle[1], "three")], parent_ref="Copy")
    recording(tmp_path)
    write(tmp_path, eaf)
    check(tmp_path, {"one": (0, 50), "two": (50, 75), "three": (75, 100)})


def test_empty_annotations_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    eaf = annotated()
    eaf.timed("Translation@B", [(6000, 7000, ""), (7000, 8000, "  ")])
    recording(tmp_path)
    write(tmp_path, eaf)
    check(tmp_path)
    assert "no tier" not in caplog.text
    eaf = Eaf()
    eaf.timed("Translation", [(0, 1000, ""), (1000, 2000, "two")])
    write(tmp_path, eaf)
    check(tmp_path, {"two": (25, 50)})
    assert "rec.eaf: 1 annotations without text are left out" in caplog.text


def two_signers() -> Eaf:
    eaf = Eaf("rec_1a1.mp4", "rec_1b1.mp4", "rec_1c.mp4")
    eaf.timed("Translation_A", [(0, 2000, "how are you")], participant="A")
    eaf.timed("Translation_B", [(1000, 4000, "fine")], participant="B")
    return eaf


def test_two_signers_of_one_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording(tmp_path)
    write(tmp_path, two_signers())
    assert check(tmp_path, {"how are you": (0, 50), "fine": (25, 100)}) == ["rec/A/0.000-2.000", "rec/B/1.000-4.000"]
    assert [s.group for s in read(tmp_path)] == ["rec/A", "rec/B"]
    assert "rec.eaf: sentences of 2 signers (A, B)" in caplog.text
    assert [s.text for s in read(tmp_path, tiers=("Translation_B",))] == ["fine"]


@pytest.mark.parametrize("names", [("rec_A", "rec_B"), ("rec-a", "rec-b"), ("rec_1a1", "rec_1b1")])
def test_a_recording_a_signer_has_their_sentences_only(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        recording(tmp_path, name)
    write(tmp_path, two_signers())
    found = {s.cut[0]: s.text for s in read(tmp_path)}
    assert found == {names[0]: "how are you", names[1]: "fine"}


def test_a_person_is_a_group_across_recordings(tmp_path: Path) -> None:
    for name in ("x", "y"):
        recording(tmp_path, name)
        write(tmp_path, annotated("Translation", participant="signer07"), name)
    assert {s.group for s in read(tmp_path)} == {"signer07"}


def test_a_file_finds_its_recording_by_the_film_that_it_names(tmp_path: Path) -> None:
    recording(tmp_path, "films/take 7")
    eaf = Eaf("take%207.mp4", origin=1000)
    eaf.timed("Translation", [(0, 2000, "one")])
    write(tmp_path / "notes", eaf, "session-3")
    check(tmp_path, {"one": (25, 75)})


def test_tiers_that_the_user_names(tmp_path: Path) -> None:
    eaf = annotated("Deutsch_A")
    eaf.timed("Notizen", [(4000, 6000, "eins")])
    recording(tmp_path)
    write(tmp_path, eaf)
    check(tmp_path)
    check(tmp_path, tiers=("deutsch",))
    check(tmp_path, {"eins": (100, 150)}, tiers=("Notizen", "another"))


@pytest.mark.parametrize(
    ("tiers", "asked", "message"),
    [
        (("Gloss", "Mouth"), (), "no tier looks like sentences: Gloss, Mouth; .*--tiers"),
        (("Translation into English", "Translation into German"), (), "2 tiers may hold the sentences.*--tiers"),
        (("Translation",), ("Satz",), "tiers Translation; wanted one of Satz"),
    ],
)
def test_a_file_whose_sentences_are_not_clear_is_refused(tmp_path: Path, tiers, asked, message: str) -> None:
    eaf = Eaf()
    for tier in tiers:
        eaf.timed(tier, [(0, 1000, "one")])
    recording(tmp_path)
    write(tmp_path, eaf)
    with pytest.raises(DataError, match=f"rec.eaf: {message}"):
        list(read(tmp_path, tiers=asked))


@pytest.mark.parametrize(
    "content", ["", "<a/>", "<ANNOTATION_DOCUMENT", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "\0\1"]
)
def test_what_is_no_elan_file_is_refused(tmp_path: Path, content: str) -> None:
    recording(tmp_path)
    (tmp_path / "rec.eaf").write_text(content)
    with pytest.raises(DataError, match="rec.eaf: is "):
        list(read(tmp_path))


def test_an_annotation_without_time_is_refused_by_name_and_the_others_are_read(tmp_path: Path) -> None:
    eaf = annotated()
    eaf.aligned("Translation@B", [("nowhere", "nothing", "lost")])
    eaf.referring("Translation@C", [("a99", "lost too")])
    recording(tmp_path)
    write(tmp_path, eaf)
    bad: list[DataError] = []
    assert sorted(s.text for s in read(tmp_path, on_bad=bad.append)) == sorted(SPANS)
    assert [str(error).partition(";")[0] for error in bad] == [
        "rec.eaf: tier 'Translation@B': annotation 'a4': has no time",
        "rec.eaf: tier 'Translation@C': annotation 'a5': has no time",
    ]


def test_label_files_may_lie_elsewhere(tmp_path: Path) -> None:
    recording(tmp_path / "keypoints")
    write(tmp_path / "films", annotated())
    check(tmp_path / "keypoints", labels=str(tmp_path / "films"))
    check(tmp_path / "keypoints" / "rec.npz", labels=str(tmp_path / "films" / "rec.eaf"))
    (tmp_path / "note.txt").write_text("a note\n")
    with pytest.raises(DataError, match="note.txt: tells no labels"):
        list(read(tmp_path / "keypoints", labels=str(tmp_path / "note.txt")))


def test_files_that_pympi_writes(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan", reason="pympi-ling is not installed")
    eaf = elan.Eaf(author="")
    eaf.add_tier("Sentence")
    for text, (a, b) in SPANS.items():
        eaf.add_annotation("Sentence", a * 40, b * 40, text)
    recording(tmp_path)
    eaf.to_file(str(tmp_path / "rec.eaf"))
    check(tmp_path)


def test_the_annotations_of_translate_are_read_back(tmp_path: Path) -> None:
    recording(tmp_path)
    found = [Segment(a / FPS, b / FPS, text, 0.9) for text, (a, b) in SPANS.items()]
    (tmp_path / "rec.eaf").write_text(to_eaf(found), encoding="utf-8")
    check(tmp_path)


def test_recordings_may_be_read_whole(tmp_path: Path) -> None:
    recording(tmp_path)
    write(tmp_path, annotated())
    assert [(s.id, len(s)) for s in read(tmp_path, labelled=False)] == [("rec", FRAMES)]
