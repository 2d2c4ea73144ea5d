"""Which code a run used: its git commit, and the digest of the source files that a module can reach."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sign_models.errors import ParamsError
from sign_models.models.hub_access import reach_hub
from sign_models.tracking.store import folder_digest

PACKAGE = Path(__file__).resolve().parents[1]
CONFIG = "config.json"  # which every model of Hugging Face has


def code_state() -> dict[str, str]:
    """State of the code, as tags.

    Returns:
        The commit, and whether the code differs from it; "none" and "unknown" where there is no repository.
    """

    def git(*words: str) -> str | None:
        """What git prints in this checkout. None where there is no git, or it fails."""
        try:
            done = subprocess.run(
                ["git", *words], check=False, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", str(PACKAGE / "__init__.py")) is None:
        return {"sign.commit": "none", "sign.dirty": "unknown"}  # or installed inside someone else's repository
    changed = git("status", "--porcelain", "--untracked-files=normal")
    return {"sign.commit": commit, "sign.dirty": "unknown" if changed is None else str(bool(changed)).lower()}


def content_digest(named: str, place: str) -> str:
    """Tell apart the contents that a parameter's value may name at different times.

    Args:
        named: A folder, or a model of Hugging Face.
        place: The parameter's name.

    Returns:
        A digest of the folder's files; of a model of Hugging Face, the commit that would be loaded.

    Raises:
        ParamsError: It is neither.
        ResourceError: Hugging Face cannot be reached.
    """
    if Path(named).is_dir():
        return folder_digest(Path(named))
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        config = cached_file(named, CONFIG, local_files_only=not reach_hub(f"{place}={named}", named, CONFIG))
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"{named!r} cannot be used: {str(error).splitlines()[0][:200]}",
            place=place,
            wanted="the name of a model on Hugging Face or the path of its folder",
        ) from error
    return str(extract_commit_hash(config, None))


def source_digest(module: str) -> str:
    """Digest of the code that a module can reach.

    Imports inside functions count too; nothing is imported. Comments, docstrings and files that the module cannot reach
    do not change the digest.

    Args:
        module: Its dotted name.

    Returns:
        sha256 over names and syntax trees of `module` and of the sign_models files that it can import.
    """
    digest = hashlib.sha256()
    for name in sorted(reachable(module)):
        digest.update(f"{name}\0{_read(name).tree}\0".encode())
    return digest.hexdigest()


def reachable(module: str) -> set[str]:
    """Find the modules that importing a module can import.

    Args:
        module: Its dotted name.

    Returns:
        `module` and modules of sign_models, packages included.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _read(name).modules
    return found


def _file(module: str) -> Path | None:
    """The file of a module of this package; None for others and for what is an attribute of a module."""
    first, *rest = module.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_suffix(".py")) if rest else (path / "__init__.py",)
    return next((c for c in candidates if c.is_file()), None)


def _outside(module: str) -> Path:
    """The file of a module of somebody else's, in which a stage is declared."""
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return Path(spec.origin)


class Read(NamedTuple):
    """A module that was read.

    Attributes:
        tree: Syntax tree, as text.
        imports: Names that it imports.
        modules: Modules of this package among them, and its own package.
    """

    tree: str
    imports: tuple[str, ...]
    modules: tuple[str, ...]


@cache  # the stages of a pipeline share most of their files
def _read(module: str) -> Read:
    path = _file(module) or _outside(module)
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    imports = _imports(module, tree)
    modules = tuple(name for name in (module.rpartition(".")[0], *imports) if _file(name))
    return Read(ast.dump(tree), imports, modules)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and every statement in it, at any depth: a tenth of what ast.walk goes through."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, block, ())


def _imports(module: str, tree: ast.Module) -> tuple[str, ...]:
    is_package = PACKAGE.parent.joinpath(*module.split("."), "__init__.py").is_file()
    package = module if is_package else module.rpartition(".")[0]
    names: list[str] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(names))
