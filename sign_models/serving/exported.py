"""An exported translator by onnxruntime, without torch: greedy texts, ranked by both heads as models.alignment does.

T frames, K landmarks, S vectors, L tokens, V vocabulary.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sign_models.errors import DataError, ResourceError
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence, with_channels
from sign_models.keypoints.windows import split_into_windows

ENCODER, DECODER, CONFIG = "encoder.onnx", "decoder.onnx", "config.json"
CHANNELS = 4
IMPOSSIBLE = -20.0  # log likelihood a token where the clip is too short for the text


@dataclass(frozen=True)
class ExportedSegment:
    """What was signed from frame begin to end, and its mean log probability a token."""

    begin: int
    end: int
    text: str
    score: float


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
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))

    def translate(self, sequence: KeypointSequence) -> list[ExportedSegment]:
        """Translate one clip; a long one in windows, one segment each, without those in which nobody signs.

        Args:
            sequence: The clip, as `sign_models.read` gives it.

        Returns:
            Segments in the order of time.

        Raises:
            DataError: The clip cannot be normalised.
        """
        clip = normalise(sequence).astype(np.float16)  # as a corpus holds clips: the same clip gets the same answer
        found = []
        for window in split_into_windows(clip, self._config["generation"]["window"]):
            if window.signing:
                text, score = self._text(clip[window.begin : window.end].astype(np.float32))
                found.append(ExportedSegment(window.begin, window.end, text, score))
        return found

    def _text(self, clip: np.ndarray) -> tuple[str, float]:
        """(T, K, C) -> the better of what the decoder writes and what CTC reads, by both."""
        wanted = self._config["generation"]
        weight, most = wanted["ctc_weight"], wanted["max_length"]
        states, mask, ctc = self._encode(clip)
        texts = [self._greedy(states, mask, most)]
        if weight and (read := _collapsed(ctc, self._config["blank"])[: most - 1]) not in texts:
            texts.append(read)
        scores = []
        for tokens in texts:
            score = self._likelihood(tokens, states, mask)
            if weight:
                score = (1 - weight) * score + weight * self._heard(tokens, ctc)
            scores.append(score / (len(tokens) + 1) ** wanted["length_penalty"])
        best = int(np.argmax(scores))
        ids = [self._config["token_ids"][token] for token in texts[best]]  # others where a vocabulary was cut
        return self._tokenizer.decode(ids, skip_special_tokens=True).strip(), scores[best]

    def _encode(self, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """-> states (1, S, D), their mask (1, S), log probabilities of CTC (S, V + 1)."""
        short = -len(clip) % self._config["stride"]
        padded = np.pad(with_channels(clip, CHANNELS), ((0, short), (0, 0), (0, 0)))
        mask = np.arange(len(padded)) < len(clip)
        states, kept, ctc = self._encoder.run(None, {"keypoints": padded[None], "mask": mask[None]})
        return states, kept, ctc[0, : kept.sum()]

    def _log_probs(self, tokens: list[int], states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(L + 1, V): of each token after those before it, and of the one after them."""
        row = np.array([[*tokens, 0]], np.int64)
        found: np.ndarray = self._decoder.run(None, {"tokens": row, "states": states, "mask": mask})[0][0]
        return found

    def _greedy(self, states: np.ndarray, mask: np.ndarray, most: int) -> list[int]:
        tokens: list[int] = []
        while len(tokens) < most:
            token = int(self._log_probs(tokens, states, mask)[-1].argmax())
            if token == self._config["end"]:
                break
            tokens.append(token)
        return [token for token in tokens if token != self._config["padding"]]

    def _likelihood(self, tokens: list[int], states: np.ndarray, mask: np.ndarray) -> float:
        """Of a text and its end, by the decoder."""
        log_p = self._log_probs(tokens, states, mask)
        return float(log_p[np.arange(len(tokens) + 1), [*tokens, self._config["end"]]].sum())

    def _heard(self, tokens: list[int], ctc: np.ndarray) -> float:
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
