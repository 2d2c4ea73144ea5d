from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sign_models.tracking.fingerprint import (
    FIELDS,
    FILE,
    Fingerprint,
    fields_of,
    find_done,
    find_trained,
    find_unfinished,
    fingerprint,
)
from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import ModelRef
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes

pytestmark = pytest.mark.usefixtures("tracking", "fakes")
PARAMS = {"temporal.training.lr": 0.001, "temporal.model.width": 64}


def made(**changes: object) -> Fingerprint:
    given = {
        "stage": "temporal",
        "params": PARAMS,
        "upstream": {"skeleton": "m-1"},
        "data": "d" * 64,
        "source": "s" * 64,
    }
    return fingerprint(**(given | changes))  # type: ignore[arg-type]


def train(of: Fingerprint, folder: Path) -> ModelRef:
    with stage_run(of.stage, tags=of.tags()) as run:
        run.log_dict(dict(of.fields), FILE)
        written = fakes.write(folder / "out", of.stage)
        return register(run, of.stage, written, metrics={}, upstream={}, tags=of.tags(), step=1)


def test_everything_a_model_depends_on_changes_the_fingerprint() -> None:
    changed = [
        made(),
        made(stage="skeleton"),
        made(params=PARAMS | {"temporal.training.lr": 0.01}),
        made(params={}),
        made(upstream={"skeleton": "m-2"}),
        made(data="e" * 64),
        made(source="t" * 64),
    ]
    assert len({f.sha256 for f in changed}) == len(changed)
    assert made(params=dict(reversed(PARAMS.items()))) == made()


def test_long_values_count_whole_and_are_kept_short() -> None:
    long, other = (made(params={"a": "x" * 9000 + end}) for end in "yz")
    assert long.sha256 != other.sha256 and long.fields != other.fields
    assert max(map(len, (*long.fields.values(), *long.tags().values()))) < 100


def test_what_a_version_is_made_of_is_found_where_earlier_versions_kept_it(tmp_path: Path) -> None:
    first = train(made(), tmp_path)
    assert fields_of(first) == made().fields
    old = replace(first, run_id="gone", tags={FIELDS: json.dumps({"data": "x"})})
    assert fields_of(old) == {"data": "x"}
    assert fields_of(replace(old, run_id=first.run_id, tags={})) == made().fields


def test_the_newest_version_with_the_same_fingerprint_is_taken(tmp_path: Path) -> None:
    assert find_trained(made()) == (None, ["no version of sign-temporal exists"])
    for _ in range(2):
        train(made(), tmp_path)
    train(made(data="e" * 64), tmp_path)
    found, reasons = find_trained(made())
    assert found is not None and found.version == 2 and reasons == []


def test_what_differs_is_said(tmp_path: Path) -> None:
    train(made(), tmp_path)
    found, reasons = find_trained(made(data="e" * 64, params=PARAMS | {"temporal.training.lr": 0.01}))
    assert found is None
    assert reasons == ["version 1: data differs; params.temporal.training.lr was 0.001, is 0.01"]


def test_a_version_whose_files_are_gone_is_not_taken(tmp_path: Path) -> None:
    older, newer = train(made(), tmp_path), train(made(), tmp_path)
    shutil.rmtree(newer.location)
    found, _ = find_trained(made())
    assert found is not None and found.version == older.version
    shutil.rmtree(older.location)
    assert find_trained(made()) == (
        None,
        [f"version {n}: the files of this version are gone from the store" for n in (2, 1)],
    )


def test_a_run_that_was_cut_off_is_found_again() -> None:
    with pytest.raises(KeyboardInterrupt), stage_run("temporal", tags=made().tags()) as cut:
        assert find_unfinished(made(), cut.experiment_id) is None  # it is at work
        raise KeyboardInterrupt
    assert find_unfinished(made(), cut.experiment_id) == cut.id
    assert find_unfinished(made(data="e" * 64), cut.experiment_id) is None
    assert find_unfinished(made(), "0") is None
    with stage_run("temporal", run_id=cut.id):
        pass
    assert find_unfinished(made(), cut.experiment_id) is None


def test_what_a_cut_off_pipeline_finished_counts_and_what_one_at_work_finished_does_not() -> None:
    whole = made(stage="pipeline")

    def child() -> str:
        with stage_run("temporal", nested=True) as run:
            return run.id

    with stage_run("pipeline", tags=whole.tags()) as pipeline:
        experiment, finished = pipeline.experiment_id, child()
        assert find_done(whole, experiment, "another") == set()  # its models may still be on their way
        assert find_done(whole, experiment, pipeline.id) == {finished}  # as after --run-id
    with pytest.raises(KeyboardInterrupt), stage_run("pipeline", tags=whole.tags()):
        later = child()
        raise KeyboardInterrupt
    assert find_done(whole, experiment, "another") == {later}  # the one before it ended well, and is over
    assert find_done(made(), experiment, "another") == set()
