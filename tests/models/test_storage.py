"""What is saved is loaded bit by bit, and nothing of it is executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sign_models.errors import UpstreamError
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


@pytest.mark.parametrize("make", [clips.skeleton, clips.temporal, clips.translator])
@pytest.mark.parametrize("change", ["weight", "lacks", "config"])
def test_a_model_of_another_version_is_refused(make, change: str, tmp_path: Path) -> None:
    save(make(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    if change == "weight":
        weights["norm.weight"] = torch.ones(3)
    elif change == "lacks":
        weights.popitem()
    else:
        (config.get("skeleton") or config.get("temporal") or config)["unheard_of"] = 1
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UpstreamError, match="another version.*train the stage again"):
        load(tmp_path)
