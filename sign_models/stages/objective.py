"""What alignment minimises.

B clips, S vectors, D width, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sign_models.data.batching import Batch
from sign_models.data.masking import MaskedBatch, mask_keypoints
from sign_models.data.rng import ALL, RngSlice
from sign_models.models.alignment import Gather, identity
from sign_models.models.translator import Translator
from sign_models.params.schema import AlignmentParams
from sign_models.training.distributed import ALONE


class Labelled(NamedTuple):
    """Clips with their texts.

    Attributes:
        clips: A Batch, or representations (B, S, D) and their mask (B, S).
        labels: (B, L) token ids, padded with IGNORED.
        rows: Which of the step's clips they are.
        contrasted: Whether they are told from all others of the step, and not only some of it that memory was chosen
            for.
        masked: What of the clips is masked, in training.
        pairs: Whether its second half shows the clips of the first once more, varied and masked in another way.
    """

    clips: Batch | tuple[Tensor, Tensor]
    labels: Tensor
    rows: RngSlice = ALL
    contrasted: bool = True
    masked: MaskedBatch | None = None
    pairs: bool = False


class Translation(nn.Module):
    """The weighted sum of the alignment's losses: text, CTC and, if asked for, contrast. An Objective."""

    def __init__(
        self,
        model: Translator,
        params: AlignmentParams,
        gather: Callable[[Tensor, RngSlice], Tensor] = ALONE.gather,
    ) -> None:
        """Train `model` by the weights of params.losses, on clips that params.mask masks.

        Args:
            model: What learns.
            params: Of the stage.
            gather: Embeddings of this process's rows of a step -> those of the whole step.
        """
        super().__init__()
        self.model, self.params, self.gather = model, params, gather

    def prepare(self, batch: Labelled) -> Labelled:
        """In training, draw masks for a batch. See Objective.prepare()."""
        clips = batch.clips
        if not self.training or not isinstance(clips, Batch):
            return batch
        views = [clips.x] if clips.second_view is None else [clips.x, clips.second_view]
        masked = [mask_keypoints(x, **self.params.mask.model_dump(), rows=clips.rows) for x in views]
        if len(views) == 1:
            return batch._replace(masked=masked[0])
        return batch._replace(
            clips=replace(clips, mask=torch.cat([clips.mask] * 2)),
            labels=torch.cat([batch.labels] * 2),
            masked=MaskedBatch(*map(torch.cat, zip(*masked, strict=True))),
            pairs=True,
        )

    def weights(self, batch: Labelled) -> Tensor:
        """Tokens and clips of a batch, (2,). See Objective.weights()."""
        return self.model.alignment.weights(batch.labels)

    def forward(self, batch: Labelled, totals: Tensor | None = None) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            batch: Clips with their texts; masked by prepare().
            totals: (2,), of weights(): what the losses are divided by. None: the batch is all there is.

        Returns:
            Scalars: "loss", their weighted sum, and "text", "ctc", "token_accuracy" and, if asked for, "contrast" and
            "agreement".
        """
        p, clips = self.params.losses, batch.clips
        gather: Gather | None = None
        if p.contrast_weight:
            alone = totals is None or not batch.contrasted
            gather = identity if alone else lambda mine: self.gather(mine, batch.rows)
        if isinstance(clips, Batch):
            x, masked = (clips.x, None) if batch.masked is None else (batch.masked.x, batch.masked.parts)
            representations, mask = self.model.temporal.encode(x, clips.mask, masked)
        else:
            representations, mask = clips
        losses = self.model.alignment.losses(
            representations,
            mask,
            batch.labels,
            label_smoothing=p.label_smoothing,
            totals=totals,
            pairs=batch.pairs,
            gather=gather,
        )
        loss = losses.text + p.ctc_weight * losses.ctc
        out = {"text": losses.text, "ctc": losses.ctc, "token_accuracy": losses.token_accuracy}
        if losses.contrast is not None:
            out["contrast"] = losses.contrast if batch.contrasted else 0 * losses.contrast
            loss = loss + p.contrast_weight * out["contrast"]
        if losses.agreement is not None:
            out["agreement"] = losses.agreement
            loss = loss + p.agreement_weight * losses.agreement
        return {"loss": loss, **out}
