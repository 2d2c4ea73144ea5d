"""An exported translator by onnxruntime, without torch: the texts and confidences of serving.predictor.

T frames, K landmarks, C channels, S vectors, D width, N texts, L tokens, V vocabulary.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sign_models.errors import DataError, ResourceError
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.resample import frame_step, own_span, resample
from sign_models.keypoints.sequence import KeypointSequence, with_channels
from sign_models.keypoints.windows import split_into_windows
from sign_models.models.confidence import Confidence, evidence

ENCODER, DECODER, CONFIG = "encoder.onnx", "decoder.onnx", "config.json"
CHANNELS = 4
IMPOSSIBLE = -20.0  # log likelihood a token where the clip is too short for the text


@dataclass(frozen=True)
class ExportedSegment:
    """What was signed in a part of a clip.

    Attributes:
        begin: Its first frame.
        end: The frame after its last one.
        text: The text; "" where it is unsure and something is to be rejected.
        score: Mean log probability a token.
        confidence: Calibrated probability that every word is right. Where the model has none: the mean probability a
            token.
        unsure: Whether the confidence is below what was asked for.
        guess: The text that was rejected.
    """

    begin: int
    end: int
    text: str
    score: float
    confidence: float
    unsure: bool = False
    guess: str = ""


class ExportedTranslator:
    """A translator that `export` wrote, in memory."""

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        """Load it.

        Args:
            folder: With encoder.onnx, decoder.onnx, config.json and tokenizer/.
            threads: That one answer may use; None: as onnxruntime chooses.

        Raises:
            ResourceError: onnxruntime is not installed.
            DataError: The folder holds no exported translator.
        """
        try:
            import onnxruntime
        except ImportError as error:
            remedy = "pip install onnxruntime, or 'sign-models[onnx]'"
            raise ResourceError("onnxruntime is not installed", place=str(folder), remedy=remedy) from error
        from tokenizers import Tokenizer

        for name in (ENCODER, DECODER, CONFIG):
            if not (folder / name).is_file():
                remedy = "mlflow run . -e export -P format=onnx -P out=DIR"
                raise DataError(f"has no {name}", place=str(folder), wanted="an exported translator", remedy=remedy)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in (ENCODER, DECODER)
        )
        self._config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if "confidence" not in self._config:
            raise DataError(
                "was exported by an earlier version",
                place=str(folder),
                wanted="one of this version",
                remedy="export again",
            )
        told = self._config["confidence"]
        self._confidence = None if told is None else Confidence.of(told)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))

    def translate(
        self, sequence: KeypointSequence, *, beams: int | None = None, reject_below: float | None = None
    ) -> list[ExportedSegment]:
        """Translate one clip; a long one in windows, one segment each, without those in which nobody signs.

        Args:
            sequence: The clip, as `sign_models.read` gives it. It is brought to the model's frame rate where it tells
                its own.
            beams: Texts that the search follows; 1 is the fastest. None: as the model was trained for, which its
                confidence was fitted with.
            reject_below: Confidence below which no text is given. None: as the model was made.

        Returns:
            Segments in the order of time, in the clip's own frames.

        Raises:
            DataError: The clip cannot be normalised.
        """
        # as a corpus holds clips: the same clip gets the same answer
        clip = normalise(sequence, mirroring=self._config.get("mirroring", "auto")).astype(np.float16)
        wanted = self._config["generation"]
        beams, below = beams or wanted["beams"], wanted["reject_below"] if reject_below is None else reject_below
        step, length = frame_step(sequence.fps, self._config.get("fps")), len(clip)
        clip, found = resample(clip, step), []
        for window in split_into_windows(clip, wanted["window"]):
            if window.signing:
                text, score, sure = self._text(clip[window.begin : window.end].astype(np.float32), beams)
                span = own_span(window.begin, window.end, length, step)
                found.append(self._judged(ExportedSegment(*span, text, score, sure), below))
        return found

    def _judged(self, segment: ExportedSegment, below: float) -> ExportedSegment:
        """A segment without its text, where that is not sure enough; as models.translator judges."""
        judges = self._confidence is not None or below > 0
        if not judges or (segment.text and segment.confidence >= below):
            return segment
        return replace(segment, text="", unsure=True, guess=segment.text)

    def _text(self, clip: np.ndarray, beams: int) -> tuple[str, float, float]:
        """(T, K, C) -> the best of what the decoder writes and CTC reads, its score, and how sure it is."""
        wanted = self._config["generation"]
        weight, most = wanted["ctc_weight"], wanted["max_length"]
        states, mask, ctc = self._encode(clip)
        heard = _collapsed(ctc, self._config["blank"])
        texts = self._search(states, mask, beams, most)
        if weight and heard[: most - 1] not in texts:
            texts.append(heard[: most - 1])
        scores = self._likelihoods(texts, states, mask)
        if weight:
            scores = (1 - weight) * scores + weight * np.array(
                [self._ctc_log_likelihood(tokens, ctc) for tokens in texts]
            )
        scores = scores / np.array([len(tokens) + 1 for tokens in texts]) ** wanted["length_penalty"]
        order = np.argsort(-scores, kind="stable")
        best, score = texts[order[0]], float(scores[order[0]])
        ids = [self._config["token_ids"][token] for token in best]  # others where a vocabulary was cut
        text = self._tokenizer.decode(ids, skip_special_tokens=True).strip()
        sure = math.exp(min(score, 0.0))
        if self._confidence is not None:
            ranked = [texts[i] for i in order], [float(scores[i]) for i in order]
            sure = self._confidence(evidence(*ranked, len(ctc), heard, self._reading_score(ctc)))
        return text, score, sure if text else 0.0

    def _encode(self, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """-> states (1, S, D), their mask (1, S), log probabilities of CTC (S, V + 1)."""
        short = -len(clip) % self._config["stride"]
        padded = np.pad(with_channels(clip, CHANNELS), ((0, short), (0, 0), (0, 0)))
        mask = np.arange(len(padded)) < len(clip)
        states, kept, ctc = self._encoder.run(None, {"keypoints": padded[None], "mask": mask[None]})
        return states, kept, ctc[0, : kept.sum()]

    def _log_probs(self, tokens: np.ndarray, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(N, L) texts so far -> (N, L + 1, V): of each token after those before it, and of the one after them."""
        rows = np.pad(tokens, ((0, 0), (0, 1)))
        found: np.ndarray = self._decoder.run(None, {"tokens": rows, "states": states, "mask": mask})[0]
        return found

    def _search(self, states: np.ndarray, mask: np.ndarray, beams: int, most: int) -> list[list[int]]:
        """The texts that models.text.beam finds, best first, each once."""
        end, penalty = self._config["end"], self._config["generation"]["length_penalty"]
        texts, likelihoods = np.zeros((1, 0), np.int64), np.zeros(1)
        ended: list[tuple[float, list[int]]] = []
        for step in range(most):
            log_p = self._log_probs(texts, states, mask)[:, -1]
            sums = (likelihoods[:, None] + log_p).ravel()
            best = np.argsort(-sums, kind="stable")[: 2 * beams]  # enough to go on where half of them end
            came, token = np.divmod(best, log_p.shape[1])
            ends, last = token == end, step + 1 == most
            texts = np.column_stack([texts[came], token])
            for i in np.flatnonzero(ends[:beams] | last):
                ended.append((float(sums[best[i]]) / (step + 1) ** penalty, texts[i, : step + 1 - ends[i]].tolist()))
            if last or len(ended) >= beams:
                break
            going = np.flatnonzero(~ends)[:beams]
            texts, likelihoods = texts[going], sums[best[going]]
        ended.sort(key=lambda found: -found[0])
        padding = self._config["padding"]
        found = [tuple(token for token in tokens if token != padding) for _, tokens in ended[:beams]]
        return [list(tokens) for tokens in dict.fromkeys(found)]

    def _likelihoods(self, texts: list[list[int]], states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(N,) of texts and their ends, by the decoder."""
        longest = max(map(len, texts))
        rows = np.array([[*tokens, *[0] * (longest - len(tokens))] for tokens in texts], np.int64)
        log_p = self._log_probs(rows.reshape(len(texts), longest), states, mask)
        end = self._config["end"]
        return np.array([log_p[i, range(len(t) + 1), [*t, end]].sum() for i, t in enumerate(texts)], np.float64)

    def _reading_score(self, ctc: np.ndarray) -> float:
        """Mean log probability of what CTC reads, as models.ctc has it."""
        emitted = ctc.argmax(-1) != self._config["blank"]
        return float(ctc.max(-1)[emitted if emitted.any() else slice(None)].mean())

    def _ctc_log_likelihood(self, tokens: list[int], ctc: np.ndarray) -> float:
        """Of a text, by CTC, which knows no end."""
        blank = self._config["blank"]
        tokens = [token for token in tokens if token not in (self._config["end"], blank)]
        score = ctc_likelihood(ctc, tokens, blank)
        return score if np.isfinite(score) else IMPOSSIBLE * len(tokens)


def ctc_likelihood(log_p: np.ndarray, tokens: list[int], blank: int) -> float:
    """Log likelihood of a text over all paths that read it (Graves et al. 2006).

    Args:
        log_p: (S, V + 1) log probabilities, the blank's among them.
        tokens: The text.
        blank: Its id.

    Returns:
        -inf where the clip is too short for the text.
    """
    states = [blank, *(state for token in tokens for state in (token, blank))]
    # a token may follow the one before the blank only if it is another
    skips = np.array([(i > 2 and s != blank and s != states[i - 2]) or i == 1 for i, s in enumerate(states)])
    total = np.full(len(states) + 2, -np.inf)  # two states before the first
    total[1] = 0.0  # begins in the first blank, or in the first token
    for row in log_p[:, states]:
        reached = np.logaddexp(total[2:], total[1:-1])
        reached = np.where(skips, np.logaddexp(reached, total[:-2]), reached)
        total[2:], total[:2] = reached + row, -np.inf
    return float(np.logaddexp(total[-1], total[-2] if tokens else -np.inf))


def _collapsed(ctc: np.ndarray, blank: int) -> list[int]:
    """The best path of CTC without repeats and blanks."""
    path = ctc.argmax(-1)
    new = np.append(True, path[1:] != path[:-1])
    return [int(token) for token in path[new] if token != blank]


def quantize(folder: Path) -> None:
    """Write the weights of both graphs with 8 bits; activations are rounded as they come.

    Args:
        folder: Of an export; its graphs are replaced.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_quiet)
    try:
        for name in (ENCODER, DECODER):
            small = folder / f"{name}.int8"
            quantize_dynamic(folder / name, small, weight_type=QuantType.QInt8)
            small.replace(folder / name)
    finally:
        logging.getLogger().removeFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    """Leave out that models should be optimised first: torch's exporter has done so."""
    return "pre-process" not in record.getMessage()
