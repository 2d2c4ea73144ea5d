"""Tables with times split long recordings into clips: every unit, and what they refuse."""

import json
from pathlib import Path

import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.tables.columns import times
from tests.keypoints.recordings import FPS, FRAMES, SPANS, check, recording


def table(columns: tuple[str, ...], rows: list[tuple[object, ...]], separator: str = ",") -> str:
    return "\n".join(separator.join(map(str, row)) for row in [columns, *rows]) + "\n"


def scaled(start: int, end: int, unit: str) -> tuple[object, object]:
    """Frame numbers in a unit, as a table has them."""
    match unit:
        case "frames":
            return start, end
        case "ms":
            return start * 40, end * 40
        case "units":
            return f"{start / FPS:g} s", f"{end * 40} ms"
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
    "a recording alone": (("recording", "text", "start", "end"), "seconds"),
    "French": (("fichier", "phrase", "début", "fin"), "seconds"),
    "Spanish": (("archivo", "frase", "inicio", "fin"), "seconds"),
    "units in the cells": (("recording", "text", "start", "end"), "units"),
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


@pytest.mark.parametrize("name", ["duration", "dur (s)", "Dauer"])
def test_a_duration_tells_the_end(tmp_path: Path, name: str) -> None:
    recording(tmp_path)
    rows = [("rec", text, start / FPS, (end - start) / FPS) for text, (start, end) in SPANS.items()]
    start = "start (s)" if "(s)" in name else "start"
    (tmp_path / "labels.csv").write_text(table(("recording", "text", start, name), rows))
    check(tmp_path)


@pytest.mark.parametrize("form", ["by recording", "segments of the file's recording"])
def test_rows_with_times_may_be_listed_below_their_recording(tmp_path: Path, form: str) -> None:
    recording(tmp_path)
    rows = [{"id": i, "text": t, "start": a / FPS, "end": b / FPS} for i, (t, (a, b)) in enumerate(SPANS.items())]
    if form == "by recording":
        (tmp_path / "all.json").write_text(json.dumps({"rec": [{k: row[k] for k in row if k != "id"} for row in rows]}))
    else:
        (tmp_path / "rec.json").write_text(json.dumps({"language": "en", "segments": rows}))
    check(tmp_path)


def test_a_clock_time_in_a_column_of_milliseconds_is_refused(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "labels.csv").write_text("video,text,start_ms,end_ms\nrec,a,00:00:01.0,00:00:02.0\n")
    with pytest.raises(DataError, match=r"labels\.csv: line 2: start_ms '00:00:01.0'"):
        list(read(tmp_path))


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
    assert times(["START", "END", "START_REALIGNED", "END_REALIGNED"]) == (
        "START_REALIGNED",
        "END_REALIGNED",
        None,
        False,
    )
    assert times(["start", "end", "start_time_ms", "end_time_ms"]) == ("start_time_ms", "end_time_ms", "ms", False)
    assert times(["begin (s)", "end (s)"]) == ("begin (s)", "end (s)", "seconds", False)
    for names in (["start", "text"], ["end_result", "start_city"], ["spender", "starter"]):
        assert times(names) is None
