"""The corpus that needs no data: fingerspelled phrases composed of real clips of the ASL letters.

The clips (one a letter; MediaPipe Holistic, 25 frames/s, 500 x 500 pixels, one signer, right hand) come with the PyPI
package spoken-to-signed; they are read from where it is installed and none is kept here. A phrase is one to three words
of words.txt: letters joined by linear transitions, and for each space the lowered hand of a real frame. How it is
composed, and what it cannot show, stands in docs/demo-corpus.md.

T frames, K landmarks of the layout mediapipe_75.
"""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import ascii_lowercase

import click
import numpy as np

from sign_models.errors import DataError, SignError
from sign_models.keypoints.layouts import LAYOUTS
from sign_models.keypoints.sequence import KeypointSequence

PACKAGE, PACKAGE_VERSION = "spoken-to-signed", "0.4.0"
LAYOUT = "mediapipe_75"
COMPONENTS = ("POSE_LANDMARKS", "LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")  # mediapipe_75 is these, in this order
FPS = 25.0
PICTURE = (500.0, 500.0)  # width and height in pixels

# Trimming. Speeds are means over the points of the hand, in shoulder widths a second.
ARRIVED = 1.0  # a hand slower than this has arrived at its letter, or not yet left it
MOVING = "jz"  # drawn in the air: kept whole from arrival to departure
HELD_FRAMES = 8  # the other letters are held shapes: the middle of the hold
LOWERED = ("l", 0)  # letter and frame of the lowered, open hand that stands for a space
LOWERED_FRAMES = 4
TRANSITION = 4  # frames between two letters

# Variation of each letter's occurrence: its speed, and the arm about the shoulder.
SPEED = (0.7, 1.4)
ROTATION = 12.0  # degrees either way
SCALE = (0.9, 1.1)
SHIFT = 0.08  # shoulder widths either way
DOUBLE_SHIFT = 0.2  # shoulder widths outwards: a double letter slides aside, as signers do
NOISE = 0.006  # standard deviation in shoulder widths, of each coordinate in each frame
# Variation of each recording: the camera.
CAMERA_SCALE = (0.85, 1.15)
CAMERA_SHIFT = 25.0  # pixels either way

SPLITS = ("train", "dev", "test")
MAX_WORDS = 3

_PLACE = {name: i for i, name in enumerate(LAYOUTS[LAYOUT])}
_LEFT_SHOULDER, _RIGHT_SHOULDER = _PLACE["body.left_shoulder"], _PLACE["body.right_shoulder"]
_HAND = np.array([i for name, i in _PLACE.items() if name.startswith("right_hand.")])
_ARM = np.array([_PLACE[f"body.right_{name}"] for name in ("elbow", "wrist", "pinky", "index", "thumb")] + [*_HAND])


@dataclass(frozen=True)
class DemoCorpus:
    """keypoints: single letters, for the skeleton stage. videos: phrases. texts: {"id", "text", "split"} of each."""

    keypoints: list[KeypointSequence]
    videos: list[KeypointSequence]
    texts: list[dict[str, str]]


@dataclass(frozen=True)
class Letters:
    """Frames of all letter clips, one clip after another; read-only.

    points (F, K, 2) pixels, confidence (F, K). whole, held: frames [start, stop) of the clip of a letter, and of the
    letter itself; held[" "] is the lowered hand. shoulders: width in pixels.
    """

    points: np.ndarray
    confidence: np.ndarray
    whole: dict[str, tuple[int, int]]
    held: dict[str, tuple[int, int]]
    shoulders: float


def lexicon() -> Path:
    """Folder of the installed package with the letter clips, found without importing it (that would import torch)."""
    remedy = f"pip install {PACKAGE}=={PACKAGE_VERSION}, or bring data of your own with -P data=DIR"
    try:
        found = version(PACKAGE)
    except PackageNotFoundError as error:
        raise DataError(
            f"the package {PACKAGE} is not installed", place="demo corpus", wanted=PACKAGE_VERSION, remedy=remedy
        ) from error
    if found != PACKAGE_VERSION:
        raise DataError(f"{PACKAGE} {found} is installed", place="demo corpus", wanted=PACKAGE_VERSION, remedy=remedy)
    spec = find_spec("spoken_to_signed")
    folder = Path(spec.origin).parent / "assets" / "fingerspelling_lexicon" if spec and spec.origin else Path()
    if not (folder / "index.csv").is_file():
        raise DataError(
            f"{PACKAGE} {found} is installed without its letter clips",
            place="demo corpus",
            wanted="assets/fingerspelling_lexicon/index.csv",
            remedy="reinstall it: " + remedy,
        )
    return folder


def sources() -> list[Path]:
    """The files that the corpus follows from: the clips, the word list, this module."""
    return [*sorted(lexicon().glob("ase/*.pose")), Path(__file__).with_name("words.txt"), Path(__file__)]


@cache
def letters() -> Letters:
    """Read the 26 ASL letter clips (0.2 s the first time). Raises DataError where they are missing."""
    from pose_format import Pose

    folder = lexicon()
    with (folder / "index.csv").open(encoding="utf-8", newline="") as index:
        paths = {
            row["words"].lower(): folder / row["path"]
            for row in csv.DictReader(index)
            if row["signed_language"] == "ase"
        }
    points, confidence, whole, held, start = [], [], {}, {}, 0
    for letter in ascii_lowercase:
        if letter not in paths or not paths[letter].is_file():
            raise DataError(
                f"no clip of the letter {letter!r}",
                place=f"demo corpus: {folder.name}",
                wanted="all 26 ASL letters",
                remedy=f"reinstall {PACKAGE}=={PACKAGE_VERSION}",
            )
        body = Pose.read(paths[letter].read_bytes()).get_components(list(COMPONENTS)).body
        xy, seen = np.asarray(body.data[:, 0, :, :2], np.float32), np.asarray(body.confidence[:, 0], np.float32)
        points.append(xy)
        confidence.append(seen)
        first, stop = held_frames(letter, xy, seen)
        whole[letter], held[letter] = (start, start + len(xy)), (start + first, start + stop)
        start += len(xy)
    letter, frame = LOWERED
    lowered = whole[letter][0] + frame
    held[" "] = (lowered, lowered + 1)
    bank = Letters(np.concatenate(points), np.concatenate(confidence), whole, held, _shoulders(np.concatenate(points)))
    bank.points.flags.writeable = bank.confidence.flags.writeable = False
    return bank


def _shoulders(points: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[:, _LEFT_SHOULDER] - points[:, _RIGHT_SHOULDER], axis=-1)))


def held_frames(letter: str, points: np.ndarray, confidence: np.ndarray) -> tuple[int, int]:
    """Frames [first, stop) of a clip, (T, K, 2) and (T, K), of its letter: hand seen, arrived, not yet leaving."""
    step = np.linalg.norm(np.diff(points[:, _HAND], axis=0), axis=-1).mean(-1)
    seen = np.all(confidence[:, _HAND] > 0, axis=-1)
    slow = np.flatnonzero((step * FPS / _shoulders(points) < ARRIVED) & seen[1:] & seen[:-1])
    first, stop = int(slow[0]), int(slow[-1]) + 2  # step i lies between the frames i and i + 1
    if letter not in MOVING:
        first = max(first, (first + stop - HELD_FRAMES) // 2)
        stop = min(stop, first + HELD_FRAMES)
    return first, stop


def word_lists() -> dict[str, list[str]]:
    """The words of words.txt by split, no word in two: of every ten in the alphabet two for test and one for dev."""
    words = files("sign_models.datasets").joinpath("words.txt").read_text(encoding="utf-8").split()
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    for i, word in enumerate(words):
        lists["test" if i % 10 in (3, 7) else "dev" if i % 10 == 5 else "train"].append(word)
    return lists


def demo_corpus(
    seed: int = 0, train_phrases: int = 800, dev_phrases: int = 80, test_phrases: int = 160, letter_copies: int = 20
) -> DemoCorpus:
    """The corpus; the same arguments give the same bits. Every item has a generator of its own: more phrases leave the
    first ones as they were.

    letter_copies: varied copies of each whole letter clip; one in ten of them is dev.
    """
    bank = letters()
    keypoints = []
    for number, letter in enumerate(ascii_lowercase):
        for copy in range(letter_copies):
            rng = np.random.default_rng([seed, 0, number, copy])
            points, confidence = _compose(bank, [bank.whole[letter]], [False], rng)
            split = "dev" if copy % 10 == 9 else "train"
            keypoints.append(_sequence(f"letter_{letter}_{copy:03d}", points, confidence, split))
    videos, texts = [], []
    lists = word_lists()
    for kind, (split, count) in enumerate(zip(SPLITS, (train_phrases, dev_phrases, test_phrases), strict=True), 1):
        for number in range(count):
            rng = np.random.default_rng([seed, kind, number])
            text = " ".join(rng.choice(lists[split], rng.integers(1, MAX_WORDS + 1), replace=False))
            points, confidence = sign(text, rng)
            name = f"{split}_{number:05d}"
            videos.append(_sequence(name, points, confidence, split))
            texts.append({"id": name, "text": text, "split": split})
    return DemoCorpus(keypoints, videos, texts)


def _sequence(name: str, points: np.ndarray, confidence: np.ndarray, split: str) -> KeypointSequence:
    return KeypointSequence(
        name, points, confidence, LAYOUT, "pixel", PICTURE, FPS, split=split, source=f"demo corpus: {name}"
    )


def sign(text: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fingerspell a text of a-z and single spaces: (T, K, 2) float32 pixels, (T, K) float32 confidence."""
    bank = letters()
    doubled = [previous == letter for previous, letter in zip(" " + text, text, strict=False)]
    return _compose(bank, [bank.held[letter] for letter in text], doubled, rng)


def _compose(
    bank: Letters, spans: Sequence[tuple[int, int]], doubled: Sequence[bool], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Join occurrences of the bank's frames [start, stop), each varied, as one recording.

    An output frame lies at `weight` between the bank's frames `a` and `b`. An occurrence's own variation is a row of
    `pose`; frames of a transition mix the rows of both sides, so that the arm moves on smoothly.
    """
    n = len(spans)
    speed = SPEED[0] * (SPEED[1] / SPEED[0]) ** rng.random(n)
    outwards = -1.0  # the signer's right is on the left of the picture
    pose = np.stack(
        [
            np.deg2rad(rng.uniform(-ROTATION, ROTATION, n)),
            rng.uniform(*SCALE, n),
            bank.shoulders * (rng.uniform(-SHIFT, SHIFT, n) + outwards * DOUBLE_SHIFT * np.asarray(doubled)),
            bank.shoulders * rng.uniform(-SHIFT, SHIFT, n),
        ],
        axis=-1,
    )
    moves = np.arange(1, TRANSITION + 1) / (TRANSITION + 1)
    at, into, weight, owner, mix = [], [], [], [], []
    for i, (start, stop) in enumerate(spans):
        if i:
            at.append(np.full(TRANSITION, spans[i - 1][1] - 1))
            into.append(np.full(TRANSITION, start))
            weight.append(moves)
            owner.append(np.full(TRANSITION, i - 1))
            mix.append(moves)
        frames = max(2, round((LOWERED_FRAMES if stop - start == 1 else stop - start) / speed[i]))
        times = np.linspace(start, stop - 1, frames)
        floor = times.astype(np.int64)
        at.append(floor)
        into.append(np.minimum(floor + 1, stop - 1))
        weight.append(times - floor)
        owner.append(np.full(frames, i))
        mix.append(np.zeros(frames))
    a, b, who = np.concatenate(at), np.concatenate(into), np.concatenate(owner)
    w, m = np.concatenate(weight).astype(np.float32)[:, None], np.concatenate(mix)[:, None]

    points = bank.points[a] + w[..., None] * (bank.points[b] - bank.points[a])
    confidence = (1 - w) * bank.confidence[a] + w * bank.confidence[b]
    confidence[(bank.confidence[a] == 0) | (bank.confidence[b] == 0)] = 0

    angle, scale, right, down = ((1 - m) * pose[who] + m * pose[np.minimum(who + 1, n - 1)]).T.astype(np.float32)
    shoulder = points[:, _RIGHT_SHOULDER, None]
    x, y = np.moveaxis(points[:, _ARM] - shoulder, -1, 0)
    cos, sin = (scale * np.cos(angle))[:, None], (scale * np.sin(angle))[:, None]
    points[:, _ARM] = shoulder + np.stack([cos * x - sin * y + right[:, None], sin * x + cos * y + down[:, None]], -1)

    centre = np.array(PICTURE, np.float32) / 2
    zoom = np.float32(rng.uniform(*CAMERA_SCALE))
    points = (points - centre) * zoom + centre + rng.uniform(-CAMERA_SHIFT, CAMERA_SHIFT, 2).astype(np.float32)
    points += rng.standard_normal(points.shape, np.float32) * np.float32(NOISE * bank.shoulders * zoom)
    return points, confidence


def write_seed_files(out: Path, corpus: DemoCorpus) -> None:
    """Write the three files that a user brings: a pickle of bare arrays, a pickle with layout and fps, the texts."""
    clips, videos = (
        {each.id: np.concatenate([each.points, each.confidence[..., None]], -1) for each in sequences}
        for sequences in (corpus.keypoints, corpus.videos)
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "sign_language_keypoints.pkl").write_bytes(pickle.dumps(clips))
    (out / "video_sequences.pkl").write_bytes(pickle.dumps({"layout": LAYOUT, "fps": FPS, "sequences": videos}))
    (out / "text_data.json").write_text(json.dumps(corpus.texts, indent=1), encoding="utf-8")


@click.command(help="Write the demo corpus as sign_language_keypoints.pkl, video_sequences.pkl and text_data.json.")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True)
def main(out: Path, seed: int) -> None:
    try:
        write_seed_files(out, demo_corpus(seed))
    except SignError as error:
        click.echo(str(error), err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
