"""Texts of a search as labels: what counts of them, and which of them are alike."""

from __future__ import annotations

import pytest
import torch

from sign_models.models.n_best import first_of_alike, padded_labels, searched_labels
from sign_models.models.text import IGNORED

END, PADDING = 2, 0


def written(row: list[int], padding: int | None) -> list[int]:
    """A text up to its end, without padding."""
    row = row[: row.index(END)] if END in row else row
    return [token for token in row if token != padding]


@pytest.mark.parametrize("padding", [PADDING, None])
def test_a_text_is_what_stands_before_its_first_end_without_padding(padding: int | None) -> None:
    tokens = torch.randint(0, 5, (7, 3, 6), generator=torch.Generator().manual_seed(0))
    labels, unlike = searched_labels(tokens, END, padding)
    wanted = [[written(row, padding) for row in rows] for rows in tokens.tolist()]
    assert labels.shape == (7, 3, 7)
    for i, rows in enumerate(wanted):
        for k, row in enumerate(rows):
            assert labels[i, k].tolist() == [*row, END] + [IGNORED] * (6 - len(row))
            assert unlike[i, k] == (len(row) < len(written(tokens[i, k].tolist(), None)))
    lengths = {len(row) for rows in wanted for row in rows}
    assert 0 in lengths and max(lengths) > 3 and bool(unlike.any()) == (padding is not None)
    rows = [row for rows in wanted for row in rows]
    padded = padded_labels(rows, END)
    assert torch.equal(padded, labels.flatten(0, 1)[:, : padded.shape[1]])


def test_of_texts_that_are_alike_the_first_counts() -> None:
    labels = torch.randint(0, 2, (40, 5, 2), generator=torch.Generator().manual_seed(0))
    found = first_of_alike(labels)
    for rows, chosen in zip(labels.tolist(), found.tolist(), strict=True):
        assert [row for row, first in zip(rows, chosen, strict=True) if first] == [
            row for i, row in enumerate(rows) if row not in rows[:i]
        ]
