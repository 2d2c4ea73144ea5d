"""benchmarks/suite.py: the graph of tasks on a tiny suite, and the table's arithmetic."""

from __future__ import annotations

import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality, rotations, suite, trainings
from sign_models.errors import DataError
from tests import tiny


def found(scores: dict[tuple[str, str, int, str], float]) -> list[suite.Found]:
    """scores: by set, variant, seed and split."""
    rows = {
        place: quality.Row(variant, 6, seed, split, "", dict.fromkeys(quality.FIGURES, score), None, {}, 1, None)
        for place, score in scores.items()
        for _, variant, seed, split in [place]
    }
    return [suite.Found(place[0], [row]) for place, row in rows.items()]


def command(suite_folder: Path, out: Path, *more: object) -> None:
    short = {
        f"{stage}.training.{name}": 2
        for stage in ("skeleton", "temporal", "alignment")
        for name in ("steps", "evaluations")
    }
    sets = tiny.sets() | short | {"alignment.generation.beams": 1}
    given = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    line = ["quality", "--suite", suite_folder, "--seeds", 1, "--no-log", "--out", out, *more, *given]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*map(str, line)])
        quality.main()


@pytest.fixture
def two_sets(tiny_data: Path, tmp_path: Path) -> Path:
    for name in ("a", "b"):
        shutil.copytree(tiny_data, tmp_path / "suite" / name)
    (tmp_path / "suite" / "no set").mkdir()
    return tmp_path / "suite"


def test_every_set_and_number_of_labels_is_a_line(
    two_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained: list[tuple[str, ...]] = []
    whole = trainings.pretrained
    monkeypatch.setattr(trainings, "pretrained", lambda *a: (pretrained.append(a[2].untrained), whole(*a))[1])
    own = "own no_temporal alignment.encoder_lr=1"
    command(two_sets, tmp_path / "out.json", "--labels", "a=4/6", "--variants", "default,contrast", "--variant", own)
    rows = {(one["set"], row["variant"], row["split"]): row for one in json.loads((tmp_path / "out.json").read_text())
            for row in one["rows"]}  # fmt: skip
    variants = ("default", "contrast", "own")
    assert set(rows) == {(s, v, x) for s in ("a@4", "a@6", "b") for v in variants for x in ("dev", "test")}
    assert rows["b", "default", "test"]["labels"] == tiny.SPLITS["train"]
    assert sorted(pretrained) == [(), (), ("temporal",), ("temporal",)]  # shared by default, contrast and all labels
    assert rows["a@4", "own", "test"]["seconds"]["temporal"] == 0
    printed = capsys.readouterr().out
    assert "| set | split | default | contrast | own |" in printed
    assert printed.index("| a@4 | test") < printed.index("| a@6 | test") < printed.index("| b | test")


def test_in_processes_of_their_own_the_same_is_found(two_sets: Path, tmp_path: Path) -> None:
    shutil.rmtree(two_sets / "b")
    scores = []
    for at_once in (1, 2):
        command(two_sets, tmp_path / "out.json", "--variants", "default", "--at-once", at_once)
        (one,) = json.loads((tmp_path / "out.json").read_text())
        scores.append([(row["split"], row["scores"], row["dev_loss"]) for row in one["rows"]])
    assert scores[0] == scores[1]


def test_what_fails_is_told_and_the_rest_goes_on(
    two_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_sets / "a" / "text_data.json").write_text("[]")
    with pytest.raises(SystemExit, match="^a"):
        command(two_sets, tmp_path / "out.json", "--variants", "default")
    assert [one["set"] for one in json.loads((tmp_path / "out.json").read_text())] == ["b"]
    assert "1 trainings are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--labels", "30,60"), "it is SET=COUNT/COUNT"),
        (("--labels", "nowhere=30"), "SET a folder's name"),
        (("--variant", "mine nothing"), "neither NAME=VALUE nor a variant"),
        (("--variants", "defualt"), "no variant defualt"),
        (("--rotations", 2, "--across"), "--rotations goes with neither"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(
    more: tuple[str, ...], told: str, two_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(two_sets, tmp_path / "out.json", *more)
    assert told in capsys.readouterr().err


@pytest.fixture
def signed_by_four(two_sets: Path) -> Path:
    """A set whose training and dev videos are four signers' in turn, and its test videos another one's."""
    shutil.rmtree(two_sets / "b")
    file = two_sets / "a" / "text_data.json"
    rows = json.loads(file.read_text())
    for i, row in enumerate(rows):
        row["signer"] = "new" if row["split"] == "test" else f"s{i % 4}"
    file.write_text(json.dumps(rows))
    return two_sets


def test_signers_of_training_and_dev_take_turns_at_being_new(signed_by_four: Path) -> None:
    whole = rotations.Source(signed_by_four / "a").read()
    held_out = []
    for turn in range(2):
        videos = rotations.Source(signed_by_four / "a", turn, 2).read().videos
        by = {split: {g for g, s in zip(videos.groups, videos.splits, strict=True) if s == split} for split in
              ("train", "dev", "test")}  # fmt: skip
        assert by["dev"] == by["test"] and not by["train"] & by["test"] and "new" not in by["train"] | by["test"]
        assert len(videos) == sum(split != "test" for split in whole.videos.splits)
        assert all(np.array_equal(videos.clip(i), whole.videos.clip(whole.videos.index[name]))
                   for i, name in enumerate(videos.ids))  # fmt: skip
        held_out.append(by["test"])
    assert held_out[0] | held_out[1] == {"s0", "s1", "s2", "s3"} and not held_out[0] & held_out[1]
    with pytest.raises(DataError, match="4 signers.*at least 6 signers"):
        rotations.Source(signed_by_four / "a", 0, 3).read()


def test_each_rotation_is_a_line(signed_by_four: Path, tmp_path: Path) -> None:
    command(signed_by_four, tmp_path / "out.json", "--variants", "no_pretraining", "--rotations", 2)
    assert sorted(one["set"] for one in json.loads((tmp_path / "out.json").read_text())) == ["a~0", "a~1"]


def test_mean_rank_spread_and_the_choice_on_other_sets() -> None:
    scores = {  # set: variant: dev, test of two seeds each
        "a": {"x": ([90, 92], [80, 84]), "y": ([80, 80], [85, 85])},
        "b": {"x": ([70, 70], [60, 60]), "y": ([71, 71], [60, 60])},
        "c@9": {"x": ([50, 50], [40, 40]), "y": ([51, 51], [50, 50])},
    }
    lines = suite.table(found({
        (s, v, seed, split): by[i][seed]
        for s, of in scores.items() for v, by in of.items() for i, split in enumerate(("dev", "test")) for seed in (0, 1)
    })).splitlines()  # fmt: skip
    assert "| a | test | 82.0 ± 2.8 | 85.0 ± 0.0 |" in lines
    assert "| **mean** | test | 60.7 | 65.0 |" in lines
    assert "| **mean rank** | test | 1.8 | 1.2 |" in lines  # 2, 1.5, 2 and 1, 1.5, 1
    assert "| **spread over seeds** | test | 0.9 | 0.0 |" in lines
    # without a, y is the better one on dev; without b or c, x is
    assert lines[-1].endswith("test: mean 61.7 (a: y 85.0, b: x 60.0, c@9: x 40.0)")


def test_trust_is_a_line_for_each_set_and_what_its_models_were_asked_about() -> None:
    def row(seed: int, kind: str, split: str = "test", **figures: float) -> trainings.Row:
        return trainings.Row(
            "x", 6, seed, split, kind, dict.fromkeys(trainings.FIGURES, 1.0) | figures, None, {}, 1, None
        )

    own = [row(s, "", coverage=0.5 + s / 10, precision_accepted=0.9, false_accepts=0.0) for s in (0, 1)]
    other = [row(s, "of b", coverage=0.0, false_accepts=0.01) for s in (0, 1)]  # nothing accepted: no precision
    dev = row(0, "", "dev", coverage=1.0)
    lines = suite.trust_table([suite.Found("a", [*own, *other, dev]), suite.Found("b", [row(0, "")])]).splitlines()
    assert lines[-2:] == ["| a | its own | 55.0 / 90.0 / 0.0 |", "| a | of b | 0.0 / - / 1.0 |"]
    assert suite.trust_table([suite.Found("b", [row(0, "")])]) == ""


def test_across_asks_each_model_about_the_other_sets(two_sets: Path, tmp_path: Path) -> None:
    command(two_sets, tmp_path / "out.json", "--variants", "default", "--across")
    rows = [(one["set"], row) for one in json.loads((tmp_path / "out.json").read_text()) for row in one["rows"]]
    assert {(s, row["split"], row["kind"]) for s, row in rows} == {
        (s, split, kind) for s in "ab" for split, kind in (("dev", ""), ("test", ""), ("test", f"of {'ab'.strip(s)}"))
    }
    assert all({"coverage", "aurc", "ece", "groundedness"} <= row["scores"].keys() for _, row in rows)


def test_only_seeds_that_are_whole_count() -> None:
    half = {("a", "x", 0, "test"): 1.0, ("a", "x", 1, "test"): 9.0, ("b", "x", 0, "test"): 3.0}
    assert suite.scores(found(half))[1] == [0]
    assert "| **mean** | test | 2.0 |" in suite.table(found(half))
    assert suite.table(found({("a", "x", 0, "test"): 1.0, ("b", "x", 1, "test"): 9.0})).startswith("no seed")


def test_equal_scores_share_their_rank() -> None:
    assert suite.ranks(np.array([[1.0, 3.0, 3.0]])).tolist() == [[3.0, 1.5, 1.5]]


def test_no_task_begins_when_time_is_over() -> None:
    with ThreadPoolExecutor(1) as executor:
        tasks, done = suite.Tasks(executor, 1, time.monotonic() + 0.2), []
        for seed in (2, 1, 0):
            tasks.add((seed,), f"{seed}", lambda _, seed=seed: done.append(seed), time.sleep, 0.15)
        tasks.run()
    assert done == [0, 1]
