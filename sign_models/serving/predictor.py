"""Any of the models, answering keypoint sequences as files and requests bring them.

B clips, T frames, S vectors, K landmarks, D width.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.resample import frame_step, own_span, resample
from sign_models.keypoints.sequence import KeypointSequence, with_channels
from sign_models.keypoints.windows import Window
from sign_models.keypoints.windows import split_into_windows as cut_up
from sign_models.models.pace import MAX_CLIPS, MAX_FRAMES
from sign_models.models.precision import inference_autocast
from sign_models.models.skeleton import SkeletonModel
from sign_models.models.storage import mirroring_of
from sign_models.models.temporal import TemporalModel
from sign_models.models.translator import Hypothesis, Translator, describe_window, join_windows, refuse

logger = logging.getLogger(__name__)

BATCH_FRAMES = 16_384  # padded frames at once
MAX_CALLER_FRAMES = BATCH_FRAMES // 2  # frames that a caller asks about at once: the other half is for those who wait


@dataclass(eq=False)
class _Request:
    """Windows (T, K, 3) of one caller; found: what the model says of each, None until it is there."""

    windows: list[np.ndarray]
    options: tuple[int | None, int | None]  # beams, n_best
    found: list[Any] | None = None

    @property
    def frames(self) -> int:
        return sum(map(len, self.windows))


class Predictor:
    """Answers with a model, on a GPU where there is one, else in full precision on the CPU.

    In full precision a clip's text does not depend on its batch. Threads may ask at once: one at a time uses the model,
    and answers those that wait for it in the same batch. A long clip is asked about a few windows at a time, so that
    others have their turn meanwhile and memory does not grow.

    Attributes:
        device: Where the model is.
        model: The model, in evaluation mode.
        mirroring: How clips are mirrored, as its training clips were.
    """

    def __init__(self, model: nn.Module) -> None:
        """Move a model to the device.

        Args:
            model: A SkeletonModel, TemporalModel or Translator.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval()
        self.mirroring = mirroring_of(model)
        self._waiting: list[_Request] = []
        self._in_use = threading.Lock()

    def predict(
        self,
        sequences: Sequence[KeypointSequence],
        *,
        beams: int | None = None,
        n_best: int | None = None,
        windows: bool = False,
        reject_below: float | None = None,
    ) -> list[dict[str, Any]]:
        """Answer clips.

        A translator that knows its training's pace (models.pace) reads all clips of a call at one other tempo, where
        theirs is another: they should be one person's.

        Args:
            sequences: The clips. Those that tell a frame rate are brought to the model's; frames and seconds of the
                answers are the clips' own.
            beams: Hypotheses that a translator's search follows. None: as it was trained for.
            n_best: Most texts that a translator answers. None: one.
            windows: Whether a translator's answers name the windows of a clip.
            reject_below: Confidence below which a translator gives no text. None: as it was made.

        Returns:
            One answer a clip, in order. Of a skeleton model {"distance"}: mean distance of restored from seen
            landmarks, in shoulder widths. Of a temporal model {"representation"}: (S, D) as nested lists. Of a
            translator {"text", "score"}, with "n_best" where more than one text is asked for, and "windows" where they
            are. Where it has a calibrated confidence, or is to reject, answers and windows have {"confidence",
            "unsure"} too. The text of a window that is rejected is "", and its "guess" is what it would be. The text of
            a clip leaves such a window out, and the clip is unsure. Where clips are read at another tempo than they
            have, {"tempo"}: of the signer, as a multiple of training's.

        Raises:
            DataError: A clip cannot be normalised.
        """
        # half precision, as a corpus holds clips: the same clip gets the same answer
        clips = [normalise(sequence, mirroring=self.mirroring).astype(np.float16) for sequence in sequences]
        steps = [frame_step(sequence.fps, self.fps) for sequence in sequences]
        tempo, read = self._at_their_tempo(clips, steps, (beams, n_best))
        answers = []
        for sequence, (of, parts), clip, step in zip(sequences, read, clips, steps, strict=True):
            answer = self._joined(of, parts, n_best)
            if isinstance(self.model, Translator):
                spans = [own_span(w.begin, w.end, len(clip), step / tempo) for w in of]
                told_of = [describe_window(*at, sequence.fps, p[0]) for at, p in zip(spans, parts, strict=True)]
                answer = self._judge(answer, told_of, [p[0] for p in parts], reject_below)
                answer |= {"windows": told_of} if windows else {}
                answer |= {"tempo": tempo} if tempo != 1 else {}
            answers.append(answer)
        return answers

    def _at_their_tempo(
        self, clips: list[np.ndarray], steps: list[float], options: tuple[int | None, int | None]
    ) -> tuple[float, list[tuple[list[Window], list[Any]]]]:
        """The tempo at which clips are read; of each its windows and what is found of them.

        A few clips, and a minute of each, tell the tempo: a long recording is not read three times.
        """
        sample = [clip[: round(MAX_FRAMES * step)] for clip, step in zip(clips[:MAX_CLIPS], steps, strict=False)]
        read: dict[float, list[tuple[list[Window], list[Any]]]] = {}

        def at(tempo: float) -> list[tuple[list[Window], list[Any]]]:
            if tempo not in read:
                read[tempo] = self._read(sample, [step / tempo for step in steps[: len(sample)]], options)
            return read[tempo]

        tempo = 1.0
        if isinstance(self.model, Translator):
            wanted, pace = self.model.generation.tempo, self.model.pace
            if wanted is not None:
                tempo = wanted
            elif pace is not None:
                tempo = pace.tempo(lambda tempo: [[found[0] for found in parts] for _, parts in at(tempo)])
        if tempo in read and [*map(len, sample)] == [*map(len, clips)]:
            return tempo, read[tempo]
        return tempo, self._read(clips, [step / tempo for step in steps], options)

    def _read(
        self, clips: list[np.ndarray], steps: list[float], options: tuple[int | None, int | None]
    ) -> list[tuple[list[Window], list[Any]]]:
        """Of each clip, resampled by its step, the windows in which somebody signs, and what is found of them."""
        longest, multiple = self.reach()
        clips = [resample(clip, step) for clip, step in zip(clips, steps, strict=True)]
        cut = [cut_up(clip, longest, multiple) for clip in clips]
        if isinstance(self.model, Translator):
            cut = [[w for w in of if w.signing] for of in cut]
        found = self._asked([c[w.begin : w.end] for c, of in zip(clips, cut, strict=True) for w in of], options)
        return [(of, [next(found) for _ in of]) for of in cut]

    def _judge(
        self, answer: dict[str, Any], windows: list[dict[str, Any]], best: list[Hypothesis], reject_below: float | None
    ) -> dict[str, Any]:
        """The answer to a clip, and in their places its windows, with how sure they are, without what is rejected."""
        model = self.model
        assert isinstance(model, Translator)
        below = model.generation.reject_below if reject_below is None else reject_below
        windows[:] = [refuse(w | model.judge([b], below)) for w, b in zip(windows, best, strict=True)]
        answer = refuse(answer | model.judge(best, below))
        if answer.get("unsure"):
            sure = [i for i, window in enumerate(windows) if not window["unsure"]]
            answer["text"] = join_windows([[best[i]] for i in sure], [1] * len(sure))[0].text
        return answer

    @property
    def fps(self) -> float | None:
        """Frames a second of the clips that the model reads. None: clips are read at their own rate."""
        return cast("float | None", getattr(self.model, "fps", None))

    def reach(self) -> tuple[int, int]:
        """How the model takes long clips.

        Returns:
            Frames of the longest window that it is given, and of how many frames windows are multiples.
        """
        if isinstance(self.model, Translator):
            return self.model.generation.window, 1
        if isinstance(self.model, TemporalModel):
            return self.model.window, self.model.stride
        return BATCH_FRAMES, 1

    def _asked(self, windows: list[np.ndarray], options: tuple[int | None, int | None]) -> Iterator[Any]:
        """Yield what the model says of each window."""
        for part in _questions(windows):
            request = _Request(part, options)
            self._waiting.append(request)
            with self._in_use:
                if request.found is None:
                    self._waiting.remove(request)
                    self._answer_with_others(request)
            assert request.found is not None
            yield from request.found

    def _answer_with_others(self, first: _Request) -> None:
        """Answer `first` and those that wait with the same options, as far as one batch holds them.

        Where that fails `first` is answered alone, so that it fails for no other's windows; the others still wait, and
        ask for themselves.
        """
        together, frames = [first], first.frames
        for other in list(self._waiting):
            if other.options == first.options and frames + other.frames <= BATCH_FRAMES:
                together.append(other)
                frames += other.frames
        try:
            answers = self._found([window for request in together for window in request.windows], *first.options)
        except Exception as error:
            if len(together) == 1:
                raise
            logger.warning("a batch of %d requests failed (%s); each is answered alone", len(together), error)
            together = [first]
            answers = self._found(first.windows, *first.options)
        found = iter(answers)
        for request in together:
            request.found = [next(found) for _ in request.windows]
        for other in together[1:]:
            self._waiting.remove(other)

    def _found(self, windows: list[np.ndarray], beams: int | None, n_best: int | None) -> list[Any]:
        """The answers to windows, which are read in batches of like lengths, in their order."""
        found: dict[int, Any] = {}
        for places in _batches([len(window) for window in windows]):
            x, mask = pad([windows[i] for i in places], self.device)
            found.update(zip(places, self._answer(x, mask, beams, n_best), strict=True))
        return [found[i] for i in range(len(windows))]

    @torch.inference_mode()
    def _answer(self, x: Tensor, mask: Tensor, beams: int | None, n_best: int | None) -> list[Any]:
        """Hypotheses, representation (S, D), or distance and weight of the landmarks, of each window."""
        model = self.model
        with inference_autocast(self.device):
            if isinstance(model, Translator):
                y, kept = model(x, mask)
                wanted = replace(model.generation, beams=max(beams or model.generation.beams, n_best or 1))
                return model.translate(y, kept, wanted)
            if isinstance(model, TemporalModel):
                y, kept = model.encode(x, mask)
                return [r[m].float().cpu() for r, m in zip(y, kept, strict=True)]
            assert isinstance(model, SkeletonModel)
            distance = (model(x, mask).float() - x[..., :2]).norm(dim=-1)
            weight = x[..., 2] * mask.unsqueeze(-1)
            return torch.stack([(distance * weight).sum((1, 2)), weight.sum((1, 2))], 1).tolist()

    def _joined(self, windows: list[Window], found: list[Any], n_best: int | None) -> dict[str, Any]:
        """Answer to a clip, made of what was found of its windows."""
        if isinstance(self.model, Translator):
            best = join_windows(found, [w.end - w.begin for w in windows], n_best or 1)
            answer: dict[str, Any] = {"text": best[0].text, "score": best[0].score}
            if n_best is not None and n_best > 1:
                answer["n_best"] = [{"text": h.text, "score": h.score} for h in best]
            return answer
        if isinstance(self.model, TemporalModel):
            return {"representation": [vector for part in found for vector in part.tolist()]}
        distance, weight = map(sum, zip(*found, strict=True))
        return {"distance": distance / max(weight, 1e-6)}


def pad(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pad clips to a batch.

    Args:
        clips: (T_i, K, 3 or 4) each.
        device: Where to.

    Returns:
        (B, T, K, 3 or 4) float32, and mask (B, T) bool.
    """
    lengths = torch.tensor([len(clip) for clip in clips])
    most = max(clip.shape[-1] for clip in clips)
    clips = [with_channels(clip, most) for clip in clips]
    x = nn.utils.rnn.pad_sequence([torch.from_numpy(clip).float() for clip in clips], batch_first=True)
    return x.to(device), (torch.arange(x.shape[1]) < lengths.unsqueeze(1)).to(device)


def _questions(windows: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Divide windows, in order, into parts of MAX_CALLER_FRAMES frames or a little more."""
    part: list[np.ndarray] = []
    for window in windows:
        part.append(window)
        if sum(map(len, part)) >= MAX_CALLER_FRAMES:
            yield part
            part = []
    if part:
        yield part


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Places of windows of like length, at most BATCH_FRAMES padded frames together."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
