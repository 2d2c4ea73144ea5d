"""Several processes train one model: the same draws, the same curves, the same checkpoints as one process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sign_models.errors import ParamsError, ResourceError
from sign_models.stages.skeleton import SkeletonTask
from sign_models.training import device
from sign_models.training.distributed import ProcessGroup
from tests import tiny, warm
from tests.stages.recorders import Memory, Stopped

SIZE = 2
CLOCKS = {"train/frames_per_second"}
SAME = {"temporal__model__dropout": 0, "alignment__decoder__dropout": 0}  # each process drops other activations
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "skeleton": ("skeleton", {}),
    "temporal": ("temporal", {"temporal__contrast_weight": 0.5}),
    "alignment": ("alignment", {"alignment__training__steps": 6, "alignment__losses__contrast_weight": 0.1}),
    "uneven": ("alignment", {"alignment__training__steps": 6, "alignment__training__batch_size": 5}),
    "long": ("alignment", {"alignment__training__steps": 6, "alignment__max_frames": 13}),
    "sharded": ("alignment", {"alignment__training__steps": 6, "alignment__training__shard_optimizer": True}),
    "resumed": ("temporal", {"temporal__training__shard_optimizer": True}),
}
ASKED = {name: (stage, SAME | more) for name, (stage, more) in ASKED.items()}
WIDE = {
    "temporal": ("temporal", {"temporal__contrast_weight": 0.5, "temporal__training__batch_size": 8}),
    "uneven": ("alignment", {"alignment__training__batch_size": 11, "alignment__training__steps": 4}),
    "resumed": ("temporal", {"temporal__training__batch_size": 9}),
}
WIDE = {name: (stage, SAME | more) for name, (stage, more) in WIDE.items()}


@pytest.fixture(scope="module", autouse=True)
def full_precision() -> Iterator[None]:
    """Half precision rounds by the shape of what is multiplied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        yield


def trained_by(size: int, folder: Path, asked: dict[str, tuple[str, dict[str, Any]]]) -> Path:
    """Folder with what `size` processes recorded of `asked`; "resumed" goes on with what one process had begun."""
    from sign_models.datasets.inputs import Inputs
    from tests.stages.training import train

    inputs = Inputs.from_paths(tiny.write_data(folder / "data"), None, None, None)
    with pytest.raises(Stopped):
        train(inputs, "temporal", Memory(folder / "resumed", stop_after=1), **asked["resumed"][1])
    (folder / "asked.json").write_text(json.dumps(asked))
    line = [sys.executable, "-m", "tests.training.crew", str(folder)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        env = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    with (folder / "log").open("w+") as log:
        ranks = [
            warm.Popen(line, env=env | as_rank(rank, size), stdout=log, stderr=subprocess.STDOUT)
            for rank in range(size)
        ]
        try:
            codes = [rank.wait(600) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    assert not any(codes), (folder / "log").read_text()
    return folder


def as_rank(rank: int, size: int) -> dict[str, str]:
    """What torchrun tells a process, see test_launch for torchrun itself."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SIZE processes recorded of ASKED."""
    return trained_by(SIZE, tmp_path_factory.mktemp("crew"), ASKED)


def same_curves(found: dict[str, dict[str, float]], wanted: dict[str, dict[int, float]], after: int = 0) -> None:
    """`after`: by step, of curves that go on from there."""
    for name in wanted.keys() - CLOCKS:
        points = {step: value for step, value in wanted[name].items() if step >= after}
        assert {int(step) for step in found.get(name, ())} >= points.keys(), name
        for step, value in points.items():
            assert found[name][str(step)] == pytest.approx(value, rel=1e-3, abs=1e-5), (name, step)


@pytest.mark.parametrize("name", [name for name in ASKED if name != "resumed"])
def test_two_processes_have_the_curves_of_one(crew: Path, train, tmp_path: Path, name: str) -> None:
    stage, more = ASKED[name]
    alone = Memory(tmp_path / "alone")
    train(stage, alone, **more)
    same_curves(json.loads((crew / f"{name}.json").read_text()), alone.points)


def test_two_processes_go_on_with_what_one_began(crew: Path, train, tmp_path: Path) -> None:
    whole = Memory(tmp_path / "whole")
    train("temporal", whole, **ASKED["resumed"][1])
    found = json.loads((crew / "resumed.json").read_text())
    assert min(map(int, found["train/loss"])) == 3  # steps 1 and 2 were done
    same_curves(found, whole.points, after=2)


@pytest.mark.parametrize("name", ["alignment", "sharded"])
def test_one_process_goes_on_with_what_two_began(crew: Path, train, tmp_path: Path, name: str) -> None:
    stage, more = ASKED[name]
    shutil.copytree(crew / f"{name}-begun", tmp_path / "cut")
    alone = Memory(tmp_path / "cut")
    train(stage, alone, **more)
    assert any("goes on from step 2 of 6" in note for note in alone.notes)
    found = {name: {str(s): v for s, v in points.items()} for name, points in alone.points.items()}
    whole = json.loads((crew / f"{name}.json").read_text())
    same_curves(found, {name: {int(s): v for s, v in points.items()} for name, points in whole.items()}, after=2)


@pytest.mark.parametrize("name", ["skeleton", "alignment", "long", "uneven"])
def test_no_clip_of_a_step_is_computed_twice_or_left_out(crew: Path, name: str) -> None:
    shared_without_overlap(crew, name, SIZE)


def shared_without_overlap(folder: Path, name: str, size: int) -> None:
    """The clips of each step are those of its processes, each with as many as the others but for one."""
    shares = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(size)]
    assert all(share.keys() == shares[0].keys() for share in shares)
    for step in sorted(shares[0], key=int)[1:]:  # the first one is tried before
        mine = [share[step]["mine"] for share in shares]
        assert [clip for clips in mine for clip in clips] == shares[0][step]["step"], step
        assert max(map(len, mine)) - min(map(len, mine)) <= 1, step


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 8])
def test_more_processes_train_as_one_and_share_the_clips(size: int, train, tmp_path: Path) -> None:
    found = trained_by(size, tmp_path, WIDE)
    for name, (stage, more) in WIDE.items():
        alone = Memory(tmp_path / "alone" / name)
        train(stage, alone, **more)
        same_curves(json.loads((found / f"{name}.json").read_text()), alone.points, after=2 if name == "resumed" else 0)
        shared_without_overlap(found, name, size)


@given(st.integers(1, 9), st.integers(0, 50))
def test_the_processes_share_a_batch_without_overlap_or_gap(size: int, more: int) -> None:
    clips = size + more
    rows = [range(clips)[ProcessGroup(rank, size).local_slice(clips)] for rank in range(size)]
    assert [row for mine in rows for row in mine] == list(range(clips))
    assert {len(mine) for mine in rows} <= {clips // size, clips // size + 1}


def test_fewer_clips_than_processes_are_refused(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "current_group", lambda: ProcessGroup(0, 5))
    with pytest.raises(ParamsError, match="training.batch_size: 4 clips a step for 5 processes"):
        train("skeleton", Memory(tmp_path / "x"))


def test_without_room_a_process_says_so(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SkeletonTask, "batch", full)
    monkeypatch.setattr(device, "current_group", lambda: ProcessGroup(1, 2))
    with pytest.raises(ResourceError, match="the device of process 1 has too little memory for its clips, 2 of 4"):
        train("skeleton", Memory(tmp_path / "x"))
