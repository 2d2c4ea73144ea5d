"""Who may import whom, and that what is imported is declared."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sign_models.pipeline.runner import QUIET_LIBRARIES
from sign_models.stages.declaration import STAGES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = {
    canonicalize_name(Requirement(line).name) for extra in ("video", "hdf5", "spark", "onnx") for line in EXTRAS[extra]
}


@cache
def imports(file: Path) -> tuple[tuple[str, bool], ...]:
    """Absolute names that a file imports, and whether it does so on being imported itself."""
    return tuple(_imports(file))


def _statements(node: ast.AST, now: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """The statements below a node, and whether each runs when the file is imported."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, field, ()):
            yield inner, now
            later = isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(inner, ast.If) and getattr(inner.test, "id", "") == "TYPE_CHECKING"
            )
            yield from _statements(inner, now and not later)


def _imports(file: Path) -> Iterator[tuple[str, bool]]:
    package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:-1])
    for node, now in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            stem = node.module if not node.level else f"{base}.{node.module}" if node.module else base
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, now


SOURCES = sorted([*ROOT.glob("sign_models/**/*.py"), *ROOT.glob("entrypoints/*.py")])
NOT_IMPORTED = {"spoken-to-signed"}  # its clips are read, its code is not


WITH_TORCH = {"triton"}  # torch for GPUs asks for it, torch for CPUs has none


def test_dependencies_are_what_the_code_imports() -> None:
    owners = {top: {canonicalize_name(name) for name in names} for top, names in packages_distributions().items()}
    ours = {*sys.stdlib_module_names, "sign_models", "entrypoints", *WITH_TORCH}
    used = {top for file in SOURCES for top in (name.split(".")[0] for name, _ in imports(file)) if top not in ours}
    optional = {top for top in used if owners.get(top, {top}) & OPTIONAL}  # may not be installed
    assert {
        top for file in SOURCES for name, now in imports(file) if now and (top := name.split(".")[0]) in OPTIONAL
    } == set()
    assert optional == OPTIONAL
    used -= optional
    declared = {canonicalize_name(requirement.name) for requirement in DIRECT}
    assert [top for top in sorted(used) if not owners[top] & declared] == []
    assert declared - set().union(*(owners[top] for top in used)) == NOT_IMPORTED


# Import directions (docs/architecture.md) -----------------------------------------------------------------------------

MAY_IMPORT = {  # a room of the package -> the rooms it may import besides itself, errors and interruption
    "errors": set(),
    "interruption": set(),
    "params": {"evaluation", "keypoints"},
    "keypoints": set(),
    "kernels": {"keypoints"},
    "data": {"kernels", "keypoints", "params"},
    "datasets": {"data", "keypoints"},
    "models": {"kernels", "keypoints"},
    "evaluation": {"data"},
    "training": {"data", "kernels", "models", "params"},
    "serving": {"keypoints", "models", "video"},
    "stages": {"data", "datasets", "evaluation", "keypoints", "models", "params", "training"},
    "tracking": {"data", "datasets", "evaluation", "keypoints", "models", "params", "serving", "stages", "training"},
    "pipeline": {
        *(
            "data",
            "datasets",
            "evaluation",
            "kernels",
            "keypoints",
            "models",
            "params",
            "serving",
            "stages",
            "tracking",
        ),
        *("training", "video"),
    },
    "cli": {"keypoints", "datasets", "params", "pipeline", "stages", "tracking", "training", "video"},
    "video": {"keypoints"},
    "entrypoints": {"__main__", "cli"},
    "__main__": {"cli"},
}
ONLY_IN = {
    "mlflow": {"serving", "tracking"},
    "click": {"cli", "datasets", "pipeline"},
    "yaml": {"keypoints", "params", "tracking"},
    "triton": {"kernels"},
    "av": {"video"},
    "mediapipe": {"video"},
    "fastapi": {"serving"},
    "uvicorn": {"serving"},
    "huggingface_hub": {"models", "tracking"},
}
MODELS_KNOW = {"torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy", *WITH_TORCH}


def part(name: str) -> str:
    top, _, rest = name.partition(".")
    return top if top == "entrypoints" else rest.split(".")[0]


def astray(file: Path) -> list[str]:
    """What a file imports and may not."""
    mine = part(".".join(file.relative_to(ROOT).with_suffix("").parts))
    names = [name for name, _ in imports(file)]
    if mine == "__init__":
        return [name for name in names if not name.startswith("importlib")]
    rooms = {"", mine, "errors", "interruption"} | MAY_IMPORT[mine]

    def may_be(name: str) -> bool:
        top = name.partition(".")[0]
        if top in ("sign_models", "entrypoints"):
            return name == "sign_models" or part(name) in rooms
        return mine in ONLY_IN.get(top, {mine}) and (mine != "models" or top in MODELS_KNOW | sys.stdlib_module_names)

    return [name for name in names if not may_be(name)]


def test_imports_point_one_way() -> None:
    found = {str(file): astray(file) for file in SOURCES}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_no_file_beside_the_package_imports_itself_by_way_of_others(folder: str) -> None:
    names = {f"{folder}.{file.stem}": file for file in (ROOT / folder).glob("*.py")}
    graph = {
        name: {found for found, _ in imports(file)} | {found.rpartition(".")[0] for found, _ in imports(file)}
        for name, file in names.items()
    }
    TopologicalSorter({name: found & names.keys() for name, found in graph.items()}).prepare()


def test_no_library_is_kept_quiet_that_is_not_there() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    assert {*QUIET_LIBRARIES} <= locked


LIGHT = (
    *("sign_models.params", "sign_models.cli.commands", "sign_models.datasets.inputs"),
    *(
        f"sign_models.pipeline.{name}"
        for name in (
            "options",
            "runner",
            "importing",
            "evaluate",
            "registry",
            "publish",
            "export",
            "extract",
            "translate",
            "compose",
            "api",
            "demo",
        )
    ),
    *("sign_models.keypoints.layouts", "sign_models.keypoints.formats"),
    *(f"entrypoints.{name}" for name in ("pipeline", *STAGES)),
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
