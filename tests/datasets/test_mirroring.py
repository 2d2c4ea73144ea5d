"""Whose left hand leads is decided by signer where signers are known, recorded by clip, said, and may be turned off."""

import json
import pickle
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sign_models.cli.importing import parse
from sign_models.data.corpus import Corpus
from sign_models.datasets import report, store_writer
from sign_models.datasets.checks import measure
from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.datasets.inputs import Inputs
from sign_models.datasets.store import Shard, open_store
from sign_models.errors import DataError, ParamsError
from sign_models.keypoints import formats
from tests.keypoints.test_normalise import raised

# id -> signer, the hand that is up in this clip, whether the clip is to be mirrored.
CLIPS: dict[str, tuple[str | None, str, bool]] = {
    "r0 points left": ("right-hander", "left", False),
    "l0": ("left-hander", "left", True),
    "l1 points right": ("left-hander", "right", True),
    "r1": ("right-hander", "right", False),
    "nobody left": (None, "left", True),
    "r2": ("right-hander", "right", False),
    "l2": ("left-hander", "left", True),
    "nobody right": (None, "right", False),
    "r3 points left": ("right-hander", "left", False),
    "r4": ("right-hander", "right", False),
    "l3": ("left-hander", "left", True),
    "r5": ("right-hander", "right", False),
    "r6": ("right-hander", "right", False),
    "r7": ("right-hander", "right", False),
    "e0": ("signs with either", "left", True),
    "e1": ("signs with either", "right", False),
}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "figures", lambda *_: {})


@pytest.fixture(params=["in order", "backwards", "by signer"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    orders = {"in order": list(CLIPS), "backwards": list(CLIPS)[::-1], "by signer": sorted(CLIPS)}
    records = []
    for i, id in enumerate(orders[request.param]):
        signer, side, _ = CLIPS[id]
        points = raised("mediapipe_75", side, 0.6).astype(np.float32) + i
        records.append({"id": id, "keypoints": points} | ({"signer": signer} if signer else {}))
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps(records))
    return tmp_path / "clips.pkl"


def mirrored(store: Path) -> set[str]:
    known = [Shard.read(path).known for path in sorted(store.glob("*.safetensors"))]
    return {id for of in known for id, told in zip(of["ids"], of["mirrored"], strict=True) if told}


@pytest.mark.parametrize("shard_clips", [1, 3, 100])
@pytest.mark.parametrize("mirroring", ["auto", "never"])
def test_a_store_is_mirrored_by_signer_as_its_source_is_in_place(
    source: Path, mirroring: str, shard_clips: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_writer, "SHARD_CLIPS", shard_clips)
    wanted = {id for id, (*_, told) in CLIPS.items() if told and mirroring == "auto"}
    with caplog.at_level("INFO", "sign_models"):
        found = import_corpus(source, source.parent / "store", ImportRules(mirroring=mirroring, on_leak="report"))
        memory = Corpus.from_sequences(formats.read(source), "clips.pkl", mirroring)
    assert mirrored(source.parent / "store") == wanted
    stored = open_store(source.parent / "store", full=True)
    assert stored.digest == memory.digest and np.array_equal(stored.frames[:], memory.frames)
    told = found.numbers["mirrored"]
    assert (told["clips"], set(told["ids"]), told["decided by group"]) == (len(wanted), wanted, 14)
    assert caplog.text.count(f"{len(wanted)} of 16 clips are mirrored") == (2 if wanted else 0)


@pytest.fixture
def by_texts(source: Path) -> Path:
    """text_data.json beside clips that do not tell their signers."""
    records = pickle.loads(source.read_bytes())
    source.write_bytes(pickle.dumps([{k: v for k, v in record.items() if k != "signer"} for record in records]))
    rows = [
        {"id": record["id"], "text": "tea", "split": "train"}
        | ({"Speaker ID": record["signer"]} if "signer" in record else {})
        for record in records
    ]
    (source.parent / "text_data.json").write_text(json.dumps(rows))
    return source.parent / "text_data.json"


@pytest.mark.parametrize("way", ["in place", "import", "texts beside a store"])
def test_signers_that_texts_name_count_as_those_that_files_name(by_texts: Path, way: str, tmp_path: Path) -> None:
    clips, store = by_texts.with_name("clips.pkl"), tmp_path / "store"
    if way != "in place":
        import_corpus(clips, store, ImportRules(texts=by_texts if way == "import" else None, on_leak="report"))
    videos = Inputs.from_paths(None, None, clips if way == "in place" else store, by_texts).videos
    assert dict(zip(videos.ids, videos.groups, strict=True)) == {id: signer for id, (signer, *_) in CLIPS.items()}
    if way == "import":
        assert mirrored(store) == {id for id, (*_, told) in CLIPS.items() if told}
    if way == "in place":
        records = pickle.loads(clips.read_bytes())
        named = [record | ({"signer": s} if (s := CLIPS[record["id"]][0]) else {}) for record in records]
        clips.write_bytes(pickle.dumps(named))
        assert np.array_equal(videos.frames, Corpus.from_sequences(formats.read(clips)).frames)


@pytest.mark.parametrize("way", ["in place", "import"])
def test_a_video_by_two_signers_is_refused(source: Path, way: str) -> None:
    texts = source.parent / "text_data.json"
    texts.write_text(json.dumps([{"id": "l0", "text": "tea", "split": "train", "signer": "right-hander"}]))
    with pytest.raises(DataError, match="'l0' is by two signers: 'left-hander' in its own file and 'right-hander' in"):
        if way == "import":
            import_corpus(source, source.parent / "store", ImportRules(texts=texts, on_leak="report"))
        else:
            assert Inputs.from_paths(None, None, source, texts).videos


def test_what_a_report_measures_is_of_the_clips_as_they_are_stored(source: Path) -> None:
    import_corpus(source, source.parent / "store", ImportRules(on_leak="report"))
    for path in (source.parent / "store").glob("*.safetensors"):
        shard = Shard.read(path)
        frames = open_store(source.parent / "store").frames[:]
        clips = [frames[a:b] for a, b in zip(shard.offsets[:-1], shard.offsets[1:], strict=True)]
        np.testing.assert_array_equal(measure(clips), shard.measures)


@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_import_that_was_cut_off_decides_the_same(source: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "SHARD_CLIPS", 2)
    done = chain(range(after), [None])

    def cut_off(_: int) -> None:
        if next(done) is None:
            raise KeyboardInterrupt

    out = source.parent / "store"
    with pytest.raises(KeyboardInterrupt):
        import_corpus(source, out, ImportRules(on_leak="report"), progress=cut_off)
    import_corpus(source, out, ImportRules(on_leak="report"))
    assert open_store(out).digest == Corpus.from_sequences(formats.read(source)).digest
    assert mirrored(out) == {id for id, (*_, told) in CLIPS.items() if told}


def test_the_option_is_auto_or_never() -> None:
    from entrypoints.import_ import main

    given = {param.name: "" for param in main.params} | {"source": "a", "out": "b"}
    assert parse(given).rules.mirroring == "auto" and parse(given | {"mirror": "never"}).rules.mirroring == "never"
    with pytest.raises(ParamsError, match="mirror: 'left'; wanted auto or never"):
        parse(given | {"mirror": "left"})
    assert "--mirror" in CliRunner().invoke(main, ["--help"]).output
