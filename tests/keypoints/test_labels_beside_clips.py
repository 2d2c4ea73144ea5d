"""Label files in the folder of the keypoints find their clips."""

import gzip
import json
from pathlib import Path

import pytest

from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.labels.label_rows import split_of
from tests.keypoints.clips import TEXT, dump, scored
from tests.keypoints.file_examples import EXAMPLES


def labelled(folder: Path, ids: list[str]) -> None:
    for id in ids:
        path = folder / f"{id}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        dump(path, scored("coco_wholebody_133"))


LABELS = {
    "csv": ("train.csv", "path,sign,participant_id\nx/a.pkl,hello,3\nb.mp4,bye,4\n"),
    "semicolons": ("train.csv", "id;text;signer\na;hello;3\nb;bye;4\n"),
    "tsv": ("train.tsv", 'vid\traw-text\tsigner\na\thello\t3\nb\tbye\t4\nc\t"one\t5\n'),
    "json list": (
        "train.json",
        '[{"id": "a", "text": "hello", "signer": 3}, {"id": "b", "text": "bye", "signer": "4"}]',
    ),
    "json by id": (
        "train.json",
        '{"a": {"name": "a", "text": "hello", "signer": 3}, "b": {"name": "b", "text": "bye"}}',
    ),
    "with a mark": ("train.csv", "\ufeffid,text\na,hello\nb,bye\n"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_find_their_clips(name: str, tmp_path: Path) -> None:
    labelled(tmp_path, ["x/a", "x/b"])
    file, content = LABELS[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    found = {s.id: (s.text, s.split) for s in read(tmp_path)}
    assert found == {"x/a": ("hello", "train"), "x/b": ("bye", "train")}


def test_labels_of_one_bare_name_need_the_whole_path(tmp_path: Path) -> None:
    labelled(tmp_path, ["x/a", "y/a", "z/a"])
    (tmp_path / "labels.csv").write_text("path,text,split\nx/a,one,train\ny/a,two,val\n")
    found = {s.id: (s.text, s.split) for s in read(tmp_path)}
    assert found == {"x/a": ("one", "train"), "y/a": ("two", "dev"), "z/a": (None, None)}


def test_labels_do_not_overrule_the_clip(tmp_path: Path) -> None:
    record = {"id": "a", "keypoints": scored("coco_17"), "text": TEXT}
    dump(tmp_path / "clips.pkl", [record])
    (tmp_path / "labels.csv").write_text("id,text,split\na,other,test\n")
    (sequence,) = read(tmp_path)
    assert (sequence.text, sequence.split) == (TEXT, "test")


def test_texts_in_any_script_come_through_unchanged(tmp_path: Path) -> None:
    texts = ["süß & „gut“", "早上好，世界", "صباح الخير", "selamat pagi", "👋🏽 hi", "a\u0301", "zwei  Leerzeichen"]
    labelled(tmp_path, [f"c{i}" for i in range(len(texts))])
    rows = [{"id": f"c{i}", "text": text} for i, text in enumerate(texts)]
    (tmp_path / "text_data.json").write_bytes(gzip.compress(json.dumps(rows, ensure_ascii=False).encode()))
    assert [s.text for s in read(tmp_path)] == texts


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("labels.train", "train"),
        ("how2sign_realigned_val.csv", "dev"),
        ("Phoenix-2014T.dev", "dev"),
        ("test.skels", "test"),
        ("training.csv", None),
        ("latest.pkl", None),
    ],
)
def test_a_file_name_tells_its_split(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_every_label_example_is_covered() -> None:
    assert {name for name, example in EXAMPLES.items() if example.text} >= {"unisign", "slrt", "glofe openasl"}
