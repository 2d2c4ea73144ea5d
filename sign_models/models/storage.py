"""Models on disk: model.safetensors beside config.json; of a translator also tokenizer and text model config.

Nothing in such a folder is executed. It holds JSON, safetensors, and names of classes of this package and of
transformers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from safetensors import safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn

from sign_models.errors import ResourceError, SignError, UpstreamError
from sign_models.keypoints.normalise import Mirroring
from sign_models.keypoints.resample import MAX_FPS, MIN_FPS
from sign_models.models.alignment import AlignmentModel
from sign_models.models.confidence import Confidence
from sign_models.models.earlier import decoder_config
from sign_models.models.pace import Pace
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.temporal import TemporalModel
from sign_models.models.text import TextModel
from sign_models.models.text.decoder import MODEL_TYPE, TextDecoder
from sign_models.models.text.tokenizer import TextTokenizer
from sign_models.models.translator import Generation, Translator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WEIGHTS, CONFIG, TEXT, TOKENIZER = "model.safetensors", "config.json", "text", "tokenizer"
MAX_CONFIG_BYTES = 2**26  # a vocabulary of 250,000 pieces takes 4 MB
SIZE_NAMES = re.compile(
    r"(width|layers|heads|vocabulary|vocab_size|hidden_size|d_model|d_ff|intermediate_size|ffn_dim)$"
)


def save(model: nn.Module, folder: Path) -> None:
    """Write a model into a folder.

    Equal models give equal bytes: a registered version is known by the digest of its files.

    Args:
        model: A SkeletonModel, TemporalModel or Translator, on the CPU.
        folder: Made where it does not exist.
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
            **({} if model.confidence is None else {"confidence": model.confidence.config()}),
            **({} if model.pace is None else {"pace": asdict(model.pace)}),
        }
        model.tokenizer.save_pretrained(folder / TOKENIZER)
        model.alignment.text.save_config(folder / TEXT)
    elif isinstance(model, TemporalModel):
        config = {"stage": "temporal", **model.config}
    else:
        assert isinstance(model, SkeletonModel)
        config = {"stage": "skeleton", **model.config}
    config["mirroring"] = mirroring_of(model)
    save_file(_weights(model), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1))


def mirroring_of(model: nn.Module) -> Mirroring:
    """How a model has clips mirrored before it reads them.

    Args:
        model: Any model. The attribute `mirroring` is set by load(), and where a model is registered.

    Returns:
        That of the clips on which it was trained.
    """
    return cast(Mirroring, getattr(model, "mirroring", "auto"))


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Each tensor under its first name. safetensors' save_model notes the other names of one, in any order."""
    once = [name for tensors in (model.named_parameters(), model.named_buffers()) for name, _ in tensors]
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name in once}


def load(folder: Path) -> Any:
    """Load the model of a folder that save() wrote.

    Args:
        folder: With config.json and model.safetensors.

    Returns:
        The SkeletonModel, TemporalModel or Translator, in evaluation mode on the CPU.

    Raises:
        UpstreamError: Weights or config are of another version of this package, or no model at all.
        ResourceError: There is not enough memory for it.
    """
    place = f"model in {folder}"
    try:
        config = _json(folder / CONFIG)
        place = f"{config['stage']} {place}"
        _check_sizes(config, folder)
        mirroring = config.pop("mirroring", "auto")  # models of before 2026-11-30 do not name it
        if mirroring not in get_args(Mirroring):
            raise ValueError(f"mirroring is {mirroring!r:.40}, wanted one of {', '.join(get_args(Mirroring))}")
        model = _built(config.pop("stage"), config, folder)
        model.mirroring = mirroring
        load_model(model, str(folder / WEIGHTS))
    except SignError:
        raise
    except Exception as error:  # whatever libraries raise for files that are not what they should be
        if isinstance(error, MemoryError) or "allocate" in str(error) or "out of memory" in str(error):
            raise ResourceError("not enough memory for it", place=place, wanted="more memory") from error
        other = isinstance(error, KeyError | TypeError) or "loading state_dict" in str(error)
        found = "was made by another version of this project, whose models have other parts"
        lines = str(error).strip().splitlines() or [""]
        raise UpstreamError(
            found if other else f"cannot be read ({type(error).__name__}: {lines[0][:200]})",
            place=place,
            wanted="a model that this version made",
            remedy="train the stage again, or check out the git commit that its run is tagged with",
        ) from error
    return model.eval()


def _json(file: Path) -> dict[str, Any]:
    if (size := file.stat().st_size) > MAX_CONFIG_BYTES:
        raise ValueError(f"{file.name} has {size} bytes, more than {MAX_CONFIG_BYTES}")
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} holds no object")
    return content


def _check_sizes(config: dict[str, Any], folder: Path) -> None:
    """ValueError where a config names sizes beyond what its weights hold, before anything of that size is made."""
    with safe_open(folder / WEIGHTS, "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118  a file, no dict
    tensors, numbers = len(shapes), sum(map(math.prod, shapes))
    configs = [config, *([_json(folder / TEXT / CONFIG)] if (folder / TEXT / CONFIG).exists() else [])]
    for name, value in (pair for content in configs for pair in _sizes(content)):
        if not 0 <= value <= (tensors if "layers" in name else numbers):
            raise ValueError(f"{name} is {value}, but its weights are {tensors} tensors of {numbers} numbers")


def _sizes(content: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The sizes of layers in a config, at any depth."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _sizes(value)
        elif isinstance(value, int) and SIZE_NAMES.search(name):
            yield name, value


def _built(stage: str, config: dict[str, Any], folder: Path) -> nn.Module:
    if stage == "skeleton":
        return _skeleton(config)
    return _temporal(config) if stage == "temporal" else _translator(config, folder)


def _skeleton(config: dict[str, Any]) -> SkeletonModel:
    _check_rate(config)
    return SkeletonModel(**{"reads_confidence": True} | config)  # models of before 2026-11-30 do not name it


def _check_rate(config: dict[str, Any]) -> None:
    """ValueError where the frame rate of a model is none to which clips can be brought."""
    fps = config.get("fps")  # models of before 2026-11-30 do not name it
    if fps is not None and (isinstance(fps, bool) or not MIN_FPS <= fps <= MAX_FPS):
        raise ValueError(f"fps is {fps}, wanted {MIN_FPS:g} to {MAX_FPS:g}")


def _temporal(config: dict[str, Any]) -> TemporalModel:
    _check_rate(config)
    return TemporalModel(_skeleton(config["skeleton"]), **{k: v for k, v in config.items() if k != "skeleton"})


def _translator(config: dict[str, Any], folder: Path) -> Translator:
    temporal = _temporal(config["temporal"])
    blank = config.get("blank", 0)  # models of before 2026-11-30 do not name it
    text, tokenizer = _text_side(folder / TEXT, folder / TOKENIZER)
    alignment = AlignmentModel(temporal.width, config["vocabulary"], text, blank)
    sure = Confidence.of(config["confidence"]) if "confidence" in config else None
    model = Translator(temporal, alignment, tokenizer, Generation(**config["generation"]), config["finetuned"], sure)
    model.pace = Pace(**config["pace"]) if "pace" in config else None
    return model


def _text_side(model: Path, tokenizer: Path) -> tuple[TextModel, TextTokenizer | PreTrainedTokenizerBase]:
    """The text model without its weights, and its tokenizer; transformers is imported for its own models alone."""
    config = _json(model / CONFIG)
    own = config if config.get("model_type") == MODEL_TYPE else decoder_config(config)
    if own:
        text = TextDecoder(**{name: value for name, value in own.items() if name != "model_type"})
        return text, TextTokenizer.from_pretrained(tokenizer)
    from transformers import AutoTokenizer  # seconds

    from sign_models.models.text.pretrained import PretrainedText

    pretrained = PretrainedText.from_config(model)
    return pretrained, AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
