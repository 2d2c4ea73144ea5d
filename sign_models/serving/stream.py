"""Cut a stream of frames at rests: what is finished, and what is being signed. Memory is bounded by one segment.

A hand that is up for a moment begins a segment; both hands down, or unseen, for a while end it, as keypoints.windows
cuts a whole clip. A segment that grows longer than a model reads at once is cut where the hands are stillest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sign_models.keypoints.windows import LOW_HAND_Y, MARGIN_FRAMES, MIN_RAISED_FRAMES, MIN_REST_FRAMES, MOTION_FRAMES
from sign_models.video.following import HANDS, SHOULDERS, WRISTS, shoulder_width

RULE_FPS = 25.0  # frames a second that the rules of keypoints.windows are meant for
REST_S, MARGIN_S, SLIP_S = MIN_REST_FRAMES / RULE_FPS, MARGIN_FRAMES / RULE_FPS, MIN_RAISED_FRAMES / RULE_FPS
MAX_FPS = 60.0  # frames that come sooner are left out
MEMORY_S = 2.0  # over which the signer's shoulders are remembered


@dataclass(frozen=True)
class Piece:
    """Frames of one segment.

    Attributes:
        number: Of the segment, from 0.
        times: (T,) seconds.
        values: (T, 75, 4) landmarks in pixels.
        final: Whether it is finished, and will not change.
    """

    number: int
    times: np.ndarray
    values: np.ndarray
    final: bool


class Segmenter:
    """Cuts the frames of one stream into segments."""

    def __init__(self, longest_s: float) -> None:
        """Start a stream.

        Args:
            longest_s: Longest segment, in seconds.
        """
        self.longest_s = longest_s
        self.number = 0
        self._times: list[float] = []
        self._values: list[np.ndarray] = []
        self._up: list[bool] = []
        self._shoulders: tuple[np.ndarray, float, float] | None = None  # middle, width, when
        self._signing = False

    def __len__(self) -> int:
        """Frames that are kept."""
        return len(self._times)

    def add(self, times: np.ndarray, values: np.ndarray) -> Iterator[Piece]:
        """Take frames.

        Args:
            times: (T,) seconds.
            values: (T, 75, 4) landmarks in pixels.

        Yields:
            Segments that are finished with them.
        """
        for time, frame in zip(times.tolist(), values, strict=True):
            if self._times and time - self._times[-1] < 0.75 / MAX_FPS:
                continue
            self._times.append(time)
            self._values.append(frame)
            self._up.append(self._is_up(frame, time))
            yield from self._cut()

    def current(self) -> Piece | None:
        """What is being signed.

        Returns:
            The frames so far. None: a rest.
        """
        return self._piece(len(self._times), final=False) if self._signing else None

    def end(self) -> Piece | None:
        """End the stream.

        Returns:
            The last segment, where the stream ends in the middle of it.
        """
        piece = self._piece(len(self._times), final=True) if self._signing else None
        self._drop(len(self._times))
        self._signing = False
        return piece

    def _cut(self) -> Iterator[Piece]:
        """Segments that end with the frames so far: hands rest, or the longest segment is full."""
        now = self._times[-1]
        if not self._signing:
            lifted = self._lifted_since()
            if lifted is not None and now - self._times[lifted] >= SLIP_S:
                self._signing = True
                self._drop(self._first_after(self._times[lifted] - MARGIN_S))
            elif lifted is None:
                self._drop(self._first_after(now - MARGIN_S))
            return
        last_up = next((t for t, up in zip(reversed(self._times), reversed(self._up), strict=True) if up), None)
        if last_up is None or now - last_up >= REST_S:
            stop = self._first_after((now if last_up is None else last_up) + MARGIN_S)
            yield self._piece(max(stop, 1), final=True)
            self._signing = False
            self._drop(stop)
        elif now - self._times[0] > self.longest_s:
            stop = self._stillest()
            yield self._piece(stop, final=True)
            self._drop(stop)

    def _piece(self, stop: int, final: bool) -> Piece:
        piece = Piece(self.number, np.array(self._times[:stop]), np.stack(self._values[:stop]), final)
        self.number += final
        return piece

    def _drop(self, count: int) -> None:
        del self._times[:count], self._values[:count], self._up[:count]

    def _first_after(self, time: float) -> int:
        return int(np.searchsorted(self._times, time))

    def _lifted_since(self) -> int | None:
        """The place from which a hand has been up without a break."""
        if not self._up[-1]:
            return None
        down = next((i for i in range(len(self._up) - 1, -1, -1) if not self._up[i]), -1)
        return down + 1

    def _is_up(self, frame: np.ndarray, time: float) -> bool:
        """Whether a hand is above the belly; the body's wrists say so where no hand is found."""
        if (frame[SHOULDERS, 3] > 0).all():
            self._shoulders = frame[SHOULDERS, :2].mean(0), shoulder_width(frame), time
        elif self._shoulders is not None and time - self._shoulders[2] > MEMORY_S:
            self._shoulders = None
        if self._shoulders is None:
            return bool(frame[HANDS:, 3].any())  # hands alone: they are what there is to read
        middle, width, _ = self._shoulders
        wrists = frame[[HANDS, HANDS + (len(frame) - HANDS) // 2]]
        if not (wrists[:, 3] > 0).any():
            return False
        return bool(((wrists[:, 3] > 0) & (wrists[:, 1] < middle[1] + LOW_HAND_Y * width)).any())

    def _stillest(self) -> int:
        """The place in the second half where the hands move least, averaged over SPAN frames."""
        values = np.stack(self._values)
        places = np.concatenate([values[:, HANDS:, :2], values[:, WRISTS, :2]], 1)
        sure = np.concatenate([values[:, HANDS:, 3], values[:, WRISTS, 3]], 1) > 0
        both = sure[1:] & sure[:-1]
        moved = (np.linalg.norm(np.diff(places, axis=0), axis=-1) * both).sum(1) / np.maximum(both.sum(1), 1)
        smooth = np.convolve(
            np.pad(moved, MOTION_FRAMES // 2, mode="edge"), np.full(MOTION_FRAMES, 1 / MOTION_FRAMES), "valid"
        )
        half = len(values) // 2
        return half + 1 + int(smooth[half : max(half + 1, 7 * len(values) // 8)].argmin())
