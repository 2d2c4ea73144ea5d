"""The command `import`: its options, refusals and output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sign_models.cli import importing as cli_importing
from sign_models.datasets.importing import ImportRules, Splitting, import_corpus
from sign_models.datasets.store import open_store
from sign_models.errors import DataError, ParamsError
from sign_models.keypoints.formats.files.source import ReadOptions
from sign_models.pipeline import importing
from tests.data.generated import sequences, write_folder

NOTHING = dict.fromkeys(
    "source out texts labels tiers times layout fps unit size split_ratio group seed on_bad_sample on_leak workers mirror verify "
    "experiment relative_to".split(),
    "",
)


def verify(given: dict[str, str]) -> None:
    importing.run_verify(cli_importing.parse_verify(given))


def parse(**given: str) -> importing.ImportOptions:
    return cli_importing.parse(NOTHING | {"source": "clips", "out": "store"} | given)


def test_every_option_of_the_command_is_parsed() -> None:
    from entrypoints.import_ import main

    assert {option.name for option in main.params} == set(NOTHING)


def test_options_mean_what_they_say() -> None:
    assert parse() == importing.ImportOptions(Path("clips"), Path("store"))
    told = parse(
        relative_to="/far", layout="my.yaml", fps="25", unit="pixel", size="640x480", texts="/t.json", group="signer",
        split_ratio="0.8,0.1,0.1", seed="3", on_bad_sample="reject", on_leak="report", workers="2",
    )  # fmt: skip
    assert told == importing.ImportOptions(
        Path("/far/clips"), Path("/far/store"),
        ImportRules(Path("/t.json"), "signer", Splitting((0.8, 0.1, 0.1), 3), "reject", "report"),
        ReadOptions("/far/my.yaml", 25.0, "pixel", (640.0, 480.0)), 2,
    )  # fmt: skip


def test_what_labels_do_not_tell_is_told_by_options() -> None:
    told = parse(relative_to="/far", texts="folders", labels="films", tiers="Satz, Deutsch_A", times="ms")
    reading = ReadOptions(texts="folders", tiers=("Satz", "Deutsch_A"), times="ms", labels="/far/films")
    assert (told.rules.texts, told.reading) == (None, reading)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": ""}, "source: not given"),
        ({"out": ""}, "out: not given"),
        ({"split_ratio": "0.8,0.1"}, "shares of train, dev and test"),
        ({"split_ratio": "0.8,0.1,0.2"}, "that make 1"),
        ({"split_ratio": "0,0.5,0.5"}, "that make 1"),
        ({"split_ratio": "a,b,c"}, "split_ratio: 'a,b,c'"),
        ({"seed": "1"}, "given without split_ratio"),
        ({"fps": "fast"}, "frames a second"),
        ({"size": "640"}, "640x480"),
        ({"unit": "picture"}, "'picture' is called 'normalized' now"),
        ({"unit": "metre"}, "wanted pixel or normalized or centered"),
        ({"on_bad_sample": "skip"}, "wanted stop or reject"),
        ({"times": "minutes"}, "times: 'minutes'; wanted seconds or ms or frames"),
        ({"on_leak": "stopp"}, "wanted stop or report"),
        ({"group": "("}, "is no expression"),
        ({"workers": "-1"}, "a number of processes"),
    ],
)
def test_refusals_come_before_any_work(given: dict[str, str], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(**given)


def test_verify_takes_a_store_and_nothing_else(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import_corpus(source, tmp_path / "store", ImportRules(on_leak="report"))
    verify(NOTHING | {"verify": "store", "relative_to": str(tmp_path)})
    assert "every byte as written; 60 clips" in capsys.readouterr().out
    with pytest.raises(ParamsError, match="source beside it"):
        verify(NOTHING | {"verify": "store", "source": "x"})
    with pytest.raises(DataError, match="no store"):
        verify(NOTHING | {"verify": str(source)})


def test_the_command_prints_and_logs_its_report(tmp_path: Path, root: Path) -> None:
    write_folder(tmp_path / "clips", sequences(6))
    environment = os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    line = "--source clips --out store --on-leak report --fps 30"
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.import", *line.split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 clips" in done.stdout and "LEAK" not in done.stdout
    assert open_store(tmp_path / "store").fps == [30.0, 25.0, 25.0, 30.0, 25.0, 25.0]
    from mlflow import MlflowClient

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert (run.info.status, run.data.metrics["clips"], run.data.tags["sign.stage"]) == ("FINISHED", 6, "import")
    assert run.data.tags["sign.data.import"] == open_store(tmp_path / "store").digest
    assert "report/overview.png" in {file.path for file in client.list_artifacts(run.info.run_id, "report")}
