"""What a finished pipeline looks like in MLflow's UI, and what its summary says."""

from __future__ import annotations

import io
import json
import logging
import re
from contextlib import nullcontext
from pathlib import Path

import mlflow
import pytest
from tqdm import tqdm

from sign_models.params import load
from sign_models.pipeline import runner, summary
from sign_models.pipeline.context import Output
from sign_models.pipeline.summary import Report
from sign_models.stages.declaration import STAGES, by_role
from sign_models.tracking.registered.registry import resolve
from tests.conftest import Command
from tests.pipeline.test_pipeline import artifacts, fetched, run_of, runs

client = mlflow.MlflowClient
NOTE = "mlflow.note.content"
EVERY = ("pipeline", *STAGES)
REGISTERING = [stage.made_role for stage in STAGES.values() if stage.registers]


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("stage", EVERY)
def test_a_run_is_named_described_and_free_of_long_tags(stage: str) -> None:
    run = run_of(stage)
    assert run.info.run_name == f"{stage} 1"
    note = run.data.tags[NOTE]
    assert "**Next**: `mlflow " in note and "video_sequences.pkl" in note
    if stage != "pipeline":
        assert STAGES[stage].help in note
        for role in STAGES[stage].upstream:
            assert resolve("1", role).uri in note
        assert "**Result**" in note and all(f"{part} |" in note for part in STAGES[stage].reads)
    ours = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    assert max(map(len, ours.values())) < 300, "long values are artifacts"
    assert json.loads(fetched(run, "fingerprint.json").read_text())["stage"]
    assert any(path.startswith("logs/") for path in artifacts(run))


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("stage", EVERY)
def test_metrics_are_in_groups_and_none_is_there_twice(stage: str) -> None:
    names = set(run_of(stage).data.metrics)
    assert names and all(name.count("/") == 1 and "." not in name for name in names)
    if stage in ("skeleton", "temporal", "alignment"):
        assert {name.split("/")[0] for name in names} == {"train", "validation"}


@pytest.mark.usefixtures("finished")
def test_the_experiment_opens_among_trained_models_and_says_what_it_holds() -> None:
    tags = client().get_experiment("0").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert all(stage in tags[NOTE] for stage in STAGES)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("role", REGISTERING)
def test_a_model_is_shown_as_registered_with_its_card(role: str) -> None:
    found, stage = resolve("1", role), by_role()[role]
    logged = client().get_logged_model(found.model_id)
    held = json.loads(logged.tags["mlflow.modelVersions"])
    assert [(entry["name"], str(entry["version"])) for entry in held] == [(found.name, "1")]
    assert logged.tags["mlflow.user"] and logged.tags["mlflow.source.name"]
    assert stage.help in client().get_registered_model(found.name).description
    card = client().get_model_version(found.name, "1").description
    scores = [f"{value:.4g}" for name, value in found.metrics().items() if name in stage.metrics]
    for part in (stage.help, found.uri, "license", "Limits", "How to call it", "data: ", *scores):
        assert part in card, part
    for below in stage.upstream:
        assert resolve("1", below).uri in card
    if role == "translator":
        assert "version:" in card and "sm.load" in card, "scores come with their recipe"


@pytest.mark.parametrize(
    ("asked", "of_alignment", "shown"),
    [
        ("", "", "unknown: none was stated"),
        ("", "cc0-1.0", "cc0-1.0"),  # generate trains nothing
        ("Our corpus | 2026", "cc0-1.0", "Our corpus / 2026"),
    ],
)
def test_a_card_states_the_licence_that_was_given(pipeline: Command, asked: str, of_alignment: str, shown: str) -> None:
    if of_alignment:
        client().set_model_version_tag("sign-alignment", "1", "sign.license", of_alignment)
    assert pipeline("generate", "--license", asked).code == 0
    assert f"| license | {shown}" in client().get_model_version("sign-translator", "2").description


@pytest.mark.parametrize("license", ["two\nlines", "x" * 201])
def test_a_licence_that_no_card_can_hold_is_refused(pipeline: Command, license: str) -> None:
    done = pipeline("generate", "--license", license)
    assert done.code == 2 and "license" in done.err and "cc-by-4.0" in done.err


@pytest.mark.usefixtures("finished")
def test_the_parent_has_the_params_scores_and_links_of_all(tiny_data: Path) -> None:
    parent, params = run_of("pipeline"), load.resolve(None, "", tiny_data / "tiny.yaml")
    wanted: dict[str, str] = {}
    for stage in STAGES:
        wanted |= {name: str(value) for name, value in load.flatten(getattr(params, stage), stage).items()}
    assert parent.data.params == wanted
    assert parent.data.metrics["alignment/score"] == resolve("1", "alignment").metrics()["validation/score"]
    for stage in STAGES:
        assert f"[{stage}](#/experiments/0/runs/{run_of(stage).info.run_id})" in parent.data.tags[NOTE]
    assert parent.data.tags["sign.skipped"] == "none"


def test_a_pipeline_that_skips_says_so(pipeline: Command) -> None:
    done = pipeline("pipeline", "--skip-trained")
    assert done.code == 0 and done.out.count("skipped: there already") == 4
    again = runs("pipeline")[-1]
    assert again.info.run_name == "pipeline 2"
    assert again.data.tags["sign.skipped"] == ", ".join(STAGES)
    assert again.data.tags[NOTE].count("skipped") == len(STAGES)


# The summary ----------------------------------------------------------------------------------------------------------

FIGURES = {name: 12.34 for name in summary.SUMMARY_METRICS}


def told(capfd: pytest.CaptureFixture, report: Report | None, preset: str = "") -> str:
    summary.show([], report, run_of("pipeline").info.run_id, 178.0, preset)
    return capfd.readouterr().out


@pytest.mark.usefixtures("finished")
def test_the_summary_says_time_place_and_the_best_score_first(capfd: pytest.CaptureFixture) -> None:
    out = told(capfd, Report({"test": FIGURES, "dev": FIGURES}, [], "cased", frozenset({"dev"})))
    assert "took   2 min 58 s" in out
    page = f"#/experiments/0/runs/{run_of('pipeline').info.run_id}?workflowType=machine_learning"
    assert re.search(rf"make ui .*, then http://\S+/{re.escape(page)}", out)
    (test,), (dev,) = ([line for line in out.splitlines() if line.strip().startswith(s)] for s in ("test", "dev"))
    assert test.index("chrf 12.3") < test.index("character_error_rate 12.3") < test.index("bleu4 12.3")
    assert "bleu4 n/a" in dev and "chrf 12.3" in dev


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("preset", "warned"), [("quick", True), ("embedded,quick", True), ("tiny", False), ("", False)]
)
def test_the_quick_preset_says_what_its_texts_are(capfd: pytest.CaptureFixture, preset: str, warned: bool) -> None:
    assert ("nonsense" in told(capfd, None, preset)) == warned


@pytest.mark.parametrize(
    ("references", "short"),
    [
        (["a b", "c"], True), (["one two three", ""], True), (["one two three four"], False), (["我爱北京"], False),
        (["你好"], True), ([None, "a b c, d"], False), ([None], True),
    ],
)  # fmt: skip
def test_bleu_of_four_words_needs_a_reference_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, references: list[str | None], short: bool
) -> None:
    rows = [{"id": str(i), "split": "test", "text": "x", "reference": r} for i, r in enumerate(references)]
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"results": rows, "scores": {"test": FIGURES}, "scoring": "cased"}))
    monkeypatch.setattr(summary, "fetch", lambda run_id, path: nullcontext(file))
    report = summary.read_report([Output(STAGES["generate"], "run")])
    assert report is not None and ("test" in report.too_short) == short


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_times_are_said_in_units(seconds: float, text: str) -> None:
    assert summary.duration(seconds) == text


def test_a_message_stands_above_a_bar_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    runner.to_terminal()
    with tqdm(total=9, file=screen, desc="skeleton", ncols=60) as bar:
        bar.update()
        logging.getLogger("sign_models.stages").info("skeleton: step 1/9")
        bar.update()
    lines = [line.split("\r")[-1].rstrip() for line in screen.getvalue().split("\n")]
    assert "skeleton: step 1/9" in lines
