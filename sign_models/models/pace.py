"""How fast somebody signs, told by how many vectors a token takes, so that a slow signer is read as the others are.

The model reads clips whose frames are dropped or interpolated, as if they were signed at another tempo, and the tempo
counts at which texts are as long as those of held-out clips. Measured on all development sets: docs/experiments.md,
"Half tempo".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sign_models.models.confidence import FEATURES
from sign_models.models.translator import Hypothesis

OTHER_TEMPI = (0.5, 2.0)  # of a signer, as multiples of training's
ODDS = 2.0  # log of how much likelier it is that a group of clips is signed as fast as training's: 7 to 1
ALIKE = 0.4  # correlation of the clips of one signer, who has a pace of his own: that of the development sets' signers
MAX_SURPRISE = 8.0  # of one window: a text that is wrong may have any length
MIN_DEVIATION = 0.1
MAX_CLIPS, MAX_FRAMES = 32, 1500  # of a group, and of each of its clips, which tell its tempo

_LENGTH = FEATURES.index("length")
Readings = Iterable[Sequence[Hypothesis]]  # of each clip the best text of each of its windows


def surprise(mean: float, deviation: float, readings: Readings) -> float:
    """How unusual the lengths of one signer's texts are, as a negative log likelihood.

    Clips of one signer are alike: thirty of somebody who signs a little more slowly than others say hardly more than
    ten. So n of them count as n / (1 + (n - 1) ALIKE) independent ones (Kish 1965), 2.5 at most.

    Args:
        mean: Of log(vectors a token), on held-out clips.
        deviation: Its standard deviation there.
        readings: Of some clips of a signer.

    Returns:
        The sum over the windows of a clip, times as many clips as they count for. A clip in which nothing is read has
        MAX_SURPRISE.
    """
    each = [
        sum(min(MAX_SURPRISE, ((h.evidence[_LENGTH] - mean) / deviation) ** 2 / 2) for h in windows)
        if windows
        else MAX_SURPRISE
        for windows in readings
    ]
    return sum(each) / (1 + (len(each) - 1) * ALIKE)


@dataclass(frozen=True)
class Pace:
    """The usual length of texts: log(vectors a token), normally distributed.

    Attributes:
        mean: Of held-out clips.
        deviation: Standard deviation, at least MIN_DEVIATION.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, readings: Iterable[Hypothesis]) -> Pace:
        """Measure it.

        Args:
            readings: The best texts of held-out clips, one each.

        Returns:
            The pace.
        """
        lengths = [hypothesis.evidence[_LENGTH] for hypothesis in readings]
        return cls(round(float(np.mean(lengths)), 6), round(max(MIN_DEVIATION, float(np.std(lengths))), 6))

    def tempo(self, read: Callable[[float], Readings]) -> float:
        """Tell the tempo of clips that one person signed.

        Args:
            read: Translates them as if they were signed at a tempo; its argument is the signer's.

        Returns:
            1, or one of OTHER_TEMPI at which their texts are less surprising by more than ODDS.
        """
        usual = surprise(self.mean, self.deviation, read(1.0))
        if usual <= ODDS:
            return 1.0
        others = {tempo: ODDS + surprise(self.mean, self.deviation, read(tempo)) for tempo in OTHER_TEMPI}
        best = min(OTHER_TEMPI, key=others.__getitem__)
        return best if others[best] < usual else 1.0
