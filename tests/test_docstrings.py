"""Public functions say what each of their arguments is and what they return. That they have a docstring is ruff's D.

No file and no function is too long to follow.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sign_models"
FILES = sorted(f for f in PACKAGE.glob("**/*.py") if f.parent.name != "entry")  # docstrings there are --help
MAX_LINES_OF_FILE, MAX_LINES_OF_FUNCTION = 400, 60
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def public(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions and methods that others call, by dotted name."""
    for inner in getattr(node, "body", []):
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from public(inner, f"{within}{inner.name}.")
        elif isinstance(inner, FUNCTIONS) and (
            not inner.name.startswith("_") or inner.name in ("__init__", "__call__")
        ):
            yield within + inner.name, inner


Known = Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Their names."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")]
    return names + [a.arg for a in (given.vararg, given.kwarg) if a is not None]


def left_out(function: ast.FunctionDef | ast.AsyncFunctionDef, known: Known | None = None) -> list[str]:
    """Arguments that the docstring does not name, and the result where it does not say what that is.

    "See CLASS.METHOD()" stands for both: the method does what one of this name and with these arguments promises.
    known: all of the package.
    """
    text = ast.get_docstring(function) or ""
    names = arguments(function)
    promised = re.search(rf"See (\w+\.{function.name})\(\)", text)
    meant = (known or {}).get(promised[1]) if promised else None
    if meant is not None and meant is not function and arguments(meant) == names:
        return left_out(meant)
    missing = [name for name in names if f"\n    {name}: " not in text and f"*{name}: " not in text]
    gives = function.returns is not None and ast.unparse(function.returns) not in ("None", "NoReturn")
    is_property = any("property" in ast.unparse(decorator) for decorator in function.decorator_list)
    if gives and not is_property and "\nReturns:" not in text and "\nYields:" not in text:
        missing.append("what it returns")
    return missing


@cache
def tree(file: Path) -> ast.Module:
    """Syntax of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known() -> Known:
    """Functions and methods of the package by dotted name."""
    return {name: found for file in FILES for name, found in public(tree(file))}


def test_arguments_and_results_are_described(known: Known) -> None:
    found = {(str(file), name): left_out(function, known) for file in FILES for name, function in public(tree(file))}
    assert {place: missing for place, missing in found.items() if missing} == {}


def test_no_file_and_no_function_is_too_long_to_follow() -> None:
    """How many arguments a function may have is ruff's PLR0913."""
    assert [file for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > MAX_LINES_OF_FILE] == []
    functions = [(file, node) for file in FILES for node in ast.walk(tree(file)) if isinstance(node, FUNCTIONS)]
    lengths = {(str(file), node.name): 1 + (node.end_lineno or 0) - node.lineno for file, node in functions}
    assert {place: lines for place, lines in lengths.items() if lines > MAX_LINES_OF_FUNCTION} == {}


@pytest.mark.parametrize(
    ("docstring", "missing"),
    [
        ("", ["a", "more", "what it returns"]),
        ("Do.\n\n    Args:\n        a: One.\n        *more: Others.\n\n    Returns:\n        It.", []),
        ("Do a.\n\n    Returns:\n        It.", ["a", "more"]),
    ],
)
def test_what_is_left_out_is_found(docstring: str, missing: list[str]) -> None:
    (function,) = ast.parse(f'def do(a: int, *more: int) -> int:\n    """{docstring}"""\n').body
    assert isinstance(function, FUNCTIONS) and left_out(function) == missing


def test_a_method_may_name_the_one_whose_promise_it_keeps() -> None:
    source = """
class Task:
    def batch(self, plan: str) -> int:
        '''Make.{}'''
class Mine:
    def batch(self, plan: str) -> int:
        '''Mine. See {}.batch().'''
"""
    described = "\n\n        Args:\n            plan: One.\n\n        Returns:\n            It.\n        "
    for text, name, missing in (
        (described, "Task", []),
        ("", "Task", ["plan", "what it returns"]),
        (described, "Mine", ["plan", "what it returns"]),  # itself
        (described, "Other", ["plan", "what it returns"]),
    ):
        known = dict(public(ast.parse(source.format(text, name))))
        assert left_out(known["Mine.batch"], known) == missing
