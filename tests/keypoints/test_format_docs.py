"""The pages of docs/formats and the code say the same."""

import re
from pathlib import Path

import pytest

from sign_models.keypoints.formats import READERS
from sign_models.keypoints.formats.records import CONFIDENCE, KEYPOINTS
from sign_models.keypoints.layouts import BY_COUNT, LAYOUTS


@pytest.fixture
def docs(root: Path) -> Path:
    return root / "docs" / "formats"


def test_every_reader_stands_in_the_overview(docs: Path) -> None:
    table = (docs / "README.md").read_text(encoding="utf-8")
    assert all(f"`{reader.name}`" in table for reader in READERS)


def test_every_layout_stands_with_its_count(docs: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \|", (docs / "layouts.md").read_text(encoding="utf-8"), re.M)
    told = {name: (int(count), by_count == "yes") for name, count, by_count in rows}
    assert told == {name: (len(names), BY_COUNT.get(len(names)) == name) for name, names in LAYOUTS.items()}


def test_links_between_the_pages_lead_somewhere(docs: Path) -> None:
    for page in docs.glob("*.md"):
        for target in re.findall(r"\]\(([\w./-]+\.md)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_fields_of_a_record_are_told(docs: Path) -> None:
    text = (docs / "seed.md").read_text(encoding="utf-8")
    assert KEYPOINTS[0] in text and CONFIDENCE[0] in text
