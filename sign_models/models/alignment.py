"""The alignment model: representations and text in one space, and text out of representations.

B batch, S vectors, L tokens, D width, V vocabulary, E width of the space shared by videos and texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sign_models.models.blocks import check_mask
from sign_models.models.ctc import ctc_loss, reading_score
from sign_models.models.earlier import migrate_ctc_weights
from sign_models.models.n_best import NBest, first_of_alike, joint, padded_labels, searched_labels
from sign_models.models.temporal import pool
from sign_models.models.text import IGNORED, TextModel

SHARED_WIDTH = 128
IMPOSSIBLE_LOG_PROB = -20.0
MAX_COPIED_LOG_PROBS = 2**28  # log probabilities copied at a time to score texts: 1 GiB

Gather = Callable[[Tensor], Tensor]


def identity(rows: Tensor) -> Tensor:
    """The rows of a batch that is all there is.

    Args:
        rows: (B, ...).

    Returns:
        `rows`.
    """
    return rows


@dataclass(frozen=True)
class AlignmentLosses:
    """Scalars, before weighting; None where not asked for."""

    text: Tensor
    ctc: Tensor
    contrast: Tensor | None
    token_accuracy: Tensor
    agreement: Tensor | None = None


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """The mean of both Kullback-Leibler divergences.

    Each follows the other, which stays where it is: both would else agree on whatever is easiest.

    Args:
        one: (..., V) log probabilities.
        other: (..., V).

    Returns:
        (...).
    """
    a, b = one.detach(), other.detach()
    return (b.exp() * (b - one) + a.exp() * (a - other)).sum(-1) / 2


class AlignmentModel(nn.Module):
    """Reads representations (B, S, D) of one temporal model, however they were made.

    CTC tells the tokens of the vocabulary and its blank, an id of its own after them: every token of a pretrained
    vocabulary may be a word. In models of before 2026-11-30 token 0 was the blank, and still is.
    """

    def __init__(self, representation_width: int, vocabulary: int, text: TextModel, blank: int | None = None) -> None:
        """Build it around a text model.

        Args:
            representation_width: D.
            vocabulary: V, of the text model.
            text: Writes the texts.
            blank: CTC's; None: the id after the vocabulary.
        """
        super().__init__()
        self.text = text
        self.vocabulary = vocabulary
        self.blank = vocabulary if blank is None else blank
        classes = max(vocabulary, self.blank + 1)  # ids that CTC tells apart
        self.adapt = nn.Sequential(nn.LayerNorm(representation_width), nn.Linear(representation_width, text.width))
        self.ctc = nn.Linear(text.width, classes)
        # what CTC reads goes back in (Nozaki, Komatsu 2021)
        self.ctc_feedback = nn.Linear(classes, text.width, bias=False)
        self.video_side, self.text_side = nn.Linear(text.width, SHARED_WIDTH), nn.Linear(text.width, SHARED_WIDTH)
        self.temperature = nn.Parameter(torch.tensor(2.0))  # log of the contrast's inverse temperature
        self.register_load_state_dict_pre_hook(migrate_ctc_weights)  # type: ignore[no-untyped-call]

    def read(self, representations: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What both heads are given.

        Args:
            representations: (B, S, D).
            mask: (B, S) bool.

        Returns:
            The text model's prefix (B, S, its width), and CTC's log probabilities (B, S, V + 1) float32.
        """
        check_mask(mask, representations)
        y = self.adapt(representations)
        ctc = self.ctc(y).float().log_softmax(-1)
        return y + self.ctc_feedback(ctc.exp().to(y.dtype)), ctc

    def losses(
        self,
        representations: Tensor,
        mask: Tensor,
        labels: Tensor,
        *,
        label_smoothing: float,
        totals: Tensor | None = None,
        pairs: bool = False,
        gather: Gather | None = identity,
    ) -> AlignmentLosses:
        """Of clips and their texts.

        Args:
            representations: (B, S, D).
            mask: (B, S) bool.
            labels: (B, L) with IGNORED padding.
            label_smoothing: Of the text loss.
            totals: (2,) tokens and clips to divide by, of weights(); None: those of `labels`.
            pairs: Whether row B / 2 + i is another view of row i: both heads are then to read both alike.
            gather: Rows of this batch -> those of all clips that the contrast tells apart, where these are only some.
                None: no contrast is wanted.

        Returns:
            The losses, those that were not asked for None.
        """
        prefix, ctc = self.read(representations, mask)
        logits = self.text.logits(self.text.encode(prefix, mask), mask, labels)
        known = labels != IGNORED
        per_token = F.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="none"
        )
        tokens, clips = (self.weights(labels) if totals is None else totals).clamp(min=1)
        return AlignmentLosses(
            text=per_token.sum() / tokens,
            ctc=self.ctc_loss(ctc, mask, labels).sum() / clips,
            contrast=self.contrast(prefix, mask, labels, gather) * (len(labels) / clips) if gather else None,
            token_accuracy=((logits.argmax(-1) == labels) & known).sum() / tokens,
            agreement=self._agreement(ctc, mask, logits, labels, tokens / 2, clips / 2) if pairs else None,
        )

    def _agreement(
        self, ctc: Tensor, mask: Tensor, logits: Tensor, labels: Tensor, tokens: Tensor, clips: Tensor
    ) -> Tensor:
        """How far two views are from being read alike.

        By CTC, a word (Yao et al. 2024), and by the text model, a token (Liang et al. 2021). The second half of each
        argument is another view of the first.

        Args:
            ctc: (B, S, V + 1) log probabilities.
            mask: (B, S) bool.
            logits: (B, L, V), of the text model.
            labels: (B, L).
            tokens: To divide by.
            clips: To divide by.
        """
        labels, mask = labels.chunk(2)[0], mask.chunk(2)[0]
        by_ctc, words = divergence(*ctc.chunk(2)) * mask, self.ctc_label_mask(labels).sum(1).clamp(min=1)
        by_decoder = divergence(*logits.log_softmax(-1).chunk(2)) * (labels != IGNORED)
        return (by_ctc.sum(1) / words).sum() / clips + by_decoder.sum() / tokens

    def weights(self, labels: Tensor) -> Tensor:
        """Count what losses are means over.

        Args:
            labels: (B, L) with IGNORED padding.

        Returns:
            (2,) tokens and clips.
        """
        tokens = (labels != IGNORED).sum().float()
        return torch.stack([tokens, torch.full_like(tokens, len(labels))])

    def ctc_loss(self, ctc: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Negative log likelihood a token of each text by CTC.

        Args:
            ctc: (B, S, V + 1) log probabilities.
            mask: (B, S) bool.
            labels: (B, L) with IGNORED padding.

        Returns:
            (B,) means; 0 where a clip is too short for its text.
        """
        loss, lengths = self._ctc(ctc, mask, labels, zero_infinity=True)
        return loss / lengths.clamp(min=1)

    def _ctc(self, ctc: Tensor, mask: Tensor, labels: Tensor, zero_infinity: bool) -> tuple[Tensor, Tensor]:
        """Negative log likelihood of each text (B,), infinite or 0 where its clip is too short, and its tokens (B,)."""
        words = self.ctc_label_mask(labels)
        lengths = words.sum(1)
        order = torch.argsort(~words, dim=1, stable=True)  # tokens that count, moved to the front
        targets = labels.clamp(min=0).gather(1, order)
        loss = ctc_loss(ctc, targets, mask.sum(1), lengths, blank=self.blank, zero_infinity=zero_infinity)
        return loss, lengths

    def ctc_label_mask(self, labels: Tensor) -> Tensor:
        """Which labels CTC aligns.

        Args:
            labels: (B, L) with IGNORED padding.

        Returns:
            (B, L) bool, False for padding, the end of the sentence and the blank.
        """
        end = self.text.eos_id
        return (labels != IGNORED) & (labels != end) & (labels != self.blank)

    def contrast(self, prefix: Tensor, mask: Tensor, labels: Tensor, gather: Gather = identity) -> Tensor:
        """Sentence-level InfoNCE of videos and texts; a clip with the very same text is no negative.

        Args:
            prefix: (B, S, the text model's width), of read().
            mask: (B, S) bool.
            labels: (B, L) with IGNORED padding.
            gather: Rows of this batch -> those of all clips that are to be told apart.

        Returns:
            Scalar, the mean of both directions.
        """
        known = labels != IGNORED
        tokens = self.text.embed(labels.clamp(min=0))
        texts = gather(F.normalize(self.text_side(pool(tokens, known)).float(), dim=-1))
        videos = gather(F.normalize(self.video_side(pool(prefix, mask)).float(), dim=-1))
        labels = gather(labels)
        logits = videos @ texts.T * self.temperature.exp().clamp(max=100)
        same = (labels.unsqueeze(0) == labels.unsqueeze(1)).all(-1)
        eye = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        logits = logits.masked_fill(same & ~eye, float("-inf"))
        target = torch.arange(len(labels), device=labels.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    @torch.no_grad()
    def n_best(
        self,
        representations: Tensor,
        mask: Tensor,
        *,
        beams: int,
        max_length: int,
        length_penalty: float,
        ask_ctc: bool,
    ) -> NBest:
        """The text model's beams, with what both heads say of each.

        Args:
            representations: (B, S, D).
            mask: (B, S) bool.
            beams: Texts that the search follows.
            max_length: Tokens of a text at most.
            length_penalty: Exponent of a text's length in the search.
            ask_ctc: Whether CTC scores them too. What it reads itself is one of them then.

        Returns:
            The texts of all clips, each once a clip.
        """
        prefix, ctc = self.read(representations, mask)
        encoded = self.text.encode(prefix, mask)
        beam, likelihoods = self.text.generate(
            encoded, mask, beams=beams, max_length=max_length, length_penalty=length_penalty
        )
        labels, unlike = searched_labels(beam, self.text.eos_id, self.text.pad_id)
        score, greedy = likelihoods.masked_fill(unlike, torch.nan), self.greedy(ctc, mask)
        if ask_ctc:
            own = padded_labels([tokens[: max_length - 1] for tokens in greedy], self.text.eos_id).to(mask.device)
            own = F.pad(own, (0, labels.shape[-1] - own.shape[-1]), value=IGNORED)
            labels, score = torch.cat([labels, own.unsqueeze(1)], 1), F.pad(score, (0, 1), value=torch.nan)
        chosen = first_of_alike(labels)
        clip_index, labels, score = chosen.nonzero()[:, 0], labels[chosen], score[chosen]
        labels = labels[:, : int((labels != IGNORED).sum(1).max())]
        if len(unknown := score.isnan().nonzero().squeeze(1)):
            score[unknown] = self.text.log_likelihood(encoded, mask, labels[unknown], clip_index[unknown])
        by_ctc = self.ctc_score(ctc, mask, labels, clip_index) if ask_ctc else None
        return NBest(labels, clip_index, score, by_ctc, greedy, reading_score(ctc, mask, self.blank).tolist())

    def ctc_score(self, ctc: Tensor, mask: Tensor, labels: Tensor, clip_index: Tensor) -> Tensor:
        """Log likelihood of given texts by CTC.

        A few at a time: each takes a copy of all that CTC says of its clip.

        Args:
            ctc: (B, S, V + 1) log probabilities.
            mask: (B, S) bool.
            labels: (N, L) with IGNORED padding.
            clip_index: (N,) the clip of each text.

        Returns:
            (N,), IMPOSSIBLE_LOG_PROB a token where a clip is too short for its text.
        """
        scores = []
        for part in torch.split(
            torch.arange(len(clip_index), device=clip_index.device), max(1, MAX_COPIED_LOG_PROBS // ctc[0].numel())
        ):
            loss, lengths = self._ctc(ctc[clip_index[part]], mask[clip_index[part]], labels[part], zero_infinity=False)
            scores.append(torch.where(loss.isinf(), IMPOSSIBLE_LOG_PROB * lengths, -loss))
        return torch.cat(scores)

    @torch.no_grad()
    def self_training_labels(
        self, representations: Tensor, mask: Tensor, *, ctc_weight: float, longest: int, threshold: float
    ) -> list[list[int]]:
        """What both heads read alike.

        What CTC reads is what the decoder would write, word after word, just where each token of it is the decoder's
        first choice after those before it: one pass tells, without writing anything.

        Args:
            representations: (B, S, D).
            mask: (B, S) bool.
            ctc_weight: Of CTC in a text's mean token probability.
            longest: Tokens at most, the end included.
            threshold: The mean token probability at least.

        Returns:
            The token ids of each clip; an empty list where the heads differ or are not sure.
        """
        prefix, ctc = self.read(representations, mask)
        end = self.text.eos_id
        rows = [tokens if len(tokens) < longest else [] for tokens in self.greedy(ctc, mask)]
        labels = padded_labels(rows, end).to(mask.device)
        log_p = self.text.logits(self.text.encode(prefix, mask), mask, labels).log_softmax(-1)
        known = labels != IGNORED
        alike = ((log_p.argmax(-1) == labels) | ~known).all(1)
        by_decoder = (log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1) * known).sum(1)
        clip_index = torch.arange(len(rows), device=mask.device)
        by_ctc = self.ctc_score(ctc, mask, labels, clip_index) if ctc_weight else None
        score = joint(by_decoder, by_ctc, ctc_weight) / known.sum(1)
        sure = alike & (score.exp() >= threshold)
        return [tokens if chosen else [] for tokens, chosen in zip(rows, sure.tolist(), strict=True)]

    def greedy(self, ctc: Tensor, mask: Tensor) -> list[list[int]]:
        """What CTC reads by its best path: repeats and blanks are taken out.

        Args:
            ctc: (B, S, V + 1) log probabilities.
            mask: (B, S) bool.

        Returns:
            The token ids of each clip.
        """
        path = ctc.argmax(-1)
        read = (path != self.blank) & mask
        read[:, 1:] &= path[:, 1:] != path[:, :-1]
        counts, tokens = read.sum(1).tolist(), path[read].tolist()
        ends = [*accumulate(counts)]
        return [tokens[end - count : end] for count, end in zip(counts, ends, strict=True)]
