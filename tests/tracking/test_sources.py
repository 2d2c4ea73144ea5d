from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sign_models.tracking import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "sign_models"
    files = {
        "__init__.py": "",
        "stages/__init__.py": "",
        "stages/skeleton.py": "from ..models import skeleton\ndef f(): from sign_models.data.corpus import Corpus\n",
        "stages/temporal.py": "import sign_models.models.temporal\n",
        "models/__init__.py": "",
        "models/skeleton.py": "from sign_models.models.blocks import Block\nimport torch, os\n",
        "models/temporal.py": "from .blocks import Block\n",
        "models/blocks.py": "class Block: pass\n",
        "data/__init__.py": "",
        "data/corpus.py": "class Corpus: pass\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(sources, "PACKAGE", root)
    sources._read.cache_clear()
    yield root
    sources._read.cache_clear()


def digests() -> dict[str, str]:
    sources._read.cache_clear()
    return {stage: sources.source_digest(f"sign_models.stages.{stage}") for stage in ("skeleton", "temporal")}


def test_every_way_to_import_is_followed(package: Path) -> None:
    assert sources.reachable("sign_models.stages.skeleton") == {
        "sign_models", "sign_models.stages", "sign_models.stages.skeleton", "sign_models.models",
        "sign_models.models.skeleton", "sign_models.models.blocks", "sign_models.data", "sign_models.data.corpus",
    }  # fmt: skip


BLOCKS = (  # every place in a statement where others stand
    "if x:\n {}", "if x:\n pass\nelse:\n {}", "if x:\n pass\nelif y:\n {}", "for x in y:\n {}",
    "for x in y:\n pass\nelse:\n {}", "while x:\n {}", "while x:\n pass\nelse:\n {}", "with x:\n {}",
    "try:\n {}\nfinally:\n pass", "try:\n pass\nexcept E:\n {}", "try:\n pass\nexcept E:\n pass\nelse:\n {}",
    "try:\n pass\nfinally:\n {}", "try:\n pass\nexcept* E:\n {}", "match x:\n case 1:\n  pass\n case _:\n  {}",
    "class C:\n {}", "def f():\n {}", "async def f():\n {}", "async def f():\n async with x:\n  {}",
    "async def f():\n async for x in y:\n  {}", "async def f():\n async for x in y:\n  pass\n else:\n  {}",
)  # fmt: skip


@pytest.mark.parametrize("outer", BLOCKS)
@pytest.mark.parametrize("inner", BLOCKS)
def test_an_import_and_a_docstring_at_any_depth_are_found(package: Path, outer: str, inner: str) -> None:
    def write(statement: str) -> str:
        nested = outer.format(inner.format(statement).replace("\n", "\n" + " " * _indent(outer)))
        (package / "stages/temporal.py").write_text(nested)
        return digests()["temporal"]

    write("from sign_models.data import corpus")
    assert "sign_models.data.corpus" in sources.reachable("sign_models.stages.temporal")
    documented = [write(f"class D: {text}pass") for text in ("", "'why';", "'what';")]
    assert len({*documented}) == 1
    assert write("class D: x = 1") not in documented


def _indent(block: str) -> int:
    return len(block.partition("{}")[0]) - len(block.partition("{}")[0].rstrip(" "))


def test_only_code_that_a_stage_reaches_changes_its_digest(package: Path) -> None:
    before = digests()
    (package / "data/corpus.py").write_text("class Corpus: size = 1\n")
    after = digests()
    assert after["skeleton"] != before["skeleton"] and after["temporal"] == before["temporal"]
    (package / "models/blocks.py").write_text("class Block: depth = 2\n")
    assert digests()["temporal"] != after["temporal"]


@pytest.mark.parametrize(
    "text", ["# why\nclass Block:\n    pass\n", '"""What."""\nclass Block:\n    """Why."""\n    pass\n']
)
def test_comments_and_docstrings_do_not_change_a_digest(package: Path, text: str) -> None:
    before = digests()
    (package / "models/blocks.py").write_text(text)
    assert digests() == before
    (package / "models/blocks.py").write_text("class Block:\n    size = 'no docstring'\n")
    assert digests() != before


def test_the_digest_of_the_real_package_is_stable() -> None:
    assert len({sources.source_digest("sign_models.tracking.runs") for _ in range(2)}) == 1
    assert "sign_models.tracking.metrics" in sources.reachable("sign_models.tracking.runs")


def test_the_commit_and_changes_after_it_are_seen(package: Path) -> None:
    assert sources.code_state() == {"sign.commit": "none", "sign.dirty": "unknown"}

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *words], cwd=package.parent, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    assert sources.code_state() == {"sign.commit": git("rev-parse", "HEAD"), "sign.dirty": "false"}
    (package / "models/blocks.py").write_text("class Block: depth = 3\n")
    assert sources.code_state()["sign.dirty"] == "true"


def test_a_machine_without_git_is_no_obstacle(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert sources.code_state() == {"sign.commit": "none", "sign.dirty": "unknown"}
