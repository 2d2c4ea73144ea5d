"""ELAN files: which tiers hold sentences, whose they are, and their times."""

from pathlib import Path

import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.video.captions import Segment, to_eaf
from tests.keypoints.eaf import Eaf
from tests.keypoints.recordings import FPS, FRAMES, SPANS, check, recording


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
    [
        "Translation",
        "Deutsche Übersetzung",
        "Deutsch",
        "English",
        "english_A",
        "Sentence",
        "Free translation",
        "Satz",
        "FreeTransl",
        "Traducción",
        "Oversættelse",
        "Nederlands",
        "中文",
        "Untertitel",
        "Text",
    ],
)
def test_tiers_of_sentences_become_clips(tmp_path: Path, tier: str) -> None:
    recording(tmp_path)
    write(tmp_path, annotated(tier))
    assert check(tmp_path) == ["rec/0.400-2.400", "rec/2.400-5.480"]


def test_times_in_another_unit_are_refused(tmp_path: Path) -> None:
    recording(tmp_path)
    (tmp_path / "rec.eaf").write_text(str(annotated("Sentence")).replace("milliseconds", "PAL-frames"))
    with pytest.raises(DataError, match=r"rec\.eaf: has times in 'PAL-frames'; wanted milliseconds"):
        list(read(tmp_path))


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


def test_label_files_may_lie_elsewhere(tmp_path: Path) -> None:
    recording(tmp_path / "keypoints")
    write(tmp_path / "films", annotated())
    check(tmp_path / "keypoints", labels=str(tmp_path / "films"))
    check(tmp_path / "keypoints" / "rec.npz", labels=str(tmp_path / "films" / "rec.eaf"))
    (tmp_path / "note.txt").write_text("a note\n")
    with pytest.raises(DataError, match="note.txt: tells no labels"):
        list(read(tmp_path / "keypoints", labels=str(tmp_path / "note.txt")))


def test_recordings_may_be_read_whole(tmp_path: Path) -> None:
    recording(tmp_path)
    write(tmp_path, annotated())
    assert [(s.id, len(s)) for s in read(tmp_path, labelled=False)] == [("rec", FRAMES)]


def test_a_sentence_as_long_as_its_recording_is_named_and_labelled(tmp_path: Path) -> None:
    recording(tmp_path)
    eaf = Eaf()
    eaf.timed("Translation", [(0, 10_000, "all of it")])
    write(tmp_path, eaf)
    assert [(s.id, s.text, len(s)) for s in read(tmp_path)] == [("rec/0.000-10.000", "all of it", FRAMES)]
