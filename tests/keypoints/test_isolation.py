"""Whatever a file does to the process that reads it, only that file is lost: in place, and in an import."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sign_models.data.corpus import Corpus
from sign_models.datasets import report
from sign_models.datasets.importing import ImportRules, import_corpus
from sign_models.datasets.samples import read_samples
from sign_models.errors import DataError, ResourceError
from sign_models.keypoints import formats, isolation
from sign_models.keypoints.formats import readers
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.keypoints.isolation import Child, ChildDied, at_work, isolated
from tests.keypoints.signer import pixels

CLIP = pixels("mediapipe_75", 6)
# What a file does to its reader, and what is said of it.
EVILS: dict[str, tuple[Callable[[], object], str]] = {}


def evil(said: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def named(does: Callable[[], object]) -> Callable[[], object]:
        EVILS[does.__name__] = does, said
        return does

    return named


@evil("more than 0.5 s of the processor")
def never_ends() -> None:
    while True:
        sum(range(10**6))


@evil("more than 0.5 s of the processor")
def never_ends_in_c() -> None:
    sum(itertools.repeat(0))


@evil("takes more than 256 MiB of memory")
def takes_memory_bit_by_bit() -> None:
    held: list[bytes] = []
    while True:
        held.append(bytes(2**20))


@evil("takes more than 256 MiB of memory")
def takes_memory_at_once() -> None:
    np.ones(2**33, np.uint8)


@evil("crashed")
def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@evil("was killed")
def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@evil("ended early")
def leaves() -> None:
    os._exit(3)


def reads_evil(name: str, path: str, when: str) -> Iterator[object]:
    """In a child: what `formats.read` or an import runs there, with a reader that does evil at files called so."""
    isolation.MAX_CPU_S = 0.5
    does, (detect, load) = EVILS[name][0], (formats.corpora.seed.detect, np.lib.format.read_magic)

    def evil_detect(source: formats.Source) -> bool:
        return bool(does()) if "evil" in source.name and when == "told" else detect(source)

    def evil_load(file: object) -> object:
        return does() if "evil" in str(getattr(file, "name", "")) and when == "read" else load(file)

    readers.READERS = tuple(
        r if r.name != "seed" else readers.Reader(r.name, r.description, evil_detect, r.read) for r in readers.READERS
    )
    np.lib.format.read_magic = evil_load
    yield from ()


class Patched:
    """`Child` whose function runs after `reads_evil` in the same process."""

    def __init__(self, name: str, when: str) -> None:
        self.name, self.when = name, when

    def __call__(self, function: Callable[..., Iterator[object]], *args: object) -> Child:
        return Child(with_evil, self.name, self.when, function, args)


def with_evil(
    name: str, when: str, function: Callable[..., Iterator[object]], args: tuple[object, ...]
) -> Iterator[object]:
    yield from reads_evil(name, "", when)
    yield from function(*args)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("a", "evil_1", "m", "evil_2", "z"):
        np.save(folder / f"{name}.npy", CLIP)
    return folder


@pytest.mark.parametrize("when", ["told", "read"])
@pytest.mark.parametrize("name", EVILS)
def test_only_the_file_is_lost(name: str, when: str, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "MAX_CPU_S", 0.5)
    monkeypatch.setattr("sign_models.keypoints.isolation.Child", Patched(name, when))
    monkeypatch.setattr("sign_models.datasets.readers.Child", Patched(name, when))
    bad: list[DataError] = []
    assert [s.id for s in formats.read(corpus, on_bad=bad.append)] == ["a", "m", "z"]
    for workers in (0, 2) if when == "read" else (2,):
        found = [sample for _, sample in read_samples(corpus, ReadOptions(), workers=workers)]
        assert [s.clip.id for s in found if not isinstance(s, DataError)] == ["a", "m", "z"]
        bad += [s for s in found if isinstance(s, DataError)]
    assert len(bad) == (6 if when == "read" else 4)
    for i, error in enumerate(bad):
        assert EVILS[name][1] in str(error) and f"evil_{1 + i % 2}" in str(error)


def test_an_import_goes_on_behind_a_file_that_ends_its_reader(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sign_models.datasets.readers.Child", Patched("crashes", "read"))
    monkeypatch.setattr(report, "figures", lambda *_: {})
    found = import_corpus(corpus, corpus.parent / "store", ImportRules(on_bad_sample="reject"))
    assert (found.numbers["clips"], found.numbers["rejected"]["samples"]) == (3, 2)


def limits() -> Iterator[tuple[int, int]]:
    at_work("a", "a", 0)
    small = resource.getrlimit(resource.RLIMIT_DATA)[0]
    at_work("b", "b", 2**20)
    yield small, resource.getrlimit(resource.RLIMIT_DATA)[0]


def test_the_limit_is_four_times_the_file_and_256_mebibytes_and_no_limit_is_left_behind() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    [(small, larger)] = isolated(limits)
    assert 2**28 < small < 2**29 and abs(larger - small - 2**22) < 2**20
    assert resource.getrlimit(resource.RLIMIT_DATA) == before and isolation._child is None


def fails() -> Iterator[int]:
    yield 1
    raise KeyError("a bug")


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(2**16)


def pid() -> Iterator[int]:
    yield os.getpid()
    time.sleep(600)


def test_a_bug_keeps_its_kind_and_its_place() -> None:
    with pytest.raises(KeyError) as error:
        list(isolated(fails))
    assert "in fails" in error.value.__notes__[0]


def test_who_stops_listening_ends_the_process() -> None:
    found = isolated(pid)
    number = next(found)
    found.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    assert len([next(isolated(endless)) for _ in range(20)]) == 20


def test_several_threads_may_read_at_once(corpus: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(Corpus.from_sequences(formats.read(corpus)).digest))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_a_server_that_was_killed_is_started_again(corpus: Path) -> None:
    list(formats.read(corpus))
    server = isolation._server.process
    assert server is not None
    server.kill()
    server.wait()
    assert len(list(formats.read(corpus))) == 5


def test_the_end_of_a_process_without_a_file_is_no_files_fault() -> None:
    with pytest.raises(ResourceError, match="crashed"):
        raise ChildDied(None, signal.SIGSEGV).error()


def test_a_later_server_ends_no_process_that_it_did_not_start() -> None:
    """The process id of a reader whose server is gone may be anybody's by now."""
    before = Child(endless)
    before.receive()
    server = isolation._server.process
    assert server is not None
    server.kill()
    server.wait()
    with subprocess.Popen(["sleep", "60"]) as innocent:
        before._pid = innocent.pid
        later = Child(pid)  # starts another server
        later.receive()
        assert before.end() == 0
        assert innocent.poll() is None
        later.end()
        innocent.kill()
    again = Child(pid)  # the later server has not ended
    assert again.receive() and isolation._server.process not in (None, server)
    again.end()


def paths_of_the_package() -> Iterator[tuple[str, str]]:
    """Where a child has this package from, and the first place that it looks for others."""
    yield str(Path(isolation.__file__).parents[1]), sys.path[0]


def test_children_run_the_package_of_their_parent_whatever_stands_first_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that MLflow has loaded puts the package that it was made by there, of an earlier version."""
    (tmp_path / "earlier" / "sign_models").mkdir(parents=True)
    (tmp_path / "earlier" / "sign_models" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "earlier")
    monkeypatch.setattr(isolation, "_server", isolation._Server())
    child = Child(paths_of_the_package)
    try:
        assert [*child.receive()] == [str(Path(isolation.__file__).parents[1]), str(tmp_path / "earlier")]
    finally:
        child.end()
