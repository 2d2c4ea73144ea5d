"""A version published to a folder or to the Hub is read back as it was, or refused with what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import yaml
from huggingface_hub import constants

import sign_models as sm
from sign_models.errors import ResourceError, SignError, UpstreamError
from sign_models.keypoints.example import example_clips
from sign_models.tracking.registered.registry import resolve
from tests import hub
from tests.conftest import Command, Done

REPO = "user/translator"


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    """An empty Hub, which this process takes for the real one, with a token and a cache of its own."""
    with hub.serving() as served:
        template = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in {
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,  # the Hub's own protocol for weights; LFS is the other one
            "ENDPOINT": served.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
        clock = SimpleNamespace(**vars(time) | {"sleep": lambda _: pytest.fail("the client asks again")})
        monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
        yield served


def publish(command: Command, repo: object, *more: object) -> Done:
    return command("publish", "--version", "1", "--repo", repo, *more, data=False, params=False)


def texts(translator: sm.Translator) -> list[list[tuple]]:
    clips = [replace(clip, fps=25.0) for clip in example_clips()]
    return [[(s.start, s.end, s.text, s.confidence) for s in translator.translate(clip)] for clip in clips]


@pytest.fixture
def registered(pipeline: Command) -> list[list[tuple]]:
    """What the registered version answers; the store is that of `pipeline`."""
    return texts(sm.load("models:/sign-translator/1"))


def test_a_folder_is_read_back_bit_by_bit(pipeline: Command, registered: list, tmp_path: Path) -> None:
    done = publish(pipeline, tmp_path / "out")
    assert done.code == 0 and str(tmp_path / "out") in done.out
    with pytest.MonkeyPatch.context() as elsewhere:  # no registry
        elsewhere.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
        translator = sm.load(tmp_path / "out")
        assert texts(translator) == registered
        assert texts(sm.load(str(tmp_path / "out"))) == registered
    [run] = mlflow.search_runs(filter_string="tags.`sign.stage` = 'publish'", output_format="list")
    assert run.data.tags["sign.published"] == str(tmp_path / "out")
    assert mlflow.get_run(run.info.run_id).inputs.model_inputs
    assert publish(pipeline, tmp_path / "out").code == 0  # the same again


def test_the_card_says_what_the_registry_says_and_no_place_of_this_machine(
    pipeline: Command, tmp_path: Path, fake_hub: hub.Hub
) -> None:
    assert publish(pipeline, REPO).code == 0
    card = fake_hub.repos[REPO][-1]["README.md"].decode()
    registry = mlflow.MlflowClient().get_model_version("sign-translator", "1").description
    facts = [line for line in registry.splitlines() if line.startswith(("| ", "- **", "It knows"))]
    assert len(facts) > 6
    assert [line.split(" (`")[0] for line in facts if line.split(" (`")[0] not in card] == []
    assert card.startswith("---\n") and f'sm.load("hf://{REPO}")' in card
    assert "20 clips" in card and "extractors: files that name no extractor" in card and "2 without text" in card
    assert str(tmp_path.parent) not in card and str(Path.home()) not in card


@pytest.mark.parametrize(
    ("tag", "asked", "told", "shown"),
    [
        ("", (), {"license": "unknown"}, "unknown: none was stated"),
        ("cc-by-4.0", (), {"license": "cc-by-4.0"}, "cc-by-4.0"),
        ("cc-by-4.0", ("--license", "MIT"), {"license": "mit"}, "MIT"),
        ("", ("--license", 'Ours: "no" use'), {"license": "other", "license_name": 'Ours: "no" use'}, 'Ours: "no" use'),
    ],
)
def test_the_card_states_the_licence(
    pipeline: Command, tmp_path: Path, tag: str, asked: tuple, told: dict, shown: str
) -> None:
    if tag:
        mlflow.MlflowClient().set_model_version_tag("sign-translator", "1", "sign.license", tag)
    assert publish(pipeline, tmp_path / "out", *asked).code == 0
    _, front, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert {k: v for k, v in yaml.safe_load(front).items() if k.startswith("license")} == told
    assert f"| license | {shown}" in text
    assert (
        json.loads((tmp_path / "out" / "sign_models.json").read_text())["license"]
        == (asked or ("", tag or "unknown"))[1]
    )
    other = publish(pipeline, tmp_path / "out", "--license", "odbl")
    assert other.code == 2 and "--replace" in other.err
    assert publish(pipeline, tmp_path / "out", "--license", "odbl", "--replace").code == 0
    assert "license: odbl" in (tmp_path / "out" / "README.md").read_text()


def test_the_hub_gives_back_what_it_was_given(
    pipeline: Command, registered: list, fake_hub: hub.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = publish(pipeline, REPO)
    assert done.code == 0, done.err
    commit = fake_hub.oid(REPO, 1)
    assert fake_hub.private[REPO] and f"hf://{REPO}@{commit}" in done.out
    fake_hub.repos[REPO][-1]["modeling.py"] = fake_hub.repos[REPO][-1]["tokenizer/code.py"] = b"raise SystemExit"
    translator = sm.load(f"hf://{REPO}")
    assert texts(translator) == registered and translator.uri == f"hf://{REPO}@{commit}"
    assert not [request for request in fake_hub.requests if request.endswith(".py")]
    assert texts(sm.load(f"hf://{REPO}@{commit}")) == registered
    assert publish(pipeline, REPO).code == 0 and len(fake_hub.repos[REPO]) == 2  # the same again: no commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert texts(sm.load(f"hf://{REPO}")) == registered  # of the cache


def test_load_needs_the_endpoint_alone(built: Path, pipeline: Command, fake_hub: hub.Hub, tmp_path: Path) -> None:
    """In a process of its own, with nothing of this one: no registry, no checkout of the project."""
    assert publish(pipeline, f"hf://{REPO}", "--private", "false").code == 0
    code = f"import sign_models as sm; print(sm.load('hf://{REPO}').uri)"
    env = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "HF_TOKEN", "HF_HUB_OFFLINE")}
    env |= {"HF_ENDPOINT": fake_hub.url, "HF_HOME": str(tmp_path / "other")}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"hf://{REPO}@{fake_hub.oid(REPO, 1)}\n", done.stderr


@pytest.mark.parametrize("change", ["changed", "missing", "added", "outside", "no manifest", "parts", "skeleton"])
def test_what_is_not_whole_is_refused(pipeline: Command, change: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert publish(pipeline, out).code == 0
    manifest = json.loads((out / "sign_models.json").read_text())
    wanted = "tokenizer/tokenizer.json"
    if change == "changed":
        (out / wanted).write_text((out / wanted).read_text() + " ")
    elif change == "missing":
        (out / wanted).unlink()
    elif change == "added":
        (out / (wanted := "tokenizer/added_tokens.json")).write_text("{}")
    elif change == "outside":
        manifest["files"][wanted := "tokenizer/../../secret.json"] = "0" * 64
        (out / "sign_models.json").write_text(json.dumps(manifest))
    elif change == "parts":
        (out / (wanted := "sign_models.json")).write_text(json.dumps(manifest | {"parts": ["tail"]}))
    elif change == "no manifest":
        (out / "sign_models.json").write_text("[]")
        wanted = "sign_models.json"
    else:
        wanted = "SkeletonModel"
        shutil.rmtree(out)
        artifacts = mlflow.artifacts.download_artifacts("models:/sign-skeleton/1/artifacts/model")
        shutil.copytree(artifacts, out)
    with pytest.raises(UpstreamError) as refused:
        sm.load(out)
    assert wanted in str(refused.value) and str(out) in str(refused.value)


def test_nothing_else_is_written_over(pipeline: Command, fake_hub: hub.Hub, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    fake_hub.commit("user/mine", {"README.md": b"mine"})
    for place, more in (
        (tmp_path / "mine", ()),
        (tmp_path / "mine", ("--replace",)),
        (tmp_path / "mlflow.db", ()),
        ("user/mine", ()),
    ):
        done = publish(pipeline, place, *more)
        assert done.code == 2 and str(place) in done.err and len(done.err.strip().splitlines()) == 1
        assert ("replace" in done.err) == (place == "user/mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert fake_hub.repos["user/mine"] == [{"README.md": b"mine"}]


def test_another_version_takes_the_place_when_asked(pipeline: Command, fake_hub: hub.Hub, tmp_path: Path) -> None:
    for place in (tmp_path / "out", REPO):
        assert publish(pipeline, place).code == 0
    out = tmp_path / "out"
    (out / "LICENSE").write_text("mine")
    (out / "config.json").write_text("{}")  # stands for a publication of another version, or one that was cut
    old = fake_hub.repos[REPO][-1]
    old["sign_models.json"] = old["sign_models.json"].replace(b"sign-translator/1", b"sign-translator/0")
    old["tokenizer/gone.json"] = old["LICENSE"] = b"x"
    for place in (out, REPO):
        assert publish(pipeline, place).code == 2
        assert publish(pipeline, place, "--replace").code == 0
    assert (out / "LICENSE").read_text() == "mine" and sm.load(out)
    new = fake_hub.repos[REPO][-1]
    assert "LICENSE" in new and "tokenizer/gone.json" not in new and sm.load(f"hf://{REPO}")


@pytest.mark.parametrize("trouble", ["no token", "another's token", "offline", "away", "weights"])
def test_troubles_of_the_hub_are_one_message(
    trouble: str, pipeline: Command, fake_hub: hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"no token": "hf auth login", "another's token": "HF_TOKEN"}.get(trouble, "HF_HUB_OFFLINE")
    if trouble == "no token":
        monkeypatch.delenv("HF_TOKEN")
    elif trouble == "another's token":
        monkeypatch.setenv("HF_TOKEN", "hf_another")
    elif trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif trouble == "weights":  # this Hub knows no xet: its client finds nobody to send weights to
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    else:
        fake_hub.shutdown()
        fake_hub.server_close()
    done = publish(pipeline, REPO)
    assert done.code == 2 and wanted in done.err and REPO in done.err
    assert len(done.err.strip().splitlines()) == 1
    if trouble in ("offline", "away"):
        with pytest.raises(ResourceError, match=wanted):
            sm.load(f"hf://{REPO}")


def test_load_says_what_is_not_there(fake_hub: hub.Hub, built: Path) -> None:
    fake_hub.commit("user/other", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    for uri, wanted in {
        "hf://user/none": "no such repository",
        "hf://user/other": "publish",
        "hf://user/other@v9": "no such revision",
        "hf://user": "hf://user/name",
        "hf://a/b/c": "hf://user/name",
    }.items():
        with pytest.raises(SignError, match=wanted):
            sm.load(uri)
    assert not [request for request in fake_hub.requests if request.endswith(("config.json", ".bin"))]


def test_a_name_of_the_hub_is_told_from_a_folder(tmp_path: Path) -> None:
    from sign_models.cli.publish import parse

    (tmp_path / "there" / "already").mkdir(parents=True)
    names = {"relative_to": str(tmp_path), "version": "", "private": "", "replace": "", "experiment": ""}
    for typed, found in {
        "user/name": "user/name",
        "hf://user/name": "user/name",
        "./user/name": tmp_path / "user/name",
        "name": tmp_path / "name",
        "a/b/c": tmp_path / "a/b/c",
        "there/already": tmp_path / "there/already",
        str(tmp_path / "x"): tmp_path / "x",
    }.items():
        assert parse({**names, "repo": typed}).repo == found
    for typed in ("", "hf://user", "hf://user/name@main", "us er/name"):
        with pytest.raises(SignError, match="repo"):
            parse({**names, "repo": typed})


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("spec", ["champion", "sign-translator@champion", "models:/sign-translator@champion"])
def test_before_any_promotion_the_message_says_to_promote(spec: str) -> None:
    with pytest.raises(
        UpstreamError, match=r"no such alias; .*; promote one first \(-e promote -P version=candidate\)"
    ):
        resolve(spec, "translator")
