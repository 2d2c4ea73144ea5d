"""Subtitles beside a recording cut it into clips with texts."""

from pathlib import Path

import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.video.captions import Segment, to_srt, to_vtt
from tests.keypoints.recordings import FPS, check, recording

VTT = """WEBVTT - some title
Kind: captions

NOTE a remark
that goes on

STYLE
::cue { color: red }

intro
00:00:00.400 --> 00:00:02.400 align:start position:0%
<v Anna>good</v> <i>morning</i>

00:02.400 --> 00:05.480
rain
"""
SRT = "1\r\n00:00:00,400 --> 00:00:02,400\r\ngood\r\nmorning\r\n\r\n2\r\n00:00:02,400 --> 00:00:05,480\r\nrain\r\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("rec.vtt", VTT), ("rec.en.vtt", VTT), ("rec.pt-BR.vtt", VTT), ("rec.srt", SRT), ("rec.en.srt", "\ufeff" + SRT)],
)
def test_cues_become_clips(name: str, content: str, tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert check(tmp_path) == ["rec/0.400-2.400", "rec/2.400-5.480"]


def test_what_translate_writes_is_read_back(tmp_path: Path) -> None:
    said = [Segment(0.4, 2.4, "good morning", 0.9, ()), Segment(2.4, 5.48, "rain", 0.8, ())]
    for name, content in (("a.vtt", to_vtt(said)), ("b.srt", to_srt(said))):
        folder = tmp_path / name[0]
        recording(folder, name[0])
        (folder / name).write_text(content, encoding="utf-8")
        check(folder)


def test_a_text_with_marks_is_plain(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "rec.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\n<c.yellow>tea &amp; milk</c> &lt;3\n")
    assert [s.text for s in read(tmp_path)] == ["tea & milk <3"]


def test_a_cue_with_wrong_times_is_named_and_one_without_text_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording(tmp_path)
    content = "WEBVTT\n\n00:02.000 --> 00:01.000\nback\n\n00:03.000 --> 00:04.000\n\n\n00:05.000 --> 00:06.000\nrain\n"
    (tmp_path / "rec.vtt").write_text(content)
    bad: list[DataError] = []
    clips = list(read(tmp_path, on_bad=bad.append))
    assert [s.text for s in clips] == ["rain"]
    assert [str(error) for error in bad] and "rec.vtt: cue 1: its times are" in str(bad[0])
    assert "1 cues without text" in caplog.text


def test_a_file_without_cues_is_refused(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "rec.vtt").write_text("WEBVTT\n\nnothing here\n")
    with pytest.raises(DataError, match=r"rec\.vtt: holds no cue"):
        list(read(tmp_path))


def test_frame_rates_are_asked_for(tmp_path: Path) -> None:
    recording(tmp_path, fps=None)
    (tmp_path / "rec.vtt").write_text(VTT)
    with pytest.raises(DataError, match="fps"):
        list(read(tmp_path))
    check(tmp_path, fps=float(FPS))
