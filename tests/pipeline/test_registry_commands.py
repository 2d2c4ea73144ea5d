"""promote, evaluate, lineage and prune on the store of a real pipeline."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.projects.utils import load_project

from sign_models.stages.generate import generate
from sign_models.tracking.registered.registry import aliases_of, resolve, versions_of
from tests import tiny
from tests.conftest import Command, exit_code, use_store
from tests.evaluation.test_evaluation import CHINESE, ENGLISH, GERMAN

COMMANDS = ("evaluate", "promote", "lineage", "prune")
client = mlflow.MlflowClient
Tool = Callable[..., object]


def run_of(stage: str) -> Run:
    """The newest of the stage."""
    found = client().search_runs(
        ["0"], f"tags.`sign.stage` = '{stage}'", max_results=1, order_by=["attributes.start_time DESC"]
    )
    return client().get_run(found[0].info.run_id)


def fetched(run: Run, path: str) -> dict:
    return json.loads(Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path)).read_text())


def aliases(name: str = "sign-translator") -> dict[str, int]:
    return {alias: version for alias, version in aliases_of(name).items() if alias != "candidate"}


@pytest.fixture(scope="module")
def three(built: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three translators: of the pipeline, one that learned a word of no other text, and the first on
    other texts."""
    from sign_models.cli import commands

    folder = tmp_path_factory.mktemp("three")
    shutil.copy(built / "mlflow.db", folder)
    other = Path(shutil.copytree(tiny_data, folder / "other"))
    wordless = Path(shutil.copytree(tiny_data, folder / "wordless"))
    rows = [row if row["split"] == "train" else row | {"text": "tea"} for row in tiny.texts()]
    (other / "text_data.json").write_text(json.dumps(rows))
    rows = [row | {"text": "zzz"} if row["split"] == "train" else row for row in tiny.texts()]
    (wordless / "text_data.json").write_text(json.dumps(rows))
    override = ["--config-override", tiny_data / "tiny.yaml"]
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        patch.setattr(commands, "guard_process", lambda: None)
        assert exit_code("alignment", "--data", wordless, *override, "--steps", 1) == 0
        assert exit_code("generate", "--data", tiny_data, *override) == 0
        assert exit_code("generate", "--data", other, *override, "--alignment-model", 1) == 0
        metrics = [resolve(version, "translator").metrics() for version in "123"]
    assert all(metrics[1][name] < metrics[0][name] for name in ("test/chrf", "dev/chrf"))
    assert metrics[2]["test/chrf"] != metrics[0]["test/chrf"]
    return folder


@pytest.fixture
def tool(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Tool:
    """Runs a command in a folder of its own with a copy of `three`."""
    shutil.copy(three / "mlflow.db", tmp_path)
    use_store(tmp_path, monkeypatch)
    return lambda name, *arguments: command(name, *arguments, data=False, params=False)


# The command line ----------------------------------------------------------------------------------------------------


def test_help_explains_with_examples_and_loads_nothing_heavy(root: Path) -> None:
    code = f"""
import importlib, sys
for name in {COMMANDS!r}:
    command = importlib.import_module("entrypoints." + name).main
    command.main(["--help"], standalone_mode=False)
    assert all(option.help for option in command.params), name
from sign_models.cli import evaluate, importing, registry
heavy = {{"torch", "mlflow", "transformers", "matplotlib", "pandas", "sacrebleu"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"mlflow run . -e {name}" in done.stdout


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("promote", "--model sign-translater", "did you mean 'sign-translator'"),
        ("promote", "--alias latest", "not candidate, latest, previous or a version"),
        ("promote", "--metric test/chfr", "did you mean 'test/chrf'"),
        ("promote", "--metric chrf", "wanted a split and a figure"),
        ("promote", "--force perhaps", "wanted true or false"),
        ("promote", "--scoring casd", "did you mean 'cased'"),
        ("promote", "--data nowhere", "nowhere: no such file or folder"),
        ("promote", "--rollback --version 3", "rollback: version beside it"),
        ("promote", "--versoin 3", "--version"),
        ("evaluate", "--splits tset", "did you mean 'test'"),
        ("evaluate", "--scoring phoenix", "did you mean 'phoenix14t'"),
        ("evaluate", "--beams 0", "beams is '0'; wanted greater than 0"),
        ("evaluate", "--models champion,sign-temporal@champion", "gives no text"),
        ("evaluate", "--models sign-alignmnt/2", "did you mean 'sign-alignment'"),
        ("evaluate", "--hypotheses a.txt", "references: not given"),
        ("evaluate", "--hypotheses a.txt --references b.txt --models 3", "models beside it"),
        ("lineage", "--model sign-translatr@champion", "did you mean 'sign-translator'"),
        ("prune", "--yes maybe", "wanted true or false"),
        ("prune", "yes", "unexpected extra argument"),
    ],
)
def test_refusal_comes_before_any_work(tool: Tool, tmp_path: Path, name: str, line: str, message: str) -> None:
    before = (tmp_path / "mlflow.db").read_bytes()
    done = tool(name, *line.split())
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert (tmp_path / "mlflow.db").read_bytes() == before


# promote -------------------------------------------------------------------------------------------------------------


def test_promoting_refusing_forcing_and_going_back(tool: Tool) -> None:
    done = tool("promote", "--version", "1")
    assert done.code == 0 and "champion is version 1 (was none)" in done.out
    assert aliases() == {"champion": 1}
    run = run_of("promote")
    assert run.info.status == "FINISHED" and run.data.tags["sign.promoted"] == "models:/sign-translator/1"
    assert [model.model_id for model in run.inputs.model_inputs] == [resolve("1", "translator").model_id]

    done = tool("promote", "--version", "2")
    assert done.code == 2 and "the present champion (version 1) has" in done.err and "Traceback" not in done.err
    assert run_of("promote").info.status == "FAILED" and aliases() == {"champion": 1}

    assert "reason" in tool("promote", "--version", "2", "--force").err
    assert aliases() == {"champion": 1}
    assert tool("promote", "--version", "2", "--force", "true", "--reason", "it is smaller").code == 0
    assert aliases() == {"champion": 2, "previous": 1}
    kept = json.loads(resolve("champion", "translator").tags["sign.promotion.champion"])
    assert kept == fetched(run_of("promote"), "promotion.json")
    assert (kept["reason"], kept["forced"], kept["metric"], kept["scored_again"]) == (
        "it is smaller", True, "test/chrf", False,
    )  # fmt: skip
    metrics = [resolve(version, "translator").metrics()["test/chrf"] for version in "21"]
    assert [run_of("promote").data.metrics[name] for name in ("score", "previous_score")] == metrics

    done = tool("promote", "--rollback", "--reason", "complaints")
    assert done.code == 0 and "champion is version 1 (was 2)" in done.out
    assert aliases() == {"champion": 1, "previous": 2}


def test_versions_of_different_data_are_scored_again_on_the_same(
    tool: Tool, tiny_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert tool("promote", "--version", "1").code == 0
    done = tool("promote", "--version", "3")
    assert done.code == 2 and "give data=DIR to score both on" in done.err
    assert aliases() == {"champion": 1} and run_of("promote").info.status == "FAILED"
    done = tool("promote", "--version", "3", "--data", tiny_data)
    assert done.code == 0 and "both scored again" in done.out
    said, run = fetched(run_of("promote"), "promotion.json"), run_of("promote")
    assert said["scored_again"] and aliases() == {"champion": 3, "previous": 1}
    assert said["score"] == said["previous_score"] == resolve("1", "translator").metrics()["test/chrf"]  # same weights
    digests = [resolve("1", "translator").tags[f"sign.data.generate.{part}"] for part in ("videos", "texts")]
    assert [run.data.tags[f"sign.data.promote.{part}"] for part in ("videos", "texts")] == digests
    assert tool("promote", "--version", "3", "--data", tiny_data).code == 0 and "was not read" in caplog.text
    done = tool("promote", "--version", "2", "--data", tiny_data, "--metric", "dev/chrf")
    assert done.code == 2 and "dev/chrf" in done.err


def test_a_version_made_on_the_embedded_data_needs_no_folder(tool: Tool) -> None:
    assert tool("promote", "--version", "1").code == 0
    assert tool("generate", "--alignment-model", "1", "--splits", "dev").code == 0
    done = tool("promote", "--metric", "dev/chrf")
    said = fetched(run_of("promote"), "promotion.json")
    assert done.code == 0 and said["scored_again"] and said["metric"] == "dev/chrf"
    assert said["score"] == resolve("4", "translator").metrics()["dev/chrf"]


@pytest.mark.parametrize("stage", ["skeleton", "temporal", "alignment"])
def test_every_stage_is_scored_again(tool: Tool, three: Path, tiny_data: Path, stage: str) -> None:
    other = Path(shutil.copytree(tiny_data, Path.cwd() / "changed"))
    (other / "text_data.json").write_text((three / "other" / "text_data.json").read_text())
    shutil.copy(other / "video_sequences.pkl", other / "sign_language_keypoints.pkl")
    override = ["--config-override", tiny_data / "tiny.yaml"]
    assert tool(stage, "--data", other, *override, "--steps", "1").code == 0
    name = f"sign-{stage}"
    assert tool("promote", "--model", name, "--version", "1").code == 0
    assert "data=DIR" in tool("promote", "--model", name).err
    forced = ("--force", "--reason", "a test", "--data", tiny_data)
    assert tool("promote", "--model", name, *forced).code == 0
    said = fetched(run_of("promote"), "promotion.json")
    assert said["scored_again"] and said["metric"] == "validation/score" and said["score"] != said["previous_score"]
    assert tool("promote", "--model", name, "--version", "1", *forced).code == 0
    back = fetched(run_of("promote"), "promotion.json")
    assert (back["score"], back["previous_score"]) == (said["previous_score"], said["score"])


# evaluate ------------------------------------------------------------------------------------------------------------


def test_versions_side_by_side_score_what_generate_scored(
    tool: Tool, tiny_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client().set_registered_model_alias("sign-translator", "champion", "1")
    done = tool("evaluate", "--models", "champion,2,1,sign-alignment/1", "--data", tiny_data)
    assert done.code == 0 and "1 is the version that champion is" in caplog.text
    run = run_of("evaluate")
    metrics = run.data.metrics
    for system, version in (("champion", "1"), ("2", "2"), ("sign-alignment/1", "1")):
        for name, value in resolve(version, "translator").metrics().items():
            split, _, figure = name.partition("/")
            if split != "train":
                assert metrics[f"{split}/{system.replace('/', '_')}.{figure}"] == value, name
    table = fetched(run, "evaluation_table.json")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["split"], row["system"]) for row in rows] == [
        (split, system) for split in ("test", "dev") for system in ("champion", "2", "sign-alignment/1")
    ]
    for row in rows:
        assert 0 <= row["chrf_low"] <= row["chrf_high"] <= 100 and row["sentences"] == tiny.SPLITS[row["split"]]
        assert metrics[f"{row['split']}/{row['system'].replace('/', '_')}.chrf_low"] == pytest.approx(row["chrf_low"])
        assert (row["chrf_p"] is None) == (row["system"] == "champion")
    texts = fetched(run, "translations_table.json")
    assert texts["columns"] == ["split", "id", "reference", "champion", "2", "sign-alignment/1"]
    assert len(texts["data"]) == tiny.SPLITS["test"] + tiny.SPLITS["dev"]
    assert "version:" in run.data.tags["sign.signature.bleu"] and "test (cased), 3 sentences" in done.out
    assert {model.model_id for model in run.inputs.model_inputs} >= {resolve(v, "translator").model_id for v in "12"}


def test_splits_scoring_and_beams_are_what_is_asked_for(
    tool: Tool, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = generate
    monkeypatch.setattr(
        "sign_models.stages.generate.generate", lambda *given: asked.append(given[3]) or real(*given)
    )  # fmt: skip
    words = ["--splits", "train", "--scoring", "glofe", "--beams", "3", "--length-penalty", "0.5", "--batch-size", "2"]
    assert tool("evaluate", "--data", tiny_data, *words).code == 0
    (params,) = asked
    assert (params.splits, params.beams, params.length_penalty, params.batch_size) == (["train"], 3, 0.5, 2)
    run = run_of("evaluate")
    assert run.data.tags["sign.scoring"] == "glofe" and run.data.params["evaluate.beams"] == "3"
    assert "train/candidate.chrf" in run.data.metrics and "test/candidate.chrf" not in run.data.metrics


def test_videos_without_texts_cannot_be_scored(tool: Tool, tiny_data: Path) -> None:
    done = tool("evaluate", "--data", tiny_data, "--splits", "none")
    assert done.code == 2 and "no video of split none has a text" in done.err and "e.g. splits=dev" in done.err
    assert run_of("evaluate").info.status == "FAILED"
    done = tool("evaluate", "--models", "champion", "--data", tiny_data)
    assert done.code == 2 and "no such alias" in done.err


@pytest.mark.parametrize(
    ("preset", "texts", "bleu4"),
    [("unisign", ENGLISH, 48.9871), ("slt", GERMAN, 36.7841), ("mska_csl", CHINESE, 55.7339)],
)
def test_files_get_the_numbers_of_the_peers_own_scripts(tool: Tool, preset: str, texts: tuple, bleu4: float) -> None:
    for name, lines in zip(("ours.txt", "references.txt"), texts, strict=True):
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("empty.txt").write_text("\n" * len(texts[1]))
    shutil.copy("ours.txt", "same.txt")
    files = ["--hypotheses", "ours.txt,empty.txt,same.txt", "--references", "references.txt"]
    assert tool("evaluate", *files, "--scoring", preset).code == 0
    run = run_of("evaluate")
    assert run.data.metrics["files/ours.txt.bleu4"] == pytest.approx(bleu4, abs=1e-4)
    assert run.data.metrics["files/empty.txt.bleu4"] == 0 and run.data.metrics["files/empty.txt.bleu4_p"] < 0.5
    assert run.data.metrics["files/same.txt.bleu4_p"] == run.data.metrics["files/same.txt.chrf_p"] == 1
    names = {entry.dataset.name for entry in run.inputs.dataset_inputs}
    assert names == {"ours.txt", "empty.txt", "same.txt", "references.txt"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"one\ntwo\n", "2 hypotheses for 1 references"), (b"\xff\n", "byte 0 is not UTF-8"), (None, "cannot be read")],
)
def test_files_that_do_not_fit_are_refused(tool: Tool, content: bytes | None, message: str) -> None:
    Path("references.txt").write_text("a line with\u2028its own separator\n", encoding="utf-8")
    if content is not None:
        Path("ours.txt").write_bytes(content)
    done = tool("evaluate", "--hypotheses", "ours.txt", "--references", "references.txt")
    assert done.code == 2 and "ours.txt" in done.err and message in done.err and "Traceback" not in done.err
    assert run_of("evaluate").info.status == "FAILED"


# lineage, prune ------------------------------------------------------------------------------------------------------


def test_lineage_is_printed_logged_and_names_what_is_missing(tool: Tool) -> None:
    done = tool("lineage", "--model", "sign-translator/1")
    assert done.code == 0 and "nothing is missing" in done.out
    for stage in ("translator", "alignment", "temporal", "skeleton"):
        assert f"models:/sign-{stage}/1" in done.out
    run = run_of("lineage")
    assert fetched(run, "lineage.json")["uri"] == "models:/sign-translator/1"
    artifacts = {file.path: file.file_size for file in client().list_artifacts(run.info.run_id)}
    assert artifacts["lineage.svg"] > 2_000 and artifacts["lineage.txt"] > 500
    client().delete_run(resolve("1", "skeleton").run_id)
    done = tool("lineage", "--model", "models:/sign-translator/1")
    assert done.code == 0 and "missing: sign-skeleton version 1: its run" in done.out
    assert run_of("lineage").data.metrics["missing"] == 1
    done = tool("lineage", "--model", "sign-translator@champion")
    assert done.code == 2 and "no such alias" in done.err and run_of("lineage").info.status == "FAILED"


def own_artifacts(database: Path, copy: Path) -> None:
    """Give a copied store files of its own: others use those of the original."""
    with sqlite3.connect(database) as opened:
        (root,) = opened.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
        root = str(Path(root.removeprefix("file://")).parent)
        columns = ("experiments.artifact_location", "runs.artifact_uri", "logged_models.artifact_location")
        for table, column in (name.split(".") for name in (*columns, "model_versions.storage_location")):
            opened.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (root, str(copy)))
    shutil.copytree(root, copy)


def test_pruning_lists_then_deletes_and_the_champion_goes_on(tool: Tool, tiny_data: Path, tmp_path: Path) -> None:
    own_artifacts(tmp_path / "mlflow.db", tmp_path / "mlruns")
    assert tool("promote", "--version", "1").code == 0
    done = tool("prune")
    assert done.code == 0 and "nothing is deleted yet" in done.out
    assert "version 2 of sign-translator" in done.out and "version 2 of sign-alignment" not in done.out
    listed = fetched(run_of("prune"), "prune.json")
    assert not listed["deleted"] and [v["name"] for v in listed["versions"]] == ["sign-translator"]
    checkpoints = [tmp_path / "mlruns" / "0" / run_id / "artifacts" / "checkpoints" for run_id in listed["checkpoints"]]
    assert len(versions_of("sign-translator")) == 3 and len(checkpoints) == 4
    assert all(any(folder.iterdir()) for folder in checkpoints)
    done = tool("prune", "--yes")
    assert done.code == 0 and "nothing is deleted yet" not in done.out
    assert fetched(run_of("prune"), "prune.json") == listed | {"deleted": True}
    assert [int(v.version) for v in versions_of("sign-translator")] == [3, 1]
    assert not any(any(folder.iterdir()) for folder in checkpoints if folder.exists())
    assert "nothing to prune" in tool("prune").out
    assert tool("evaluate", "--models", "champion,candidate", "--data", tiny_data).code == 0
    assert run_of("evaluate").data.metrics["test/champion.chrf"] == resolve("1", "translator").metrics()["test/chrf"]
    served = mlflow.pyfunc.load_model("models:/sign-translator@champion")
    assert all(answer["text"] is not None for answer in served.predict(served.input_example))


# mlflow run ----------------------------------------------------------------------------------------------------------


def test_through_what_mlflow_run_types(tool: Tool, tiny_data: Path, root: Path) -> None:
    """With a path that counts from the caller's folder, and a reason that no shell may read.

    `mlflow run` itself starts a training in tests/test_mlflow_run.py.
    """
    client().set_registered_model_alias("sign-translator", "champion", "1")
    shutil.copytree(tiny_data, "my_data")
    given = {"version": "3", "data": "my_data", "reason": "it's; $(touch x)"}
    typed = load_project(str(root)).get_entry_point("promote").compute_command(given, ".")
    shown = "python() { printf '%s\\0' \"$@\"; }; " + typed.removeprefix("exec ")
    started = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True).stdout.split("\0")
    assert started[:2] == ["-m", "entrypoints.promote"]
    done = tool("promote", *started[2:-1])
    assert done.code == 0 and "champion is version 3 (was 1)" in done.out and not Path("x").exists()
    run = run_of("promote")
    assert run.info.status == "FINISHED" and fetched(run, "promotion.json")["reason"] == "it's; $(touch x)"
    assert aliases() == {"champion": 3, "previous": 1}
