"""A translator as two ONNX graphs: keypoints to states, and states with tokens to the next tokens.

B clips, T frames, K landmarks, C channels, S vectors, D width, N texts, L tokens, V vocabulary.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from sign_models.keypoints.layouts import CANONICAL
from sign_models.models.storage import CONFIG, TOKENIZER, mirroring_of
from sign_models.models.translator import Translator

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
CHANNELS = 4  # x, y, confidence, depth
OPSET = 18


class Encoder(nn.Module):
    """Keypoints to what texts are written from, and to what CTC reads."""

    def __init__(self, model: Translator) -> None:
        """Take over a translator's part.

        Args:
            model: In evaluation mode, on the CPU.
        """
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode clips.

        Args:
            keypoints: (B, T, K, C) normalised; T is a multiple of the temporal model's stride.
            mask: (B, T) bool, True up to each clip's end.

        Returns:
            States (B, S, D), their mask (B, S), and log probabilities of CTC (B, S, V + 1).
        """
        y, kept = self.model.temporal.encode(keypoints, mask)
        prefix, ctc = self.model.alignment.read(y, kept)
        return self.model.alignment.text.encode(prefix, kept), kept, ctc


class Decoder(nn.Module):
    """One pass of the text model: what it expects at each place of a text."""

    def __init__(self, model: Translator) -> None:
        """Take over a translator's part.

        Args:
            model: In evaluation mode, on the CPU.
        """
        super().__init__()
        self.text = model.alignment.text

    def forward(self, tokens: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Score the tokens at each place.

        Args:
            tokens: (N, L) texts of one clip so far, and one place more, whose value does not count.
            states: (1, S, D) of the clip.
            mask: (1, S) bool.

        Returns:
            (N, L, V) log probabilities of the token at each place, after those before it.
        """
        texts = tokens.shape[0]  # len() would be a constant of the graph
        return self.text.logits(states.expand(texts, -1, -1), mask.expand(texts, -1), tokens).log_softmax(-1)


def export_onnx(model: Translator, folder: Path) -> None:
    """Write encoder.onnx, decoder.onnx, config.json and the tokenizer.

    Clips and frames of the encoder, texts, vectors and tokens of the decoder may be any number. The decoder takes one
    clip.

    Args:
        model: In evaluation mode, on the CPU.
        folder: Made where there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stride, writer = model.temporal.stride, model.alignment.text
    config = {
        "fps": model.fps,
        "stride": stride,
        "blank": model.alignment.blank,
        "end": writer.eos_id,
        "padding": writer.pad_id,
        "token_ids": writer.to_tokenizer_ids([*range(writer.vocabulary)]),
        "generation": asdict(model.generation),
        "confidence": model.confidence.config() if model.confidence else None,
        "mirroring": mirroring_of(model),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1))
    model.tokenizer.save_pretrained(folder / TOKENIZER)
    clips, vectors = Dim("clips"), Dim("vectors", max=2**20)
    texts, places = Dim("texts", max=2**10), Dim("places", max=2**16)
    frames = stride * vectors
    keypoints, mask = torch.rand(2, 3 * stride, len(CANONICAL), CHANNELS), torch.ones(2, 3 * stride, dtype=torch.bool)
    encoder = Encoder(model).eval()
    _export(
        encoder,
        {"keypoints": keypoints, "mask": mask},
        {"keypoints": {0: clips, 1: frames}, "mask": {0: clips, 1: frames}},
        ("states", "states_mask", "ctc"),
        folder / ENCODER,
    )
    with torch.no_grad():
        states, kept, _ = encoder(keypoints[:1], mask[:1])
    _export(
        Decoder(model).eval(),
        {"tokens": torch.ones(2, 3, dtype=torch.long), "states": states, "mask": kept},
        {"tokens": {0: texts, 1: places}, "states": {1: vectors}, "mask": {1: vectors}},
        ("log_probs",),
        folder / DECODER,
    )


def _export(
    module: nn.Module,
    inputs: dict[str, Tensor],
    shapes: dict[str, dict[int, object]],
    outputs: tuple[str, ...],
    file: Path,
) -> None:
    """Write a module as an ONNX graph.

    Args:
        module: In evaluation mode.
        inputs: An example of each input, by name.
        shapes: For each input the dimensions that may be any number.
        outputs: Names of what it returns.
        file: Where to.
    """
    for name in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            kwargs=inputs,
            f=str(file),
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
