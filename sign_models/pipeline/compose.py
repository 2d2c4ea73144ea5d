"""The phase that composes a corpus of isolated clips."""

from __future__ import annotations

from pathlib import Path

from sign_models.datasets.compose import RECIPE, Recipe, compose


def run_compose(source: Path, out: Path, recipe: Recipe) -> None:
    """Write a corpus of composed sentences and say what is in it.

    Args:
        source: Isolated signs.
        out: Folder to write to.
        recipe: What to compose.

    Raises:
        DataError: As `compose` raises it.
    """
    made = compose(source, out, recipe)
    left_out = f"; {made.unlabelled} clips without a label were left out" if made.unlabelled else ""
    print(f"{out}: sentences composed of {made.clips} isolated clips{left_out}")
    for split, count in made.sentences.items():
        print(f"  {split}: {count} sentences, {made.signers[split]} signers")
    if made.depth_dropped:
        print(f"  the depth of {made.depth_dropped} clips is left out")
    print(f"  {RECIPE} says of which clips. Signs are only put one after the other: no coarticulation, no grammar.")
