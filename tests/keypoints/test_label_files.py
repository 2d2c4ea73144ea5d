"""Label files as spreadsheets and corpora write them: every text is joined, or the file and row are named."""

import io
import json
import pickle
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sign_models.errors import DataError
from sign_models.keypoints.formats import labels_of, read, source_at
from tests.keypoints.signer import pixels

TEXTS = {"clip_0": "Ägypten, heiß und schön", "clip_1": "für Köln: größere Übung", "clip_2": "Öl fließt"}
PLAIN = {"clip_0": "good morning, everyone", "clip_1": 'he said "hi"', "clip_2": "thanks"}
CHINESE = {"clip_0": "早上好，大家", "clip_1": "今天下雨", "clip_2": "谢谢"}


def table(texts: dict[str, str], separator: str, header: tuple[str, str] = ("id", "text"), quote: bool = False) -> str:
    rows = [header, *texts.items()]
    cells = [[f'"{cell}"' if quote else cell for cell in row] for row in rows]
    return "\n".join(separator.join(row) for row in cells) + "\n"


def texts_of(folder: Path, name: str, content: bytes) -> dict[str, tuple[str | None, str | None]]:
    folder.mkdir(exist_ok=True)
    for i in range(3):
        np.save(folder / f"clip_{i}.npy", pixels("mediapipe_75", 4, i))
    (folder / name).write_bytes(content)
    return {s.id: (s.text, s.split) for s in read(folder)}


FILES = {
    "bars of PHOENIX": ("corpus.csv", table(TEXTS, "|", ("name", "translation")).encode(), TEXTS),
    "semicolons with a mark": ("labels.csv", b"\xef\xbb\xbf" + table(TEXTS, ";").encode(), TEXTS),
    "Windows-1252": ("labels.csv", table(TEXTS, ";").encode("cp1252"), TEXTS),
    "Latin-1": ("labels.csv", table(TEXTS, "\t").encode("latin-1"), TEXTS),
    "UTF-16": ("labels.txt", table(TEXTS, "\t").encode("utf-16"), TEXTS),
    "UTF-16 without a mark": ("labels.csv", table(TEXTS, ";").encode("utf-16-le"), TEXTS),
    "GB18030": ("labels.csv", table(CHINESE, ";").encode("gb18030"), CHINESE),
    "spaces after commas": ("labels.csv", table(TEXTS, ", ", quote=True).encode(), TEXTS),
    "quoted tabs": ("labels.tsv", table(TEXTS, "\t", quote=True).encode(), TEXTS),
    "lone marks between tabs": ("labels.tsv", table({**PLAIN, "clip_2": '"thanks'}, "\t").encode(),
                                {**PLAIN, "clip_2": '"thanks'}),
    "Excel's first line": ("labels.csv", b"sep=;\r\n" + table(TEXTS, ";").encode(), TEXTS),
    "empty cells at the end": ("labels.csv", table(TEXTS, ";").replace("\n", ";;\n").encode(), TEXTS),
    "three bars": ("labels.txt", table(TEXTS, " ||| ").encode(), TEXTS),
    "backslashes": ("labels.csv", table({f"videos\\{k}.MP4": v for k, v in TEXTS.items()}, ";",
                                        ("path", "text")).encode(), TEXTS),
    "two endings": ("labels.csv", table({f"./{k}.mp4.npy": v for k, v in TEXTS.items()}, ";").encode(), TEXTS),
    "JSON lines": ("labels.jsonl", "".join(json.dumps({"id": k, "text": v}) + "\n" for k, v in TEXTS.items()).encode(),
                   TEXTS),
    "comments before the header": ("labels.csv", b"# made by us\n\n# twice\n" + table(TEXTS, ";").encode(), TEXTS),
    "a header that is a comment": ("labels.tsv", b"# " + table(TEXTS, "\t").encode(), TEXTS),
    "UTF-32": ("labels.csv", table(TEXTS, ";").encode("utf-32"), TEXTS),
    "addresses": ("labels.csv", table({f"https://x.org/v/{k}.mp4?t=1": v for k, v in TEXTS.items()}, ";").encode(), TEXTS),
    "names of pictures and other films": (
        "labels.csv", table(dict(zip(("clip_0.jpg", "clip_1.MTS", "clip_2.3gp"), TEXTS.values(), strict=True)), ";").encode(),
        TEXTS),
    "JSON rows by id": ("labels.json", json.dumps({k: {"text": v, "signer": 7} for k, v in TEXTS.items()}).encode(), TEXTS),
    "JSON columns": ("labels.json", json.dumps({"id": [*TEXTS], "text": [*TEXTS.values()]}).encode(), TEXTS),
    "JSON columns of pandas": (
        "labels.json", json.dumps({"name": dict(enumerate(TEXTS)), "gloss": dict(enumerate(TEXTS.values()))}).encode(), TEXTS),
    "a JSON object": ("text_data.json", json.dumps(TEXTS).encode(), TEXTS),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_text_is_joined(tmp_path: Path, name: str) -> None:
    file, content, wanted = FILES[name]
    assert {id: text for id, (text, _) in texts_of(tmp_path, file, content).items()} == wanted


HEADERS = {
    "PHOENIX14T": "name|video|start|end|speaker|orth|translation",
    "CSL-Daily": "index|name|length|gloss|char|word|postag",
    "How2Sign": "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE",
    "OpenASL": "vid\tyid\tstart\tend\traw-text\tsigner",
    "Isharah": "id|gloss|translation",
    "LSA-T": "id,label,video,start,end",
    "AUTSL": "video,ClassId,label",
    "AVASAG": "Datei;Text;Gloss",
}
ID_AND_TEXT = {
    "PHOENIX14T": ("name", "translation"), "CSL-Daily": ("name", "word"), "How2Sign": ("SENTENCE_NAME", "SENTENCE"),
    "OpenASL": ("vid", "raw-text"), "Isharah": ("id", "translation"), "LSA-T": ("id", "label"),
    "AUTSL": ("video", "label"), "AVASAG": ("Datei", "Text"),
}  # fmt: skip


@pytest.mark.parametrize("corpus", HEADERS)
def test_the_columns_of_the_corpora_are_known(tmp_path: Path, corpus: str) -> None:
    header = HEADERS[corpus]
    separator = next(s for s in "\t|;," if s in header)
    id, text = ID_AND_TEXT[corpus]
    rows = []
    for number, name in enumerate(PLAIN):
        cells = {id: name, text: f"line {number}"}
        rows.append(separator.join(cells.get(column, f"{column}9") for column in header.split(separator)))
    found = texts_of(tmp_path, "labels.csv", "\n".join([header, *rows]).encode())
    assert [text for text, _ in found.values()] == ["line 0", "line 1", "line 2"]


OTHER_WORDS = [
    ("Name", "Satz"), ("Clip-ID", "Übersetzung"), ("fichier", "texte"), ("video", "traduction"), ("archivo", "oración"),
    ("nombre", "traducción"), ("Datei", "Untertitel"), ("bestand", "vertaling"), ("utt_id", "text"), ("seg_id", "en_text"),
    ("Video file", "English translation"), ("stem", "target_text"), ("名称", "句子"), ("文件名", "文本"), ("파일명", "텍스트"),
    ("файл", "перевод"), ("id", "Sentence (English)"), ("id", "gloss_text"), ("item", "word"), ("clip", "Text (DE)"),
]  # fmt: skip


@pytest.mark.parametrize("names", OTHER_WORDS, ids=str)
def test_columns_in_other_words_and_languages(tmp_path: Path, names: tuple[str, str]) -> None:
    content = table(TEXTS, ";", names).encode()
    assert {id: text for id, (text, _) in texts_of(tmp_path, "labels.csv", content).items()} == TEXTS


@pytest.mark.parametrize("names", [("text_de", "text_en"), ("German text", "English text"), ("Satz", "frase")])
def test_texts_in_several_languages_are_a_question(tmp_path: Path, names: tuple[str, str]) -> None:
    content = f"id;{names[0]};{names[1]}\nclip_0;Haus;house\n"
    with pytest.raises(DataError, match=f"2 columns may hold the texts: {names[0]}, {names[1]}.*rename it to text"):
        texts_of(tmp_path, "labels.csv", content.encode())


@pytest.mark.parametrize("form", ["table", "record", "parts"])
def test_texts_in_several_languages_beside_the_landmarks_are_a_question(tmp_path: Path, form: str) -> None:
    clip, texts = pixels("mediapipe_75", 4), {"text_de": "Haus", "text_en": "house"}
    if form == "table":
        head = [*texts, *(f"{axis}{i}" for i in range(75) for axis in "xy")]
        rows = [head, *([*texts.values(), *map(str, frame.ravel())] for frame in clip)]
        (tmp_path / "a.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    else:
        parts = {"pose": clip[:, :33], "left_hand": clip[:, 33:54], "right_hand": clip[:, 54:]}
        np.savez(tmp_path / "a.npz", **({"keypoints": clip} if form == "record" else parts), **texts)
    with pytest.raises(DataError, match="2 columns may hold the texts: text_de, text_en"):
        list(read(tmp_path))


def test_an_object_of_a_files_own_is_the_label_of_its_clip(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"text": text, "split": "train", "signer": "a"}))
    assert texts_of(tmp_path, "README.md", b"about") == {id: (text, "train") for id, text in TEXTS.items()}


@pytest.mark.parametrize("kind", ["spreadsheet", "parquet"])
def test_tables_of_labels_in_other_files_are_named(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    if kind == "parquet":
        parquet.write_table(pa.table({"id": [*TEXTS], "text": [*TEXTS.values()]}), file)
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(DataError, match="is a (spreadsheet|table of labels).*CSV in UTF-8"):
        texts_of(tmp_path, "labels.bin", file.getvalue())


def test_a_sentence_is_no_header(tmp_path: Path) -> None:
    found = texts_of(
        tmp_path, "README.txt", b"The name of each file tells the text of its clip and its signer.\nSo it is.\n"
    )
    assert {text for text, _ in found.values()} == {None}


def test_the_euro_sign_of_latin_9_is_refused(tmp_path: Path) -> None:
    content = table({"clip_0": "für 5 €"}, ";").encode("iso8859-15")
    with pytest.raises(DataError, match="encoding that cannot be told"):
        texts_of(tmp_path, "labels.csv", content)


def test_splits_in_any_letters(tmp_path: Path) -> None:
    rows = b"ID,Text,Split\nclip_0,a,Train\nclip_1,b,VAL\nclip_2,c,Testing \n"
    assert [split for _, split in texts_of(tmp_path, "labels.csv", rows).values()] == ["train", "dev", "test"]


REFUSED = {
    "a row with more cells": (table(PLAIN, ","), r"labels\.csv: line 2: 3 cells for 2 columns: 'everyone'.*quote"),
    "two texts of an id": ("id,text\nclip_0,a\nclip_0,b\n", r"line 3: 'clip_0' again with 'b', after 'a' at .*line 2"),
    "an unknown split": ("id,text,split\nclip_0,a,fold1\n", r"line 2: split 'fold1'.*train, dev"),
    "an open quotation mark": ('id,text\nclip_0,"a\nclip_1,b\n', r"labels\.csv: row in line"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_named_by_row(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        texts_of(tmp_path, "labels.csv", content.encode())


def test_an_encoding_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    content = table({"clip_0": "привет всем", "clip_1": "доброе утро"}, ";").encode("cp1251")
    with pytest.raises(DataError, match=r"labels\.csv: is text of an encoding that cannot be told.*UTF-8"):
        texts_of(tmp_path, "labels.csv", content)


def test_texts_without_a_clip_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,text\nvideos/clip_0.mp4,a\nvideos/clip_8.mp4,b\nclip_9,c\n")
    labels = labels_of(source_at(tmp_path))
    assert labels.unused(["x/clip_0", "clip_1"]) == ["videos/clip_8.mp4", "clip_9"]


def test_a_row_with_a_path_tells_nothing_of_another_file_of_that_name(tmp_path: Path) -> None:
    """But one whose path is in another folder, such as a film's, labels by the bare name."""
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", pixels("mediapipe_75", 4))
    (tmp_path / "labels.csv").write_text("path,text\nx/a.mp4,one\n")
    assert {s.id: s.text for s in read(tmp_path)} == {"x/a": "one", "y/a": None}
    (tmp_path / "labels.csv").write_text("path,text\nfilms/a.mp4,one\n")
    assert {s.id: s.text for s in read(tmp_path)} == {"x/a": "one", "y/a": "one"}


def test_files_that_tell_different_things_of_a_clip_are_joined(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels("mediapipe_75", 4))
    (tmp_path / "texts.csv").write_text("id,text\na,hello\n")
    (tmp_path / "splits.csv").write_text("id,text,split,signer\na,,val,s1\n")
    assert [(s.text, s.split, s.group) for s in read(tmp_path)] == [("hello", "dev", "s1")]
    (tmp_path / "signers.csv").write_text("id,text,signer\na,,s2\n")
    with pytest.raises(DataError, match="'a' again"):
        list(read(tmp_path))


@pytest.mark.parametrize("value", ["a\0b", "\ud83d"])
def test_texts_that_cannot_be_written_are_refused(tmp_path: Path, value: str) -> None:
    np.save(tmp_path / "clip.npy", pixels("mediapipe_75", 6))
    (tmp_path / "labels.json").write_text(json.dumps([{"id": "clip", "text": value}]))
    with pytest.raises(DataError, match=r"labels.json: row 1: its text holds the character"):
        list(read(tmp_path))


NESTED = {
    "rows below a key": {"info": {"version": 1}, "annotations": [{"id": k, "text": v} for k, v in TEXTS.items()]},
    "rows by split": {"train": [{"id": k, "text": v} for k, v in TEXTS.items()], "val": []},
    "WLASL": [
        {"gloss": text, "instances": [{"video_id": id, "split": "train", "frame_start": 1, "frame_end": -1, "fps": 25}]}
        for id, text in TEXTS.items()
    ],
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_rows_are_read(tmp_path: Path, name: str) -> None:
    found = texts_of(tmp_path, "labels.json", json.dumps(NESTED[name]).encode())
    split = None if name == "rows below a key" else "train"
    assert found == {id: (text, split) for id, text in TEXTS.items()}
    assert {len(clip) for clip in read(tmp_path)} == {4}


@pytest.mark.parametrize(
    "names", [("VideoID", "Spoken Text"), ("videoName", "labelText"), ("FILE-NAME", "TEXT"), ("clip id", "Label.Text")]
)
def test_names_of_columns_are_compared_by_letters(tmp_path: Path, names: tuple[str, str]) -> None:
    found = texts_of(tmp_path, "labels.csv", table(TEXTS, ";", names).encode())
    assert {id: text for id, (text, _) in found.items()} == TEXTS


@pytest.mark.parametrize(("files", "rows"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_letters_with_accents_in_one_or_two_characters_are_one(tmp_path: Path, files: str, rows: str) -> None:
    for i, name in enumerate(("Ägypten", "grün")):
        np.save(tmp_path / f"{unicodedata.normalize(files, name)}.npy", pixels("mediapipe_75", 4, i))
    (tmp_path / "labels.csv").write_text(unicodedata.normalize(rows, "id;text\nÄgypten;eins\ngrün;zwei\n"))
    assert sorted(str(clip.text) for clip in read(tmp_path)) == ["eins", "zwei"]


def test_what_reading_in_place_loses_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "notes.csv").write_text("who,what\nme,this\n")
    texts_of(tmp_path, "labels.csv", b"id,text\nclip_0,a\nclip_8,b\nclip_9,c\n")
    assert f"{tmp_path.name}: 1 files that nobody reads: notes.csv" in caplog.text
    assert f"{tmp_path.name}: 2 texts without a clip: clip_8, clip_9" in caplog.text


@pytest.mark.parametrize("column", ["label_word", "label_char", "gloss", "words"])
def test_texts_in_lists_of_words_or_characters(tmp_path: Path, column: str) -> None:
    """CSL-Daily lists words and characters of a sentence."""
    words = {"clip_0": ["早上", "好"], "clip_1": ["GOOD", "MORNING"], "clip_2": ["tea"]}
    rows = [{"name": id, column: value, "signer": 1} for id, value in words.items()]
    found = texts_of(tmp_path, "all.pkl", pickle.dumps({"info": rows, "gloss_map": ["A"]}))
    assert {id: text for id, (text, _) in found.items()} == {
        "clip_0": "早上好",
        "clip_1": "GOOD MORNING",
        "clip_2": "tea",
    }


def test_texts_of_lines_without_their_skels_are_files_that_nobody_reads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert texts_of(tmp_path, "train.text", b"eins\nzwei\ndrei\n")["clip_0"] == (None, None)
    assert "files that nobody reads: train.text" in caplog.text
