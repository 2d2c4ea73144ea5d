"""Bodies in narrow pictures: widened before the search, and told in pixels of the picture as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sign_models.video import decode, landmarks
from sign_models.video.extract import MAX_SIDE_PIXELS
from sign_models.video.following import shoulder_width
from sign_models.video.landmarks import NARROW_ASPECT, WIDENED_ASPECT, widened
from tests.conftest import ROOT
from tests.video.figure import draw

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
UPPER_BODY = slice(0, 17)  # of MediaPipe's landmarks: head, shoulders, elbows, wrists


@pytest.mark.parametrize("size", [(404, 720), (405, 719), (1, 9), (640, 480), (479, 480), (1279, 720)])
def test_a_narrow_picture_stands_in_the_middle_of_a_wide_one(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    wide, margin = widened(pixels)
    assert WIDENED_ASPECT <= wide.shape[1] / height < WIDENED_ASPECT + 2 / height
    np.testing.assert_array_equal(wide[:, margin : margin + width], pixels)
    assert (wide[:, :margin] == pixels[:, :1]).all() and (wide[:, margin + width :] == pixels[:, -1:]).all()


@pytest.mark.parametrize("size", [(1280, 720), (1920, 800), (16, 9)])
def test_a_wide_picture_stays(size: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    assert widened(pixels)[0] is pixels and size[0] / size[1] >= NARROW_ASPECT


def test_the_page_widens_as_an_extraction_does() -> None:
    page = (ROOT / "sign_models" / "serving" / "static" / "extractor.js").read_text(encoding="utf-8")
    assert f"MAX_SIDE = {MAX_SIDE_PIXELS}, NARROW_ASPECT = 16 / 9, WIDENED_ASPECT = {WIDENED_ASPECT};" in page
    assert NARROW_ASPECT == 16 / 9


def bodies(pictures: list[np.ndarray]) -> list[np.ndarray | None]:
    """The body of each picture, as an extraction finds it."""
    from sign_models.video.models import model_files

    with landmarks.Landmarker(model_files()) as landmarker:
        found = [landmarker.detect(np.ascontiguousarray(p), n / 25).bodies for n, p in enumerate(pictures)]
    return [frame[0] if frame else None for frame in found]


def distances(whole: list[np.ndarray | None], cut: list[np.ndarray | None], left: int) -> np.ndarray:
    """Of the upper body's landmarks, in shoulder widths. left: the cut picture's first column."""
    both = [(a, b) for a, b in zip(whole, cut, strict=True) if a is not None and b is not None]
    return np.concatenate([np.hypot(*(a - b - [left, 0, 0, 0])[UPPER_BODY, :2].T) / shoulder_width(a) for a, b in both])


@pytest.mark.video
def test_a_drawn_signer_who_fills_a_narrow_picture_is_where_the_whole_picture_has_him() -> None:
    whole = [draw(0.25 * n, (1280, 1280))[130:850] for n in range(12)]
    left = (1280 - 404) // 2
    cut = bodies([picture[:, left : left + 404] for picture in whole])
    assert sum(body is not None for body in cut) >= 11
    assert np.quantile(distances(bodies(whole), cut, left), 0.95) < 0.3  # 0.15; without widening 0.55


@pytest.mark.video
@pytest.mark.skipif(not REAL.is_dir(), reason="real videos of signing are not part of the repository")
def test_a_real_signer_who_fills_a_narrow_picture_is_found() -> None:
    whole = [frame.pixels for frame in decode.frames(REAL / "dolor.mp4", max_side=1280)][::2]
    left = (1280 - 404) // 2
    cut = bodies([picture[:, left : left + 404] for picture in whole])
    assert sum(body is not None for body in cut) >= 0.95 * len(whole)  # all; without widening a third
    assert np.median(distances(bodies(whole), cut, left)) < 0.05
