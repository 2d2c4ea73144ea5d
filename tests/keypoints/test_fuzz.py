"""A short run of benchmarks/fuzz_formats.py, and the same damage under hypothesis, which shrinks what it finds."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_formats import Base, bases, damage, run
from sign_models.errors import DataError
from sign_models.keypoints.normalise import normalise
from tests.keypoints import here
from tests.keypoints.file_examples import EXAMPLES


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Base]:
    return bases(tmp_path_factory.mktemp("examples"), [])


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=False), name=st.sampled_from(sorted(EXAMPLES)))
def test_damage_to_any_format_is_read_or_refused(
    found: list[Base], tmp_path_factory: pytest.TempPathFactory, chance: random.Random, name: str
) -> None:
    base = chance.choice([base for base in found if base.format == name])
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    root = base.path if base.path.is_dir() else base.path.parent
    shutil.copytree(root, folder)
    (folder / base.victim.relative_to(root)).write_bytes(damage(base.victim.read_bytes(), chance))
    try:
        for sequence in here.read(folder / base.path.relative_to(root)):
            assert normalise(sequence).shape[0] == len(sequence)
    except DataError as error:
        assert error.found


def test_a_short_mutation_run_finds_nothing() -> None:
    outcome = run(300, seed=7, others=[])
    assert not outcome.failures
    assert sum(outcome.counts.values()) == 300
    assert {name.rpartition(": ")[0] for name in outcome.counts} == set(EXAMPLES)


def test_the_runner_sees_an_exception_a_hang_and_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is for: each kind of failure is told, and the rest of the files is still read."""
    failures = [lambda: 1 / 0, lambda: any(iter(int, 1)), lambda: os.kill(os.getpid(), signal.SIGKILL)]

    def sabotage(path: Path) -> str:
        if path.parts[-2].isdecimal() or path.name.isdecimal():  # a damaged copy, not one that warms up
            calls = len(list(tmp_path.iterdir()))
            (tmp_path / str(calls)).touch()  # workers come and go; only the disk remembers
            if calls < len(failures):
                failures[calls]()
        return "read"

    monkeypatch.setattr("benchmarks.fuzz_formats._read_one", sabotage)
    monkeypatch.setattr("benchmarks.fuzz_formats.SECONDS", 0.3)
    outcome = run(40, seed=0, others=[])
    assert len(outcome.failures) == 3
    told = sorted(failure.partition(":")[0] for failure in outcome.failures)
    assert told == ["ZeroDivisionError", "died of signal 9", "hang"]
    assert sum(outcome.counts.values()) == 38
