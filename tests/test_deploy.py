"""deploy/: what MLflow's project backends read, read by MLflow's own loaders."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.projects import _parse_kubernetes_config, databricks
from mlflow.projects._project_spec import load_project
from mlflow.projects.docker import validate_docker_env
from mlflow.projects.utils import get_entry_point_command

KUBERNETES = Path("deploy/kubernetes")
CLUSTER = Path("deploy/databricks/cluster.json")
STAGES = ("pipeline", "skeleton", "temporal", "alignment")


@pytest.fixture(autouse=True)
def from_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


@pytest.mark.parametrize("name", ["main", *STAGES])
def test_the_container_has_the_entry_points_of_the_project(name: str) -> None:
    project, usual = load_project(str(KUBERNETES)), load_project(".")
    validate_docker_env(project)
    entry, here = project.get_entry_point(name), usual.get_entry_point(name)
    given = {"processes": "8", "training.lr": "1e-4", "skip_trained" if name in ("main", "pipeline") else "seed": "1"}
    [told] = get_entry_point_command(project, name, given, None)
    words = shlex.split(told)
    assert words[:2] == ["python", "-m"] and words[2] in shlex.split(here.command) and not entry.parameters
    context = importlib.import_module(words[2]).main.make_context(name, words[3:])
    read = {name: value for name, value in context.params.items() if value and name != "overrides"}
    assert read | {"training.lr": "1e-4"} == given and context.params["overrides"] == ("--training.lr", "1e-4")


def test_the_job_is_one_that_mlflow_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _parse_kubernetes_config(json.loads((KUBERNETES / "backend.json").read_text()))
    assert config["repository-uri"] == load_project(str(KUBERNETES)).docker_env["image"]
    for name in (
        "kubernetes",
        "kubernetes.config",
        "kubernetes.config.config_exception",
    ):  # to send it: not needed here
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["kubernetes.config.config_exception"].ConfigException = Exception  # type: ignore[attr-defined]
    from mlflow.projects.kubernetes import _get_kubernetes_job_definition, _get_run_command

    job = _get_kubernetes_job_definition(
        "sign-models",
        config["repository-uri"],
        "sha256:0",
        _get_run_command(["python -m entrypoints.temporal --processes 8"]),
        {"MLFLOW_RUN_ID": "r"},
        config["kube-job-template"],
    )
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == ["python", "-m", "entrypoints.temporal", "--processes", "8"]
    assert container["image"] == f"{config['repository-uri']}@sha256:0"
    assert {"name": "MLFLOW_RUN_ID", "value": "r"} in container["env"]
    assert job["metadata"]["namespace"] and pod["restartPolicy"] == "Never" and job["spec"]["backoffLimit"] == 0
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_image_is_made_of_files_that_are_here() -> None:
    lines = (KUBERNETES / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert copied == ["requirements.lock", "."] and all(Path(source).exists() for source in copied)


def test_the_cluster_is_one_that_mlflow_asks_for_with_the_locked_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = json.loads(CLUSTER.read_text())
    databricks.before_run_validations("databricks", spec)
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        databricks.DatabricksJobRunner, "_jobs_runs_submit", lambda self, body: sent.append(body) or {"run_id": 1}
    )
    assert databricks.DatabricksJobRunner("databricks")._run_shell_command_job(".", "true", {}, spec) == 1
    [body] = sent
    assert body["new_cluster"]["num_workers"] == 0  # one machine: the processes are those of `processes`
    libraries = [library["pypi"]["package"] for library in body["libraries"]]
    *_, conda = yaml.safe_load(Path("conda.yaml").read_text())["dependencies"]
    assert sorted(libraries) == sorted(conda["pip"])
