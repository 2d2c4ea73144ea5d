"""What alignment minimises.

B clips, S vectors, D width, L tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sign_models.data.batching import Batch
from sign_models.data.masking import mask_keypoints
from sign_models.models.translator import Translator
from sign_models.params.schema import AlignmentParams
from sign_models.training.distributed import ALONE, ProcessGroup


class Labelled(NamedTuple):
    """Clips with their texts.

    Attributes:
        clips: A Batch, or representations (B, S, D) and their mask (B, S).
        labels: (B, L) token ids, padded with IGNORED.
        contrasted: Whether the clips are a whole step's, and not some of it that memory was chosen for.
    """

    clips: Batch | tuple[Tensor, Tensor]
    labels: Tensor
    contrasted: bool = True


class Translation(nn.Module):
    """The weighted sum of the alignment's losses: text, CTC and, if asked for, contrast."""

    def __init__(self, model: Translator, params: AlignmentParams) -> None:
        """Train `model` by the weights of params.losses, on clips that params.mask masks."""
        super().__init__()
        self.model, self.params = model, params

    def forward(self, batch: Labelled, process_group: ProcessGroup = ALONE) -> dict[str, Tensor]:
        """Losses of a batch, which is masked in training.

        Args:
            batch: Clips with their texts, this process's share of the step.
            process_group: The processes that share the step.

        Returns:
            Scalars: "loss", their weighted sum, and "text", "ctc", "token_accuracy" and, if asked for, "contrast".
        """
        p = self.params.losses
        clips = batch.clips
        if isinstance(clips, Batch):
            hidden = (
                mask_keypoints(clips.x, **self.params.mask.model_dump(), rows=clips.rows) if self.training else None
            )
            representations, mask = self.model.temporal.encode(
                clips.x if hidden is None else hidden.x, clips.mask, None if hidden is None else hidden.parts
            )
        else:
            representations, mask = clips
        losses = self.model.alignment.losses(
            representations,
            mask,
            batch.labels,
            label_smoothing=p.label_smoothing,
            contrasted=bool(p.contrast_weight) and batch.contrasted,
            process_group=process_group,
        )
        loss = losses.text + p.ctc_weight * losses.ctc
        out = {"text": losses.text, "ctc": losses.ctc, "token_accuracy": losses.token_accuracy}
        if p.contrast_weight:
            contrast = torch.zeros_like(loss) if losses.contrast is None else losses.contrast
            loss, out["contrast"] = loss + p.contrast_weight * contrast, contrast
        return {"loss": loss, **out}
