"""The embedded demo corpus: fingerspelled phrases composed of real clips of the ASL letters.

The clips (one a letter; MediaPipe Holistic, 25 frames/s, 500 x 500 pixels, one signer, right hand) are read from the
installed PyPI package spoken-to-signed. A phrase is one to three words of words.txt: letters with linear transitions,
and the lowered hand of a real frame for each space. docs/demo-corpus.md says how it is made and what it cannot show.

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

from sign_models.data.splits import SPLITS
from sign_models.errors import DataError, SignError
from sign_models.keypoints.layouts import LAYOUTS
from sign_models.keypoints.sequence import KeypointSequence

PACKAGE, PACKAGE_VERSION = "spoken-to-signed", "0.4.0"
LAYOUT = "mediapipe_75"
COMPONENTS = ("POSE_LANDMARKS", "LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")  # mediapipe_75 is these, in this order
FPS = 25.0
IMAGE_SIZE = (500.0, 500.0)  # width and height in pixels

# Trimming. Speeds are means over the points of the hand, in shoulder widths a second.
ARRIVAL_SPEED = 1.0  # a slower hand has arrived at its letter, or not yet left it
MOVING_LETTERS = "jz"  # kept whole from arrival to departure
HELD_FRAMES = 8  # of the other letters, which are held shapes, from the middle of the hold
LOWERED_HAND = ("l", 0)  # letter and frame with a lowered, open hand, which is used for a space
LOWERED_FRAMES = 4
TRANSITION_FRAMES = 4  # between two letters

# Augmentation of each occurrence of a letter: its speed, and the arm around the shoulder.
SPEED = (0.7, 1.4)
ROTATION = 12.0  # degrees either way
SCALE = (0.9, 1.1)
SHIFT = 0.08  # shoulder widths either way
DOUBLE_SHIFT = 0.2  # shoulder widths outwards: a double letter slides aside, as signers do
NOISE = 0.006  # standard deviation in shoulder widths, of each coordinate in each frame
# Augmentation of each recording: the camera.
CAMERA_SCALE = (0.85, 1.15)
CAMERA_SHIFT = 25.0  # pixels either way

MAX_WORDS = 3

_PLACE = {name: i for i, name in enumerate(LAYOUTS[LAYOUT])}
_LEFT_SHOULDER, _RIGHT_SHOULDER = _PLACE["body.left_shoulder"], _PLACE["body.right_shoulder"]
_HAND = np.array([i for name, i in _PLACE.items() if name.startswith("right_hand.")])
_ARM = np.array([_PLACE[f"body.right_{name}"] for name in ("elbow", "wrist", "pinky", "index", "thumb")] + [*_HAND])


@dataclass(frozen=True)
class DemoCorpus:
    """The corpus before normalisation.

    Attributes:
        keypoints: Single letters, for the skeleton stage.
        videos: Phrases.
        texts: "id", "text" and "split" of each phrase.
    """

    keypoints: list[KeypointSequence]
    videos: list[KeypointSequence]
    texts: list[dict[str, str]]


@dataclass(frozen=True)
class Letters:
    """Frames of all letter clips, concatenated and read-only. F frames of all clips.

    Attributes:
        points: (F, K, 2) pixels.
        confidence: (F, K).
        whole: Frames [start, stop) of the clip of each letter.
        held: Frames [start, stop) of each letter itself. " " is the lowered hand.
        shoulders: Shoulder width in pixels.
    """

    points: np.ndarray
    confidence: np.ndarray
    whole: dict[str, tuple[int, int]]
    held: dict[str, tuple[int, int]]
    shoulders: float


def lexicon_folder() -> Path:
    """Find the letter clips without importing their package, which would import torch.

    Returns:
        Folder of the installed package.

    Raises:
        DataError: The package is missing, incomplete or of another version.
    """
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


def source_files() -> list[Path]:
    """List the files that decide the corpus, for its digest.

    Returns:
        The clips, the word list and this module.
    """
    return [*sorted(lexicon_folder().glob("ase/*.pose")), Path(__file__).with_name("words.txt"), Path(__file__)]


@cache
def letters() -> Letters:
    """Read the 26 ASL letter clips, once a process (0.2 s).

    Returns:
        The clips.

    Raises:
        DataError: Clips are missing.
    """
    from pose_format import Pose

    folder = lexicon_folder()
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
    letter, frame = LOWERED_HAND
    lowered = whole[letter][0] + frame
    held[" "] = (lowered, lowered + 1)
    bank = Letters(np.concatenate(points), np.concatenate(confidence), whole, held, _shoulders(np.concatenate(points)))
    bank.points.flags.writeable = bank.confidence.flags.writeable = False
    return bank


def _shoulders(points: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[:, _LEFT_SHOULDER] - points[:, _RIGHT_SHOULDER], axis=-1)))


def held_frames(letter: str, points: np.ndarray, confidence: np.ndarray) -> tuple[int, int]:
    """Find the frames in which the hand is seen, has arrived and does not leave yet.

    Args:
        letter: The letter of the clip.
        points: (T, K, 2) pixels.
        confidence: (T, K).

    Returns:
        First frame, and the one after the last.
    """
    step = np.linalg.norm(np.diff(points[:, _HAND], axis=0), axis=-1).mean(-1)
    seen = np.all(confidence[:, _HAND] > 0, axis=-1)
    slow = np.flatnonzero((step * FPS / _shoulders(points) < ARRIVAL_SPEED) & seen[1:] & seen[:-1])
    first, stop = int(slow[0]), int(slow[-1]) + 2  # step i is from frame i to frame i + 1
    if letter not in MOVING_LETTERS:
        first = max(first, (first + stop - HELD_FRAMES) // 2)
        stop = min(stop, first + HELD_FRAMES)
    return first, stop


def word_lists() -> dict[str, list[str]]:
    """Split the words of words.txt: of every ten in alphabetical order two are for test and one is for dev.

    Returns:
        Words by split. No word is in two splits.
    """
    words = files("sign_models.datasets").joinpath("words.txt").read_text(encoding="utf-8").split()
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    for i, word in enumerate(words):
        lists["test" if i % 10 in (3, 7) else "dev" if i % 10 == 5 else "train"].append(word)
    return lists


def demo_corpus(
    seed: int = 0, train_phrases: int = 800, dev_phrases: int = 80, test_phrases: int = 160, letter_copies: int = 20
) -> DemoCorpus:
    """Compose the corpus. The same arguments give the same bits.

    Each clip has a random generator of its own, so that more phrases leave the first ones as they were.

    Args:
        seed: Seed of all random choices.
        train_phrases: Phrases of split train.
        dev_phrases: Phrases of split dev.
        test_phrases: Phrases of split test.
        letter_copies: Augmented copies of each whole letter clip. One in ten of them is dev.

    Returns:
        The corpus.

    Raises:
        DataError: The letter clips are missing.
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
            points, confidence = fingerspell(text, rng)
            name = f"{split}_{number:05d}"
            videos.append(_sequence(name, points, confidence, split))
            texts.append({"id": name, "text": text, "split": split})
    return DemoCorpus(keypoints, videos, texts)


def _sequence(name: str, points: np.ndarray, confidence: np.ndarray, split: str) -> KeypointSequence:
    return KeypointSequence(
        name, points, confidence, LAYOUT, "pixel", IMAGE_SIZE, FPS, split=split, source=f"demo corpus: {name}"
    )


def fingerspell(text: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fingerspell a text.

    Args:
        text: Letters a to z and single spaces.
        rng: Generator of the augmentation.

    Returns:
        (T, K, 2) float32 pixels, and (T, K) float32 confidence.
    """
    bank = letters()
    doubled = [previous == letter for previous, letter in zip(" " + text, text, strict=False)]
    return _compose(bank, [bank.held[letter] for letter in text], doubled, rng)


def _compose(
    bank: Letters, spans: Sequence[tuple[int, int]], doubled: Sequence[bool], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate augmented occurrences of letters as one recording.

    An output frame is interpolated with weight `w` between frames `a` and `b` of the letters. A row of `pose` augments
    an occurrence. Frames of a transition mix the rows of both sides, so that the arm moves smoothly.

    Args:
        bank: Frames of all letters.
        spans: Frames [start, stop) of each occurrence.
        doubled: Whether an occurrence repeats the letter before it.
        rng: Generator of the augmentation.
    """
    n = len(spans)
    speed = SPEED[0] * (SPEED[1] / SPEED[0]) ** rng.random(n)
    pose = _poses(bank.shoulders, doubled, rng)
    a, b, w, index, m = _timeline(spans, speed)

    points = bank.points[a] + w[..., None] * (bank.points[b] - bank.points[a])
    confidence = (1 - w) * bank.confidence[a] + w * bank.confidence[b]
    confidence[(bank.confidence[a] == 0) | (bank.confidence[b] == 0)] = 0

    angle, scale, right, down = ((1 - m) * pose[index] + m * pose[np.minimum(index + 1, n - 1)]).T.astype(np.float32)
    shoulder = points[:, _RIGHT_SHOULDER, None]
    x, y = np.moveaxis(points[:, _ARM] - shoulder, -1, 0)
    cos, sin = (scale * np.cos(angle))[:, None], (scale * np.sin(angle))[:, None]
    points[:, _ARM] = shoulder + np.stack([cos * x - sin * y + right[:, None], sin * x + cos * y + down[:, None]], -1)

    centre = np.array(IMAGE_SIZE, np.float32) / 2
    zoom = np.float32(rng.uniform(*CAMERA_SCALE))
    points = (points - centre) * zoom + centre + rng.uniform(-CAMERA_SHIFT, CAMERA_SHIFT, 2).astype(np.float32)
    points += rng.standard_normal(points.shape, np.float32) * np.float32(NOISE * bank.shoulders * zoom)
    return points, confidence


def _poses(shoulders: float, doubled: Sequence[bool], rng: np.random.Generator) -> np.ndarray:
    """Sample how the arm is held in each occurrence: angle, size, shift to the right and down, (N, 4)."""
    n, outwards = len(doubled), -1.0  # the signer's right is on the left of the image
    return np.stack(
        [
            np.deg2rad(rng.uniform(-ROTATION, ROTATION, n)),
            rng.uniform(*SCALE, n),
            shoulders * (rng.uniform(-SHIFT, SHIFT, n) + outwards * DOUBLE_SHIFT * np.asarray(doubled)),
            shoulders * rng.uniform(-SHIFT, SHIFT, n),
        ],
        axis=-1,
    )


def _timeline(spans: Sequence[tuple[int, int]], speed: np.ndarray) -> tuple[np.ndarray, ...]:
    """What each of the T frames is made of.

    Args:
        spans: Frames [start, stop) of each occurrence.
        speed: Of each occurrence, (N,).

    Returns:
        Frames `a` and `b` of the letters (T,), the weight of `b` (T, 1) float32, the occurrence (T,), and how much of
        the next occurrence's pose is mixed in (T, 1).
    """
    ramp = np.arange(1, TRANSITION_FRAMES + 1) / (TRANSITION_FRAMES + 1)
    at, into, weight, occurrence, mix = [], [], [], [], []
    for i, (start, stop) in enumerate(spans):
        if i:
            at.append(np.full(TRANSITION_FRAMES, spans[i - 1][1] - 1))
            into.append(np.full(TRANSITION_FRAMES, start))
            weight.append(ramp)
            occurrence.append(np.full(TRANSITION_FRAMES, i - 1))
            mix.append(ramp)
        frames = max(2, round((LOWERED_FRAMES if stop - start == 1 else stop - start) / speed[i]))
        times = np.linspace(start, stop - 1, frames)
        floor = times.astype(np.int64)
        at.append(floor)
        into.append(np.minimum(floor + 1, stop - 1))
        weight.append(times - floor)
        occurrence.append(np.full(frames, i))
        mix.append(np.zeros(frames))
    w, m = np.concatenate(weight).astype(np.float32)[:, None], np.concatenate(mix)[:, None]
    return np.concatenate(at), np.concatenate(into), w, np.concatenate(occurrence), m


def write_seed_files(out: Path, corpus: DemoCorpus) -> None:
    """Write a corpus as the three files of a user: a pickle of bare arrays, one with layout and fps, and texts.

    Args:
        out: Folder to write to. It is made.
        corpus: The corpus.
    """
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
    """Run the command line of the module.

    Args:
        out: Folder to write to.
        seed: Seed of all random choices.
    """
    try:
        write_seed_files(out, demo_corpus(seed))
    except SignError as error:
        click.echo(str(error), err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
