"""What a training keeps of each weight is what the table of text sides (docs/models.md) is counted with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import text_sides
from sign_models.training import loop
from tests.conftest import ROOT
from tests.stages.recorders import Memory

# Millions, as their model cards have it.
PUBLISHED = {
    "google/mt5-small": 300, "google/mt5-base": 582, "google/mt5-large": 1230, "facebook/mbart-large-50": 611,
    "Qwen/Qwen2.5-0.5B": 494, "Qwen/Qwen3-0.6B": 596, "Qwen/Qwen2.5-1.5B": 1544,
}  # fmt: skip


def test_a_training_keeps_as_many_bytes_a_weight_as_are_counted(
    train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[int, int]] = []
    run = loop._Training.run

    def weighed(self: loop._Training) -> loop.Progress:
        done = run(self)
        step = self.train_step
        of_weights = [*step.objective.parameters()], [*self.averaged.parameters()], [*self.best.values()]
        moments = [v for state in step.optimizer.state.values() for v in state.values() if v.ndim]
        learned = sum(p.numel() for p in step.optimizer.state)  # what the loss does not read has no gradient
        size = sum(t.numel() * t.element_size() for tensors in (*of_weights, moments) for t in tensors)
        buffers = sum(t.numel() * t.element_size() for t in step.objective.buffers())
        every = sum(p.numel() for p in step.objective.parameters())
        gradients = 4 * learned
        kept.append(
            (size + gradients - buffers, text_sides.RESIDENT_BYTES * every + text_sides.LEARNED_BYTES * learned)
        )
        return done

    monkeypatch.setattr(loop._Training, "run", weighed)
    train("alignment", Memory(tmp_path / "run"), alignment__training__steps=2)
    [(found, counted)] = kept
    assert found == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("name", text_sides.MODELS)
def test_text_sides_have_the_weights_that_their_cards_say(name: str) -> None:
    whole, pruned = text_sides.made(name), text_sides.made(name, 8000)
    (every, learned), (fewer, _) = text_sides.weights(whole), text_sides.weights(pruned)
    assert every == learned and every / 1e6 == pytest.approx(PUBLISHED[name], rel=0.02)
    assert fewer < every
    low = text_sides.made(name, 8000, 16)
    everything, changes = text_sides.weights(low)
    assert everything == fewer + changes and changes < 0.05 * fewer
    assert text_sides.training_bytes(low) < 0.6 * text_sides.training_bytes(pruned)


def test_the_docs_have_the_figures_of_today(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["text_sides"])
    text_sides.main()
    table = capsys.readouterr().out
    assert table in (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {cells[1].strip(" `"): cells[2:-1] for line in table.splitlines() if len(cells := line.split("|")) > 3}
    recipes = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^\| [^|]+ \| (?:`-P alignment.decoder.pretrained=(\S+?)( -P alignment.decoder.lora=16)?`)? ?\| ([\d.]+) \| ([\d.]+) \|$",
        recipes,
        re.M,
    )
    assert len(told) == 5
    for name, lora, *sizes in told:
        first = 4 if lora else 2
        whole, pruned = rows[name or "google/mt5-base"][first : first + 2]
        assert sizes == [pruned.strip(), whole.strip()], name
