from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sign_models.tracking.checkpoints import RunCheckpoints
from sign_models.tracking.registered.lineage import trace
from sign_models.tracking.registered.promotion import promote
from sign_models.tracking.registered.prune import Held, needed, plan, prune
from sign_models.tracking.registered.registration import register
from sign_models.tracking.registered.registry import resolve, versions_of
from sign_models.tracking.runs import stage_run
from tests.tracking import fakes


@st.composite
def histories(draw: st.DrawFn) -> list[Held]:
    """Versions in the order they were made: each built on any earlier ones, some aliased."""
    made: list[Held] = []
    for i in range(draw(st.integers(0, 12))):
        upstream = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
        aliases = draw(st.sampled_from([(), (), (), ("champion",), ("candidate", "mine")]))
        made.append(Held("sign-temporal", i, f"m-{i}", f"run-{i}", aliases, tuple(u.model_id for u in upstream)))
    return made


def ancestors(version: Held, versions: dict[str, Held]) -> Iterator[str]:
    yield version.model_id
    for model_id in version.upstream:
        yield from ancestors(versions[model_id], versions)


@given(histories(), st.data())
@settings(max_examples=100, deadline=None)
def test_exactly_what_an_alias_or_an_open_run_rests_on_is_needed(history: list[Held], data: st.DataObject) -> None:
    by_id = {v.model_id: v for v in history}
    used = data.draw(st.sets(st.sampled_from(sorted(by_id)))) if by_id else set()
    roots = [v for v in history if v.aliases or v.model_id in used]
    assert needed(history, used) == {model_id for root in roots for model_id in ancestors(root, by_id)}


@pytest.mark.usefixtures("tracking", "fakes")
class TestInAStore:
    def versions(self) -> dict[str, set[int]]:
        return {name: {int(v.version) for v in versions_of(f"sign-{name}")} for name in fakes.ROLES}

    def test_only_the_lineage_of_aliases_stays(self, tmp_path: Path) -> None:
        first, second, third = (fakes.train_all(tmp_path / "out", weight) for weight in (1.0, 2.0, 3.0))
        promote("sign-translator", "1")
        found = plan()
        assert {(v.name, v.version) for v in found.versions} == {(model.name, 2) for model in second.values()}
        assert self.versions() == dict.fromkeys(fakes.ROLES, {1, 2, 3})  # nothing went yet
        assert prune() == found and plan().versions == ()
        assert self.versions() == dict.fromkeys(fakes.ROLES, {1, 3})
        for kept in ("sign-translator@champion", "sign-translator@candidate"):
            assert not any(node.missing for node in trace(kept).walk())
        for model in (*first.values(), *third.values()):
            assert fakes.Fake(resolve(str(model.version), model.stage).path())
        assert not any(Path(model.location).exists() for model in second.values())

    def test_checkpoints_go_where_a_run_is_finished_and_nowhere_else(self, tmp_path: Path) -> None:
        work = fakes.write(tmp_path / "work", "skeleton")
        with stage_run("skeleton") as finished:
            RunCheckpoints(finished).save(work, 1, best=True)
            finished.log_text("kept", "report.txt")
        with pytest.raises(KeyboardInterrupt), stage_run("skeleton") as cut:
            RunCheckpoints(cut).save(work, 1, best=True)
            raise KeyboardInterrupt
        with stage_run("skeleton") as working:
            RunCheckpoints(working).save(work, 1, best=True)
            assert plan().checkpoints == {finished.id: "skeleton"}
            prune()
            assert plan().checkpoints == {}
            left = {run.id: RunCheckpoints(run).steps() for run in (finished, cut, working)}
        assert left == {finished.id: [], cut.id: [1], working.id: [1]}
        assert [f.path for f in mlflow.MlflowClient().list_artifacts(finished.id)] == ["report.txt"]

    def test_what_an_unfinished_run_was_given_stays(self, tmp_path: Path) -> None:
        made = fakes.train_all(tmp_path / "out")
        mlflow.MlflowClient().delete_registered_model_alias("sign-translator", "candidate")
        for name in ("sign-skeleton", "sign-temporal", "sign-alignment"):
            mlflow.MlflowClient().delete_registered_model_alias(name, "candidate")
        with pytest.raises(KeyboardInterrupt), stage_run("temporal") as cut:
            cut.link_inputs([made["skeleton"].model_id])
            RunCheckpoints(cut).save(fakes.write(tmp_path / "work", "temporal"), 1, best=True)
            raise KeyboardInterrupt
        assert {v.name for v in plan().versions} == {"sign-temporal", "sign-alignment", "sign-translator"}
        with stage_run("represent") as at_work:
            at_work.set_tags({"sign.upstream.temporal.model_id": made["temporal"].model_id})
            assert {v.name for v in plan().versions} == {"sign-alignment", "sign-translator"}

    def test_a_version_that_is_being_registered_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = mlflow.MlflowClient.set_registered_model_alias

        def look_first(*arguments: str) -> None:
            assert len(versions_of("sign-skeleton")) == 1 and plan().versions == ()
            real(*arguments)

        monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", look_first)
        with stage_run("skeleton") as run:
            folder = fakes.write(tmp_path / "out", "skeleton")
            register(
                run, "skeleton", folder, metrics={}, upstream={}, tags={}, step=1
            )  # fmt: skip

    def test_what_is_not_ours_stays(self, tmp_path: Path) -> None:
        first = fakes.train_all(tmp_path / "out", 1.0)["skeleton"]
        fakes.train_all(tmp_path / "out", 2.0)
        client = mlflow.MlflowClient()
        client.create_registered_model("mine")
        client.create_model_version("mine", f"models:/{first.model_id}", model_id=first.model_id)
        foreign = client.create_model_version("sign-skeleton", f"models:/{first.model_id}", model_id=first.model_id)
        strangers = client.create_run("1", tags={"sign.checkpoint.last": "x"})
        client.log_text(strangers.info.run_id, "theirs", "checkpoints/theirs.txt")
        client.set_terminated(strangers.info.run_id)
        prune()
        assert self.versions()["skeleton"] == {2, int(foreign.version)}
        assert fakes.Fake(Path(first.location) / "artifacts/model").weight == 1.0
        assert client.list_artifacts(strangers.info.run_id, "checkpoints")
