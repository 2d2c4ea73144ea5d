"""What holds the project together: MLproject and commands, environments and versions, import directions, Makefile."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sign_models import cli, evaluation_phase, import_phase, registry_phase
from sign_models.options import STAGES
from sign_models.params import load
from tools import conda_standin

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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_a_parameter_and_passed_on(name: str) -> None:
    entry = MLPROJECT["entry_points"][name]
    options = {option.name for option in command(name).params} - {"overrides", "no_inference", "experiment"}
    assert set(entry["parameters"]) == options
    passed = re.findall(r"--([\w-]+) \{(\w+)\}", entry["command"])
    assert sorted(parameter for _, parameter in passed) == sorted(options)
    assert all(option.replace("-", "_") == parameter for option, parameter in passed)
    assert entry["command"].startswith(f"exec python -m entrypoints.{name} ")
    assert all(
        value == ({"type": "path", "default": "."} if parameter == "relative_to" else {"default": ""})
        for parameter, value in entry["parameters"].items()
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_no_logged_name_collides_with_a_parameter_of_mlproject(name: str) -> None:
    logged = {key for stage in STAGES for key in load.flatten(getattr(load.resolve(), stage), stage)}
    assert not logged & set(MLPROJECT["entry_points"][name]["parameters"])


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
    from mlflow.projects.utils import load_project

    line = load_project(str(ROOT)).get_entry_point(name).compute_command(given, str(tmp_path))
    words = shlex.split(line)
    assert words[:3] == ["exec", "python", "-m"]
    main = command("pipeline" if name == "main" else name)
    here = ["--relative-to", str(Path.cwd())]
    assert options_of(main, words[4:]) == options_of(main, [*shlex.split(typed), *here])


TOOLS = {
    "evaluate": evaluation_phase.parse,
    "import": import_phase.parse,
    "lineage": registry_phase.parse_lineage,
    "promote": registry_phase.parse_promote,
    "prune": registry_phase.parse_prune,
}


def options_of(main, arguments: list[str]):
    given = main.make_context(main.name, list(arguments)).params
    if main.name in TOOLS:
        return TOOLS[main.name](given)
    overrides = given.pop("overrides")
    return cli.parse(main.stage, given, overrides)


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
    assert conda == ["python>=3.11,<3.12", "pip"]
    assert PYPROJECT["requires-python"] == ">=3.11,<3.12"
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
        if name in reached and not requirement.extras or GPU_ONLY.match(name):
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


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Absolute names that a file imports, and whether it does so on being imported itself."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:-1])
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    in_function = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            stem = node.module if not node.level else f"{base}.{node.module}" if node.module else base
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) not in in_function | typing_only


SOURCES = sorted([*ROOT.glob("sign_models/**/*.py"), *ROOT.glob("entrypoints/*.py")])
NOT_IMPORTED = {"spoken-to-signed"}  # its clips are read, its code is not


WITH_TORCH = {"triton"}  # torch for GPUs asks for it, torch for CPUs has none


def test_dependencies_are_what_the_code_imports() -> None:
    owners = {top: {canonicalize_name(name) for name in names} for top, names in packages_distributions().items()}
    ours = {*sys.stdlib_module_names, "sign_models", "entrypoints", *WITH_TORCH}
    used = {top for file in SOURCES for top in (name.split(".")[0] for name, _ in imports(file)) if top not in ours}
    declared = {canonicalize_name(requirement.name) for requirement in DIRECT}
    assert [top for top in sorted(used) if not owners[top] & declared] == []
    assert declared - set().union(*(owners[top] for top in used)) == NOT_IMPORTED


# Import directions (docs/architecture.md) -----------------------------------------------------------------------------

MAY_IMPORT = {  # a part of the package -> the parts it may import besides itself and errors
    "errors": set(),
    "processes": set(),
    "launch": set(),
    "params": {"evaluation"},
    "options": {"params"},
    "keypoints": set(),
    "kernels": {"keypoints"},
    "models": {"kernels", "keypoints", "processes"},
    "data": {"kernels", "keypoints", "params", "pictures"},
    "evaluation": set(),
    "pictures": {"keypoints"},
    "step": {"data", "processes", "training"},
    "training": {"data", "kernels", "keypoints", "models", "params", "processes", "step"},
    "stages": {"data", "evaluation", "keypoints", "models", "params", "pictures", "processes", "training"},
    "tracking": {"data", "evaluation", "keypoints", "models", "options", "params", "pictures", "training"},
    "summary": {"stages", "tracking"},
    "command": {"data", "models", "options", "params", "summary", "tracking"},
    "phases": {
        *("command", "data", "keypoints", "models", "options", "params", "processes", "stages", "summary", "tracking"),
        "training",
    },
    "cli": {"launch", "options", "params", "tracking"},
    "import_phase": {"data", "tracking"},
    "evaluation_phase": {
        *("cli", "data", "evaluation", "models", "options", "params", "phases", "stages", "tracking", "training"),
    },
    "registry_phase": {"cli", "command", "data", "evaluation", "evaluation_phase", "params", "phases", "tracking"},
    "entrypoints": {"cli", "evaluation_phase", "import_phase", "options", "phases", "registry_phase"},
}
ONLY_IN = {
    "mlflow": {"tracking"},
    "click": {"cli", "data", "entrypoints", "summary"},
    "yaml": {"keypoints", "params", "tracking"},
    "triton": {"kernels"},
}
MODELS_KNOW = {"torch", "transformers", "safetensors", "tokenizers", "numpy", *WITH_TORCH}


def part(name: str) -> str:
    top, _, rest = name.partition(".")
    return top if top == "entrypoints" else rest.split(".")[0]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file: Path) -> None:
    mine = part(".".join(file.relative_to(ROOT).with_suffix("").parts))
    if mine == "__init__":
        assert not list(imports(file))
        return
    for name, _ in imports(file):
        top = name.split(".")[0]
        if top in ("sign_models", "entrypoints"):
            other = part(name) if name != "sign_models" else ""
            assert other in {"", mine, "errors"} | MAY_IMPORT[mine], name
        else:
            assert mine in ONLY_IN.get(top, {mine}), name
            assert mine != "models" or top in MODELS_KNOW | sys.stdlib_module_names, name


LIGHT = (
    *("sign_models.params", "sign_models.options", "sign_models.cli", "sign_models.phases"),
    *("sign_models.import_phase", "sign_models.evaluation_phase", "sign_models.registry_phase"),
    *("sign_models.keypoints.layouts", "sign_models.keypoints.formats", "sign_models.data.inputs"),
    *(f"entrypoints.{name}" for name in COMMANDS),
)


def test_light_modules_load_nothing_heavy() -> None:
    code = f"""
import importlib, sys
for name in {LIGHT!r}:
    importlib.import_module(name)
    heavy = {{"torch", "transformers", "matplotlib", "pose_format"}} & set(sys.modules)
    assert not heavy, (name, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# The stand-in for conda -----------------------------------------------------------------------------------------------


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """bin/ with the stand-in, in front of a PATH that has no other conda."""
    bin = tmp_path / "bin"
    bin.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(bin), str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"]))
    for name in ("CONDA_EXE", "MLFLOW_CONDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(conda_standin.shutil, "which", lambda name, path: None)
    conda_standin.installed(bin / "conda")
    return bin


def environment_file(folder: Path, *pip: str, python: str = "python>=3.11,<3.12") -> str:
    file = folder / "conda.yaml"
    file.write_text(yaml.safe_dump({"dependencies": [python, "pip", {"pip": list(pip)}]}))
    return str(file)


def test_standin_answers_what_mlflow_asks(standin: Path) -> None:
    def conda(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["conda", *arguments], capture_output=True, text=True, timeout=60)

    assert conda("--help").returncode == 0
    assert conda("env", "list", "--json").stdout.split() == ['{"envs":', "[]}"]
    create = conda("env", "create", "-n", "mlflow-1234", "--file", str(ROOT / "conda.yaml"))
    assert (create.returncode, create.stderr) == (0, "")
    assert conda("install", "numpy").returncode == 2


@pytest.mark.parametrize(
    ("pip", "python", "message"),
    [
        ("pyyaml==0.1", "python>=3.11,<3.12", "pyyaml==0.1 is asked for"),
        ("no-such-package==1.0", "python>=3.11,<3.12", "no-such-package==1.0 is not installed"),
        ("-r other.txt", "python>=3.11,<3.12", "cannot be checked"),
        ("pyyaml", "python=3.8", "python=3.8 is asked for"),
        ("pyyaml", "ffmpeg", "which only conda can install"),
    ],
)
def test_standin_refuses_another_environment(tmp_path: Path, capsys, pip: str, python: str, message: str) -> None:
    file = environment_file(tmp_path, pip, python=python)
    assert conda_standin.main(["env", "create", "-n", "x", "--file", file]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "make setup" in error


def test_standin_takes_local_versions_and_conda_spelling(tmp_path: Path) -> None:
    python = f"python={sys.version_info.major}.{sys.version_info.minor}"
    assert conda_standin.disagreements(Path(environment_file(tmp_path, "pyyaml>=5", python=python))) == []


def test_standin_gives_way_to_a_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it stood in before the conda came."""
    target, conda = tmp_path / "venv" / "conda", tmp_path / "conda" / "conda"
    for folder in (target.parent, conda.parent):
        folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (target.parent, conda.parent))))
    assert "there is none" in conda_standin.installed(target) and os.access(target, os.X_OK)
    shutil.copy(target, conda)
    assert f"using {conda}" in conda_standin.installed(target)
    assert not target.exists()


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="`source activate` needs a virtual environment")
def test_bare_mlflow_run_from_another_folder_without_conda(standin: Path, tmp_path: Path) -> None:
    """Through the stand-in into the command, which refuses: the run ends FAILED and says why."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "my.yaml").write_text("alignment: {finetun: true}")
    done = subprocess.run(
        ["mlflow", "run", str(ROOT), "-P", "config_override=my.yaml", "-P", "lrr=1"],
        cwd=away,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"{away / 'my.yaml'}: alignment.finetun is no parameter; did you mean 'alignment.finetune'?" in done.stderr
    assert "'lrr' is no option or parameter; did you mean 'lr'?" in done.stderr
    from mlflow import MlflowClient

    (run,) = MlflowClient(f"sqlite:///{away / 'mlflow.db'}").search_runs(["0"])
    assert run.info.status == "FAILED"


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="`source activate` needs a virtual environment")
@pytest.mark.parametrize("manager", ["", "--env-manager local"])
def test_mlflow_run_from_another_folder_trains_and_registers_there(
    manager: str, standin: Path, tiny_data: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    away = tmp_path / "away"
    away.mkdir()
    shutil.copytree(tiny_data, tmp_path / "data")
    given = ["-P", "data=../data", "-P", "config_override=../data/tiny.yaml", "-P", "steps=2"]
    done = subprocess.run(
        ["mlflow", "run", str(ROOT), "-e", "skeleton", *manager.split(), *given],
        cwd=away,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "skeleton: registered models:/sign-skeleton/1" in done.stderr
    client = MlflowClient(f"sqlite:///{away / 'mlflow.db'}")
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.project.entryPoint"] == run.data.tags["sign.stage"] == "skeleton"
    assert run.data.params["skeleton.training.steps"] == "2"
    version = client.get_model_version_by_alias("sign-skeleton", "candidate")
    assert (version.run_id, version.status) == (run.info.run_id, "READY")
    assert {path.name for path in away.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlruns", "mlartifacts"}
    assert list(away.glob("ml*s/**/model.safetensors"))


def test_a_fresh_database_is_made_without_this_package_in_the_process(tmp_path: Path) -> None:
    """Else a model that is loaded there would run with today's code in place of its own."""
    plugin = PYPROJECT["entry-points"]["mlflow.tracking_store"]["sqlite"]
    module, function = plugin.split(":")
    code = f"""
import sys
from {module} import {function}
store = {function}("sqlite:///{tmp_path}/a%20store.db", "{tmp_path}/artifacts")
assert [e.name for e in store.search_experiments()] == ["Default"]
assert not [name for name in sys.modules if name.startswith("sign_models")]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a store.db").stat().st_size


# Makefile, CI, text ---------------------------------------------------------------------------------------------------


def test_make_explains_every_target() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split())
    assert {"setup", "pipeline", "test", "check", "ui", "help"} <= targets
    assert set(re.findall(r"^  make (\w+)", said, re.M)) == targets


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
    from mlflow.projects.utils import load_project

    text = (ROOT / name).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data").mkdir()
    (tmp_path / "my.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
    lines = re.findall(r"(?:^|`)((?:mlflow run \.|python -m entrypoints\.\w).*?)(?: {2,}#|`|$)", text, re.M)
    assert len(lines) > 12
    for line in lines:
        words = shlex.split(line)
        if words[0] == "mlflow":
            entry = words[words.index("-e") + 1] if "-e" in words else "main"
            given = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-P")
            words = shlex.split(load_project(str(ROOT)).get_entry_point(entry).compute_command(given, str(tmp_path)))[
                1:
            ]
        options_of(command(words[2].split(".")[1]), words[3:])
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_readmes_show_the_same_commands() -> None:
    def commands(name: str) -> list[str]:
        blocks = re.findall(r"```bash\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
        return [line.split("  #")[0].rstrip() for line in "".join(blocks).splitlines()]

    assert commands("README.md") == commands("README.zh-CN.md")
