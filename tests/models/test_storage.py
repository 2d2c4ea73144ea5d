"""What is saved is loaded bit by bit, and nothing of it is executed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sign_models.models.storage import load, save
from sign_models.tracking.store import folder_digest
from tests.models import clips


@pytest.mark.parametrize("make", [clips.skeleton, clips.temporal, clips.translator, lambda: clips.translator("bpe")])
def test_save_then_load_is_bit_equal(make, tmp_path: Path) -> None:
    model = make()
    save(model, tmp_path)
    again = load(tmp_path)
    assert type(again) is type(model) and not again.training
    assert model.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(a, again.state_dict()[name]) for name, a in model.state_dict().items())
    x, mask = clips.batch((20, 7))
    with torch.no_grad():
        first, second = model(x, mask), again(x, mask)
    for a, b in zip(first, second, strict=True) if isinstance(first, tuple) else [(first, second)]:
        assert torch.equal(a, b)
    if hasattr(model, "translate"):
        assert again.translate(*second) == model.translate(*first)
        assert (again.generation, again.finetuned) == (model.generation, model.finetuned)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} <= {".json", ".safetensors"}


@pytest.mark.parametrize("make", [clips.skeleton, clips.temporal, clips.translator])
def test_equal_models_give_equal_bytes(make, tmp_path: Path) -> None:
    model = make()
    for number in range(8):  # what a hash table orders would be alike now and then
        save(model, tmp_path / str(number))
    assert len({folder_digest(folder) for folder in tmp_path.iterdir()}) == 1
