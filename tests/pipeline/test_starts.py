"""What a command does while it waits for something else. How long each takes is a row of benchmarks/speed.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sign_models.datasets.importing import import_corpus
from sign_models.keypoints import isolation
from sign_models.params import load
from sign_models.pipeline import runner
from sign_models.pipeline.options import Options


class StoreAsked(Exception):
    """The command has come to the tracking store, of which nothing was imported before."""


def _folder(tiny_data: Path, tmp_path: Path) -> Options:
    return Options(load.resolve(), data=tiny_data)


def _file(tiny_data: Path, tmp_path: Path) -> Options:
    return Options(load.resolve(), videos=Path(shutil.copy(tiny_data / "video_sequences.pkl", tmp_path)))


def _store(tiny_data: Path, tmp_path: Path) -> Options:
    import_corpus(tiny_data / "video_sequences.pkl", tmp_path / "store")
    return Options(load.resolve(), data=tmp_path / "store")


def _embedded(tiny_data: Path, tmp_path: Path) -> Options:
    return Options(load.resolve())


def _nothing(tiny_data: Path, tmp_path: Path) -> Options:
    return Options(load.resolve(), data=tmp_path / "not there")


def _skipping(tiny_data: Path, tmp_path: Path) -> Options:
    return Options(load.resolve(), data=tiny_data, skip_trained=True)


@pytest.mark.parametrize("run", [runner.run_pipeline, lambda options: runner.run_single("generate", options)])
@pytest.mark.parametrize(
    ("made", "started"),
    [(_folder, True), (_file, True), (_store, False), (_embedded, False), (_nothing, False), (_skipping, False)],
)
def test_what_reads_files_starts_before_the_store_is_asked(
    run: Callable[[Options], object],
    made: Callable[[Path, Path], Options],
    started: bool,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = made(tiny_data, tmp_path)

    def asked(*_: object, **__: object) -> None:
        raise StoreAsked

    monkeypatch.setattr(runner, "connect", asked)
    monkeypatch.setattr(runner, "stage_run", asked)
    server = isolation._Server()
    monkeypatch.setattr(isolation, "_server", server)
    with pytest.raises(StoreAsked):
        run(options)
    assert (server.process is not None) == started
    if server.process is not None:
        assert server.process.poll() is None
        server.process.kill()
        server.process.wait()


def test_a_reader_is_of_the_server_that_was_prepared(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sign_models.keypoints import formats

    monkeypatch.setattr(isolation, "_server", isolation._Server())
    isolation.prepare()
    prepared = isolation._server.process
    isolation.prepare()
    assert [*formats.read(tiny_data / "video_sequences.pkl")]
    assert isolation._server.process is prepared is not None
    prepared.kill()
    prepared.wait()
