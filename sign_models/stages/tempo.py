"""At which tempo the videos of each signer are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sign_models.data.batching import DeviceCorpus
from sign_models.data.corpus import Corpus
from sign_models.data.frame_rate import at_tempo, pick
from sign_models.data.windows import split_long_clips
from sign_models.models.pace import MAX_CLIPS, Readings
from sign_models.models.translator import Generation, Translator
from sign_models.stages.reading import best_of, by_window


def tempi_of(
    model: Translator, corpus: Corpus, clips: np.ndarray, wanted: Generation, batch_frames: int, device: torch.device
) -> np.ndarray:
    """Tell the tempo of videos, of all videos of a group alike.

    Args:
        model: A translator. One without a pace reads all videos as they are.
        corpus: The videos. Those without a group are taken as one person's.
        clips: Places of those that are asked about.
        wanted: How texts are searched for. Its tempo, where it has one, is that of all videos.
        batch_frames: Padded frames at once.
        device: Where the model is.

    Returns:
        (N,) tempo of every video of the corpus, as a multiple of training's. 1 of those that are not asked about.
    """
    tempi = np.ones(len(corpus))
    if wanted.tempo is not None or model.pace is None:
        tempi[clips] = wanted.tempo or 1.0
        return tempi
    groups = np.array([corpus.groups[clip] or "" for clip in clips])
    for group in np.unique(groups):
        of_group = clips[groups == group]
        few = pick(corpus, of_group[np.linspace(0, len(of_group) - 1, min(MAX_CLIPS, len(of_group))).astype(int)])

        def read(tempo: float, few: Corpus = few) -> Readings:
            """Readings of the few clips as if they were signed at a tempo."""
            every = np.arange(len(few))
            cut = split_long_clips(at_tempo(few, np.full(len(few), tempo)), every, wanted.window)
            frames = DeviceCorpus(cut.corpus, device)
            found = dict(by_window(model, frames, cut, every, best_of(model, wanted), batch_frames))
            return [[found[i] for i in cut.signed_windows(clip)] for clip in range(len(few))]

        tempi[of_group] = model.pace.tempo(read)
    return tempi


def tempo_facts(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Say for the record which videos were not read as they are.

    Args:
        rows: Of Generated.

    Returns:
        {"tempo": a sentence}, empty where all were.
    """
    counts = sorted(Counter(row["tempo"] for row in rows if row["tempo"] != 1).items())
    told = [
        f"{count} of {len(rows)} videos are read as signed at {tempo:g} of training's tempo" for tempo, count in counts
    ]
    return {"tempo": "; ".join(told)} if told else {}
