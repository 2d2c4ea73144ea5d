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


def _imports(file: Path) -> Iterator[tuple[str, bool]]:
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


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file: Path) -> None:
    mine = part(".".join(file.relative_to(ROOT).with_suffix("").parts))
    if mine == "__init__":
        assert not [name for name, _ in imports(file) if not name.startswith("importlib")]
        return
    for name, _ in imports(file):
        top = name.split(".")[0]
        if top in ("sign_models", "entrypoints"):
            other = part(name) if name != "sign_models" else ""
            assert other in {"", mine, "errors", "interruption"} | MAY_IMPORT[mine], name
        else:
            assert mine in ONLY_IN.get(top, {mine}), name
            assert mine != "models" or top in MODELS_KNOW | sys.stdlib_module_names, name


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
