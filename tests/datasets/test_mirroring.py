"""Whose left hand leads is decided by signer where signers are known, recorded by clip, said, and may be turned off."""

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
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import Shard, open_store
from sign_models.errors import ParamsError
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
        found = import_corpus(source, source.parent / "store", mirroring=mirroring, on_leak="report")
        memory = Corpus.from_sequences(formats.read(source), "clips.pkl", mirroring)
    assert mirrored(source.parent / "store") == wanted
    stored = open_store(source.parent / "store", full=True)
    assert stored.digest == memory.digest and np.array_equal(stored.frames[:], memory.frames)
    told = found.numbers["mirrored"]
    assert (told["clips"], set(told["ids"]), told["decided by group"]) == (len(wanted), wanted, 9)
    assert caplog.text.count(f"{len(wanted)} of 11 clips are mirrored") == (2 if wanted else 0)


def test_what_a_report_measures_is_of_the_clips_as_they_are_stored(source: Path) -> None:
    import_corpus(source, source.parent / "store", on_leak="report")
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
        import_corpus(source, out, progress=cut_off, on_leak="report")
    import_corpus(source, out, on_leak="report")
    assert open_store(out).digest == Corpus.from_sequences(formats.read(source)).digest
    assert mirrored(out) == {id for id, (*_, told) in CLIPS.items() if told}


def test_the_option_is_auto_or_never() -> None:
    from entrypoints.import_ import main

    given = {param.name: "" for param in main.params} | {"source": "a", "out": "b"}
    assert parse(given).mirror == "auto" and parse(given | {"mirror": "never"}).mirror == "never"
    with pytest.raises(ParamsError, match="mirror: 'left'; wanted auto or never"):
        parse(given | {"mirror": "left"})
    assert "--mirror" in CliRunner().invoke(main, ["--help"]).output
