"""What a translator says of the windows of videos: validation, generation and the choice of a tempo alike.

B windows of a batch, T frames, S vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sign_models import interruption
from sign_models.data.batching import DeviceCorpus
from sign_models.data.sampler import batches_by_length
from sign_models.data.windows import WindowedCorpus
from sign_models.models.precision import inference_autocast
from sign_models.models.translator import Generation, Hypothesis, Translator, join_windows

T = TypeVar("T")


def best_of(model: Translator, wanted: Generation) -> Callable[[Tensor, Tensor], list[Hypothesis]]:
    """Make for by_window() what gives the best text of each window.

    Args:
        model: The translator.
        wanted: How it searches.

    Returns:
        A function of representations (B, S, D) and their mask (B, S).
    """
    return lambda y, mask: [found[0] for found in model.translate(y, mask, wanted, most=1)]


def signed(cut: WindowedCorpus, clips: np.ndarray) -> np.ndarray:
    """Which windows are of some clips and show somebody who signs.

    Args:
        cut: Windows of a corpus.
        clips: Places in it of those in which somebody signs.

    Returns:
        (W,) bool.
    """
    chosen: np.ndarray = np.isin(cut.clip_index, clips) & cut.signing
    return chosen


@torch.no_grad()
def by_window(
    model: Translator,
    frames: DeviceCorpus,
    cut: WindowedCorpus,
    clips: np.ndarray,
    translate: Callable[[Tensor, Tensor], list[T]],
    batch_frames: int,
    representations: dict[str, np.ndarray] | None = None,
) -> Iterator[tuple[int, T]]:
    """What `translate` says of each window of `clips` in which somebody signs: validation and generation alike.

    Args:
        model: On the device of `frames`.
        frames: The frames of `cut`.
        cut: The corpus in windows.
        clips: Places in the corpus that was cut.
        translate: Representations (B, S, D) and their mask (B, S) -> one thing a window.
        batch_frames: Padded frames a batch.
        representations: Read in place of the windows' own, where a window is a whole clip that `represent` did not cut.

    Yields:
        A window's place in `cut`, and what was said of it.
    """
    device = frames.device
    chosen, whole = signed(cut, clips), cut.whole
    read = whole & (cut.corpus.lengths <= model.temporal.window) & (representations is not None)
    # windows do not change the batches that whole clips are in
    for group, stored in ((whole & ~read, None), (read, representations), (~whole, None)):
        for places in batches_by_length(cut.corpus, np.flatnonzero(chosen & group), batch_frames):
            interruption.check()
            with inference_autocast(device):
                if stored is None:
                    batch = frames.unaugmented(places)
                    y, mask = model(batch.x, batch.mask)
                else:
                    padded = stack([stored[cut.corpus.ids[i]] for i in places])
                    y, mask = (tensor.to(device) for tensor in padded)
                said = translate(y, mask)
            yield from zip(places.tolist(), said, strict=True)


def text_of(cut: WindowedCorpus, clip: int, best: Mapping[int, Hypothesis]) -> Hypothesis:
    """Join the best texts of a clip's windows.

    Args:
        cut: Windows of a corpus.
        clip: Place of a clip in it.
        best: By window.

    Returns:
        The joined text.
    """
    places = cut.signed_windows(clip)
    [text] = join_windows([[best[i]] for i in places], [int(cut.corpus.lengths[i]) for i in places])
    return text


def stack(arrays: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad arrays to one length.

    Args:
        arrays: (S_i, D) each.

    Returns:
        (B, S, D), zero behind the end of each, and its mask (B, S) bool.
    """
    lengths = torch.tensor([len(a) for a in arrays])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(a) for a in arrays], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths.unsqueeze(1)
