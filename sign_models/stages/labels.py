"""Texts as the tokens that alignment learns, and how many clips with a text a step has.

N clips, L tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sign_models.data.corpus import Corpus
from sign_models.data.splits import describe_clips
from sign_models.data.tokenizer import train_tokenizer
from sign_models.models.text import IGNORED, TextModel
from sign_models.models.text.decoder import TextDecoder
from sign_models.models.text.tokenizer import TextTokenizer
from sign_models.params.schema import AlignmentParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    AnyTokenizer: TypeAlias = TextTokenizer | PreTrainedTokenizerBase

LABEL_BUCKET = 8  # token lengths are rounded up to a multiple of this: few shapes


def text_side(params: AlignmentParams, train: list[str], dev: list[str]) -> tuple[AnyTokenizer, TextModel]:
    """Make the tokenizer and the text model that params name.

    Args:
        params: The stage's parameters.
        train: Texts of the training clips.
        dev: Texts of the held-out clips.

    Returns:
        The tokenizer and the model.
    """
    d = params.decoder
    if d.pretrained:
        from sign_models.models.text.pretrained import PretrainedText, read_pretrained  # seconds

        text = PretrainedText.from_pretrained(d.pretrained, train if d.prune else None, d.lora)
        return read_pretrained(d.pretrained)[1], text
    tokenizer = TextTokenizer(train_tokenizer(train, dev, params.tokenizer.kind, params.tokenizer.vocabulary))
    return tokenizer, TextDecoder(len(tokenizer), d.width, d.layers, d.heads, d.dropout)


def label_table(tokenizer: AnyTokenizer, texts: list[str | None], text: TextModel) -> Tensor:
    """Token ids of every text.

    Args:
        tokenizer: Of the texts.
        texts: Of each clip; None where it has none.
        text: The text model, whose ids are used.

    Returns:
        (N, L) ids, then the end, then IGNORED; all IGNORED where there is no text.
    """
    end = text.eos_id
    rows = [
        [] if t is None else [*text.to_model_ids(tokenizer(t, add_special_tokens=False)["input_ids"]), end]
        for t in texts
    ]
    longest = -(-max(len(r) for r in rows) // LABEL_BUCKET) * LABEL_BUCKET
    table = torch.full((len(rows), longest), IGNORED)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return table


def too_short(
    corpus: Corpus, clips: np.ndarray, name: str, labels: Tensor, label_mask: Tensor, stride: int
) -> dict[str, str]:
    """Which clips CTC cannot learn from: it needs a vector a token, and one more between two that are alike.

    Args:
        corpus: Tells the lengths of the clips.
        clips: (M,) places of the clips.
        name: What they are for, as messages name it.
        labels: (N, L) token ids of every clip of the corpus.
        label_mask: (N, L) bool, those that CTC aligns.
        stride: Frames a vector.

    Returns:
        A fact for the log and the run, or nothing.
    """
    alike = (labels[:, 1:] == labels[:, :-1]) & label_mask[:, 1:] & label_mask[:, :-1]
    needed = (label_mask.sum(1) + alike.sum(1)).numpy()
    short = clips[needed[clips] > -(-corpus.lengths[clips] // stride)]
    if not len(short):
        return {}
    said = f"{len(short)} of {len(clips)} {name} videos are too short for CTC to tell their texts and have no part in"
    return {f"too_short.{name}": f"{said} its loss: {describe_clips(corpus, short)}"}


def labelled_clips(params: AlignmentParams, labelled: int, unlabelled: int) -> int:
    """Labelled clips a step.

    Where every video has a text, more labelled ones take the places of those of self-training, in as many steps
    (docs/experiments.md); not where clips are so few that min_steps goes through them more often than epochs says.

    Args:
        params: The stage's parameters.
        labelled: Clips with a text.
        unlabelled: Those without.

    Returns:
        The number.
    """
    t = params.training
    if unlabelled or t.epochs is None:
        return t.batch_size
    most = round(t.batch_size * (1 + params.self_training.share))
    return max(t.batch_size, min(most, int(t.epochs * labelled / max(1, t.min_steps))))
