"""Models on disk: model.safetensors beside config.json, a translator's tokenizer and text model's config beside them.

Nothing in such a folder is executed: JSON, safetensors, and classes of this package and of transformers by name.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_file
from torch import Tensor, nn

from sign_models.errors import UpstreamError
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Generation, Translator

WEIGHTS, CONFIG, TEXT, TOKENIZER = "model.safetensors", "config.json", "text", "tokenizer"


def save(model: nn.Module, folder: Path) -> None:
    """Write `model`, a SkeletonModel, TemporalModel or Translator on the CPU, into `folder`.

    Equal models give equal bytes: a version is known by the digest of its files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, Translator):
        config = {
            "stage": "alignment",
            "temporal": model.temporal.config,
            "vocabulary": model.alignment.vocabulary,
            "blank": model.alignment.blank,
            "generation": asdict(model.generation),
            "finetuned": model.finetuned,
        }
        model.tokenizer.save_pretrained(folder / TOKENIZER)
        model.alignment.text.model.config.save_pretrained(folder / TEXT)
    elif isinstance(model, TemporalModel):
        config = {"stage": "temporal", **model.config}
    else:
        assert isinstance(model, SkeletonModel)
        config = {"stage": "skeleton", **model.config}
    save_file(_weights(model), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1))


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Each tensor under its first name. safetensors' save_model notes the other names of one, in any order."""
    once = [name for tensors in (model.named_parameters(), model.named_buffers()) for name, _ in tensors]
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name in once}


def load(folder: Path) -> Any:
    """The SkeletonModel, TemporalModel or Translator of a folder written by save(), in evaluation mode on the CPU.

    UpstreamError where its weights or its config are of another version of this package."""
    config = json.loads((folder / CONFIG).read_text())
    stage = config.pop("stage")
    try:
        model = _built(stage, config, folder)
        load_model(model, str(folder / WEIGHTS))
    except (KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise  # memory that ends is no other version
        raise UpstreamError(
            "was made by another version of this project, whose models have other parts",
            place=f"{stage} model in {folder}",
            wanted="a model that this version made",
            remedy="train the stage again, or check out the git commit that its run is tagged with",
        ) from error
    return model.eval()


def _built(stage: str, config: dict, folder: Path) -> nn.Module:
    if stage == "skeleton":
        return SkeletonModel(**config)
    return _temporal(config) if stage == "temporal" else _translator(config, folder)


def _temporal(config: dict) -> TemporalModel:
    return TemporalModel(SkeletonModel(**config["skeleton"]), **{k: v for k, v in config.items() if k != "skeleton"})


def _translator(config: dict, folder: Path) -> Translator:
    # seconds that no other stage waits for
    from transformers import AutoTokenizer

    from sign_models.models.alignment import AlignmentModel
    from sign_models.models.text import TextModel

    temporal = _temporal(config["temporal"])
    blank = config.get("blank", 0)  # models of before 2026-11-30 do not name it
    alignment = AlignmentModel(temporal.width, config["vocabulary"], TextModel.from_config(folder / TEXT), blank)
    tokenizer = AutoTokenizer.from_pretrained(folder / TOKENIZER, trust_remote_code=False)
    return Translator(temporal, alignment, tokenizer, Generation(**config["generation"]), config["finetuned"])
