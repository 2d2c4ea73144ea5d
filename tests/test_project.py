"""What holds the project together: MLproject and commands, environments and versions, Makefile, texts."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import sign_models
from sign_models.cli import (
    compose,
    demo,
    evaluate,
    export,
    extract,
    importing,
    publish,
    registry,
    sweep,
    translate,
    values,
)
from sign_models.stages.declaration import STAGES

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("pipeline", *STAGES)
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GPU_ONLY = re.compile(r"(nvidia|cuda|triton)\b")


# MLproject, entry points, params ------------------------------------------------------------------------------------


def command(name: str):
    return importlib.import_module(f"entrypoints.{name}").main


def test_entry_points_are_the_commands() -> None:
    commands = {file.stem.rstrip("_") for file in ROOT.glob("entrypoints/[a-z]*.py")}  # import_: a keyword of Python
    assert set(MLPROJECT["entry_points"]) == {"main", *commands}
    assert set(COMMANDS) <= set(MLPROJECT["entry_points"])
    assert MLPROJECT["entry_points"]["main"] == MLPROJECT["entry_points"]["pipeline"]
    assert (ROOT / MLPROJECT["conda_env"]).is_file()


def mlflow_line(entry: str, given: dict[str, str], folder: Path) -> list[str]:
    """The words of the command that `mlflow run . -e ENTRY -P ...` starts, `exec` left out."""
    from mlflow.projects.utils import load_project

    line = load_project(str(ROOT)).get_entry_point(entry).compute_command(given, str(folder))
    assert line.startswith("exec ")
    return shlex.split(line)[1:]


@pytest.mark.parametrize("name", MLPROJECT["entry_points"])
def test_every_option_of_a_command_can_be_given_to_mlflow_run(name: str, tmp_path: Path) -> None:
    main = command("pipeline" if name == "main" else "import_" if name == "import" else name)
    for option in main.params:
        if option.name in ("overrides", "video", "relative_to", "no_inference"):  # words without a name among them
            continue
        words = mlflow_line(name, {option.name: "a b"}, tmp_path)
        assert words[:3] == ["python", "-m", f"entrypoints.{main.name}"]
        given = main.make_context(main.name, words[3:]).params
        assert given[option.name] == "a b" and Path(given["relative_to"]) == Path.cwd(), option.name


@pytest.mark.parametrize("name", MLPROJECT["entry_points"])
def test_mlflow_logs_no_param_that_nobody_gave(name: str, tmp_path: Path) -> None:
    from mlflow.projects.utils import load_project

    entry = load_project(str(ROOT)).get_entry_point(name)
    logged, others = entry.compute_parameters({"seed": "1"}, str(tmp_path))
    assert set(logged) == {"relative_to"} and others == {"seed": "1"}


@pytest.mark.parametrize(
    ("name", "given", "typed"),
    [
        *((name, {}, "") for name in COMMANDS),
        *((name, {"preset": "base"}, "--preset base") for name in COMMANDS),
        ("main", {"stage": "skeleton", "skip_trained": "true"}, "--stage skeleton --skip-trained"),
        ("pipeline", {"inference": "false"}, "--no-inference"),
        ("pipeline", {"preset": "quick", "alignment.finetune": "false"}, "--preset quick --alignment.finetune false"),
        ("alignment", {"epochs": "50"}, "--epochs 50"),
        ("temporal", {"skeleton_model": "models:/sign-skeleton@x"}, "--skeleton-model models:/sign-skeleton@x"),
        ("skeleton", {"data": "my clips; $(touch x)"}, "--data 'my clips; $(touch x)'"),
    ],
)
def test_mlflow_builds_the_command_that_people_type(name: str, given: dict, typed: str, tmp_path: Path) -> None:
    words = mlflow_line(name, given, tmp_path)
    main = command("pipeline" if name == "main" else name)
    here = ["--relative-to", str(Path.cwd())]
    assert options_of(main, words[3:]) == options_of(main, [*shlex.split(typed), *here])


TOOLS = {
    "compose": compose.parse,
    "demo": demo.parse,
    "evaluate": evaluate.parse,
    "export": export.parse,
    "extract": extract.parse,
    "import": importing.parse,
    "lineage": registry.parse_lineage,
    "promote": registry.parse_promote,
    "prune": registry.parse_prune,
    "publish": publish.parse,
    "translate": translate.parse,
}


def options_of(main, arguments: list[str]):
    given = main.make_context(main.name, list(arguments)).params
    if main.name in TOOLS:
        return TOOLS[main.name](given)
    overrides = given.pop("overrides")
    if main.name == "sweep":
        return sweep.parse(given, overrides)
    return values.parse(main.stage, given, overrides)


# Environments and versions --------------------------------------------------------------------------------------------


def pins(lines: list[str]) -> dict[str, str]:
    found = [line.split("==") for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(name): version.strip() for name, version in found}


LOCK = pins((ROOT / "requirements.lock").read_text().splitlines())
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
DIRECT = [Requirement(line) for line in PYPROJECT["dependencies"]]
DEV = [Requirement(line) for line in PYPROJECT["optional-dependencies"]["dev"]]


def test_conda_yaml_repeats_the_lock() -> None:
    *conda, pip = CONDA
    assert conda == [f"python{PYPROJECT['requires-python']}", "pip"]
    direct = {canonicalize_name(requirement.name) for requirement in DIRECT}
    assert pins(pip["pip"]) == {name: LOCK[name] for name in direct}


def test_lock_satisfies_pyproject() -> None:
    for requirement in [*DIRECT, *DEV]:
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)]), requirement
    assert LOCK["torch"] == "2.13.0"


def test_lock_is_transitive_and_holds_nothing_else() -> None:
    reached: set[str] = set()

    def walk(requirement: Requirement) -> None:
        name = canonicalize_name(requirement.name)
        if (name in reached and not requirement.extras) or GPU_ONLY.match(name):
            return
        reached.add(name)
        assert requirement.specifier.contains(LOCK[name], prereleases=True), requirement
        for line in requires(name) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
                walk(needed)

    for requirement in [*DIRECT, *DEV]:
        walk(requirement)
    assert reached == set(LOCK)


def test_lock_suits_every_machine() -> None:
    assert not [name for name in LOCK if GPU_ONLY.match(name)]
    assert not [version for version in LOCK.values() if "+" in version]


# Makefile, CI, text ---------------------------------------------------------------------------------------------------


def test_make_explains_every_target() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split())
    assert {"setup", "pipeline", "test", "check", "ui", "help"} <= targets
    assert set(re.findall(r"^  make (\w+)", said, re.M)) == targets


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    ran = {step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step}
    assert {line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")} <= ran


def test_every_python_that_may_be_used_is_tested_and_taken_by_make() -> None:
    allowed = SpecifierSet(PYPROJECT["requires-python"])
    versions = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    named = [line.split(" :: ")[-1] for line in PYPROJECT["classifiers"] if "Python :: 3." in line]
    assert named == versions
    taken = re.findall(r"command -v python(3\.\d+)", (ROOT / "Makefile").read_text())
    assert taken == versions
    for readme in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"\b3\.\d\d\b", (ROOT / readme).read_text().split("```")[0])) == set(versions)


@pytest.mark.parametrize(("version", "taken"), [("3.10", False), ("3.12", True), ("3.14", False)])
def test_make_setup_refuses_another_python(version: str, taken: bool, tmp_path: Path) -> None:
    check = re.search(r"^\t@\$\(PYTHON\) -c '(.*)'$", (ROOT / "Makefile").read_text(), re.M)[1]
    code = check.replace("sys.version_info[:2]", str(tuple(map(int, version.split(".")))))
    assert code != check
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode == 0) == taken and ("make setup PYTHON=" in done.stderr) != taken


def test_pre_commit_lints_with_the_locked_version() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert next(repo["rev"] for repo in hooks if "ruff" in repo["repo"]) == f"v{LOCK['ruff']}"


def test_the_changelog_begins_with_this_version() -> None:
    latest = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert latest and latest.group(1) == sign_models.__version__


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their names: of two, one could not be collected with the other."""
    names = [file.name for file in (ROOT / "tests").rglob("*.py") if file.name != "conftest.py"]
    assert [name for name in sorted(set(names)) if names.count(name) > 1 and name.startswith("test_")] == []


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"set -euo pipefail", "make test"} <= set(script.read_text().splitlines())


@pytest.mark.parametrize(
    "name", ["requirements.lock", "conda.yaml", "pyproject.toml", "Makefile", ".ci/run", "MLproject"]
)
def test_no_host_and_no_machine_path(name: str) -> None:
    assert not re.search(r"://|index-url|find-links|/root|/work|/home", (ROOT / name).read_text())


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_readme_tells_commands_that_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data").mkdir()
    (tmp_path / "my.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
    (tmp_path / "space.yaml").write_text("training.lr: {low: 1e-4, high: 1e-3}")
    lines = re.findall(r"(?:^|`)((?:mlflow run \.|python -m entrypoints\.\w).*?)(?: {2,}#|`|$)", text, re.M)
    assert len(lines) > 12
    for line in lines:
        words = shlex.split(line)
        if words[0] == "mlflow":
            entry = words[words.index("-e") + 1] if "-e" in words else "main"
            given = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-P")
            words = mlflow_line(entry, given, tmp_path)
        name = words[2].split(".")[1]
        options_of(command("import_" if name == "import" else name), words[3:])
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "docs/running.md", "docs/registry.md"])
def test_no_command_needs_a_champion_before_one_is_promoted(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```(?:bash|python)\n(.*?)```", text, re.S)).splitlines()
    by_default = r"(-e |entrypoints\.|make )(demo|translate|publish|export)\b(?!.*(model|version)[= ])"
    needs = [i for i, line in enumerate(lines) if re.search(rf"champion|rollback|{by_default}", line.split("  #")[0])]
    promotes = [i for i, line in enumerate(lines) if "-e promote" in line and "rollback" not in line]
    assert not needs or (promotes and promotes[0] < needs[0]), lines[needs[0]]


def test_readmes_show_the_same_commands() -> None:
    def commands(name: str) -> list[str]:
        blocks = re.findall(r"```bash\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
        return [line.split("  #")[0].rstrip() for line in "".join(blocks).splitlines()]

    assert commands("README.md") == commands("README.zh-CN.md")


def test_readmes_are_in_step_and_short() -> None:
    """The same headings, tables, figures and links, whatever the language; a newcomer reads at most 120 lines."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")]
    assert all(len(text.splitlines()) <= 120 for text in texts)
    for pattern in (r"^#+", r"^\|.*\|$", r"^```\w*$"):
        assert len({len(re.findall(pattern, text, re.M)) for text in texts}) == 1, pattern
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh-CN.md"} for text in texts]
    assert links[0] == links[1]
    tables = [re.findall(r"\d+\.\d+", " ".join(re.findall(r"^\|.*$", text, re.M))) for text in texts]
    assert tables[0] == tables[1] and len(tables[0]) >= 5
