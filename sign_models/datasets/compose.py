"""Sentences composed of isolated signs: a corpus with texts for development.

A composed sentence has no coarticulation, no grammar of the sign language and no non-manual signs. Scores on such a
corpus measure how well signs are recognised in a stream, by known or new signers. State this with every score.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.splits import SPLITS, divide
from sign_models.datasets.inputs import KEYPOINTS, TEXTS, VIDEOS
from sign_models.datasets.store import is_store, open_store
from sign_models.errors import DataError
from sign_models.keypoints import formats
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.resample import frame_step, resample

RECIPE = "composed.json"
CHANNELS = 3  # x, y, confidence
SPLIT_SHARES = (0.7, 0.1, 0.2)  # of the signers, or of each label's clips
MAX_TRIES = 200  # sampled texts before the labels count as used up


@dataclass(frozen=True)
class Recipe:
    """How sentences are composed.

    Attributes:
        sentences: Composed sentences of train, dev and test.
        words: Fewest and most signs a sentence, each sign at most once.
        transition: Frames of a linear transition between two signs.
        seen: Share of the dev and test texts that also occur in training.
        by_signer: Whether no signer is in two splits. Needs three signers with labels in common.
        seed: Seed of all random choices.
    """

    sentences: tuple[int, int, int] = (480, 60, 120)
    words: tuple[int, int] = (2, 5)
    transition: int = 4
    seen: float = 0.5
    by_signer: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Composed:
    """Counts of what was written.

    Attributes:
        sentences: Sentences of each split.
        signers: Signers of each split.
        clips: Isolated clips with a label.
        unlabelled: Clips without a label.
        depth_dropped: Clips with depth, which was left out.
    """

    sentences: dict[str, int]
    signers: dict[str, int]
    clips: int
    unlabelled: int
    depth_dropped: int


@dataclass(frozen=True)
class _Clip:
    """A clip of one sign, of which sentences are made."""

    id: str
    frames: np.ndarray  # (T, K, 3) of the canonical landmarks
    label: str
    signer: str
    split: str | None


def compose(source: Path, out: Path, recipe: Recipe) -> Composed:
    """Compose sentences of isolated signs and write them as the three input files of the pipeline.

    Args:
        source: Store, file or folder of clips, whose texts are the labels. Splits that the clips have are kept.
        out: New or empty folder.
        recipe: How sentences are composed.

    Returns:
        Counts of what was written.

    Raises:
        DataError: No clip has a label, `out` holds files, or signers or labels are too few for the recipe.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError("holds files", place=str(out), wanted="a new or empty folder", remedy="name another")
    found, depth_dropped, fps = _read(source)
    clips = [clip for clip in found if clip.label]
    if not clips:
        raise DataError(
            "no clip has a label",
            place=str(source),
            wanted="isolated clips, each with its sign as text",
            remedy="add labels; docs/formats/labels.md shows how",
        )
    rng = np.random.default_rng(recipe.seed)
    by_split = _divided(clips, recipe, str(source))
    sentences = _Sentences(by_split, recipe, rng, str(source)).sample()
    videos, rows, made = {}, [], {}
    for split in SPLITS:
        for number, chosen in enumerate(sentences[split]):
            name = f"{split}_{number:05d}"
            videos[name] = concatenate_signs([clip.frames for clip in chosen], recipe.transition)
            rows.append({"id": name, "text": " ".join(clip.label for clip in chosen), "split": split})
            made[name] = [clip.id for clip in chosen]
    out.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {"layout": "canonical", "unit": "centered"} | ({"fps": fps} if fps else {})
    train = {clip.id: {"keypoints": clip.frames, "group": clip.signer} for clip in by_split["train"]}
    _dump(out / KEYPOINTS, header | {"sequences": train})
    signers = {name: _signer(made[name], clips) for name in made}
    _dump(out / VIDEOS, header | {"sequences": {k: {"keypoints": v, "group": signers[k]} for k, v in videos.items()}})
    (out / TEXTS).write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    provenance = {"source": source.name, "recipe": asdict(recipe), "sentences": made}
    (out / RECIPE).write_text(json.dumps(provenance, ensure_ascii=False, indent=1), encoding="utf-8")
    return Composed(
        {split: len(sentences[split]) for split in SPLITS},
        {split: len({clip.signer for clip in by_split[split]}) for split in SPLITS},
        len(clips),
        len(found) - len(clips),
        depth_dropped,
    )


def concatenate_signs(clips: Sequence[np.ndarray], transition: int) -> np.ndarray:
    """Concatenate clips, with linear transitions between them.

    A landmark is unseen in a transition if it is unseen in the frame before or after it.

    Args:
        clips: (T, K, 3) each.
        transition: Frames of a transition.

    Returns:
        (sum of T and transitions, K, 3) float32.
    """
    share = ((np.arange(transition) + 1) / (transition + 1))[:, None, None].astype(np.float32)
    out = [clips[0]]
    for clip in clips[1:]:
        last, first = out[-1][-1], clip[0]
        both = (last[:, 2:] > 0) & (first[:, 2:] > 0)
        out += [((1 - share) * last + share * first) * both, clip]
    return np.concatenate(out).astype(np.float32)


class _Sentences:
    """Samples sentences, each of one signer, some of the dev and test texts from those of training."""

    def __init__(
        self, by_split: Mapping[str, list[_Clip]], recipe: Recipe, rng: np.random.Generator, place: str
    ) -> None:
        self.recipe, self.rng, self.place = recipe, rng, place
        self.clips: dict[str, dict[str, dict[str, list[_Clip]]]] = {}  # split -> signer -> label -> clips
        for split, clips in by_split.items():
            of_signer: dict[str, dict[str, list[_Clip]]] = defaultdict(lambda: defaultdict(list))
            for clip in clips:
                of_signer[clip.signer][clip.label].append(clip)
            fewest = recipe.words[0]
            self.clips[split] = {name: dict(of) for name, of in of_signer.items() if len(of) >= fewest}
            if not self.clips[split] and recipe.sentences[SPLITS.index(split)]:
                raise DataError(
                    f"no signer of {split} has {fewest} signs",
                    place=place,
                    wanted=f"signers with at least {fewest} different labels",
                    remedy="lower words, or give the clips signers and splits that fit",
                )

    def sample(self) -> dict[str, list[list[_Clip]]]:
        """Clips of each sentence by split. A share `seen` of the sentences of dev and test is in training too."""
        count = dict(zip(SPLITS, self.recipe.sentences, strict=True))
        unseen = {split: round(count[split] * (1 - self.recipe.seen)) for split in ("dev", "test")}
        kept_out = {split: [self._new(split, set()) for _ in range(unseen[split])] for split in unseen}
        forbidden = {_text(signs) for sampled in kept_out.values() for _, signs in sampled}
        train = [self._new("train", forbidden) for _ in range(count["train"])]
        known = list(dict.fromkeys(tuple(signs) for _, signs in train))
        out = {"train": train}
        for split in ("dev", "test"):
            seen = [self._seen(split, known) for _ in range(count[split] - unseen[split])]
            out[split] = [*kept_out[split], *seen]
        return {split: [self._clips(split, *sentence) for sentence in sampled] for split, sampled in out.items()}

    def _new(self, split: str, forbidden: set[str]) -> tuple[str, list[str]]:
        """A signer, and signs of theirs that make no forbidden sentence. DataError where none is found."""
        signers = sorted(self.clips[split])
        for _ in range(MAX_TRIES):
            signer = signers[int(self.rng.integers(len(signers)))]
            labels = sorted(self.clips[split][signer])
            most = min(self.recipe.words[1], len(labels))
            length = int(self.rng.integers(self.recipe.words[0], most + 1))
            signs = [str(sign) for sign in self.rng.choice(labels, length, replace=False)]
            if _text(signs) not in forbidden:
                return signer, signs
        raise DataError(
            f"its labels make too few sentences for {split}",
            place=self.place,
            wanted="more labels than the recipe needs",
            remedy="raise words, lower sentences, or add signs",
        )

    def _seen(self, split: str, known: Sequence[tuple[str, ...]]) -> tuple[str, list[str]]:
        """A signer of a split, and a sentence of training whose signs they have. DataError where none has."""
        signers = sorted(self.clips[split])
        for place in self.rng.permutation(len(known)):
            signs = known[int(place)]
            able = [name for name in signers if set(signs) <= self.clips[split][name].keys()]
            if able:
                return able[int(self.rng.integers(len(able)))], list(signs)
        raise DataError(
            f"no signer of {split} has the signs of any training sentence",
            place=self.place,
            wanted="signs that signers of training share with those of dev and test",
            remedy="set seen to 0, or by_signer to false",
        )

    def _clips(self, split: str, signer: str, signs: Sequence[str]) -> list[_Clip]:
        of = self.clips[split][signer]
        return [of[sign][int(self.rng.integers(len(of[sign])))] for sign in signs]


def _text(signs: Sequence[str]) -> str:
    return " ".join(signs)


def _read(source: Path) -> tuple[list[_Clip], int, float | None]:
    """All clips without depth, how many had one, and the frame rate of all: None where a clip tells none.

    Clips that tell a rate are brought to the commonest one.
    """
    if is_store(source):
        corpus: Corpus = open_store(source)
        read = [
            (corpus.clip(i), corpus.fps[i], id, corpus.texts[i], corpus.groups[i], corpus.splits[i])
            for i, id in enumerate(corpus.ids)
        ]
    else:
        read = [(normalise(s), s.fps, s.id, s.text, s.group, s.split) for s in formats.read(source)]
    rates = Counter(fps for _, fps, *_ in read)
    usual = max((fps for fps in rates if fps), key=lambda fps: rates[fps], default=None)
    clips = [
        _Clip(
            id,
            resample(np.asarray(frames[..., :CHANNELS], np.float32), frame_step(fps, usual)),
            (text or "").strip(),
            group or "",
            split,
        )
        for frames, fps, id, text, group, split in read
    ]
    return clips, sum(frames.shape[-1] > CHANNELS for frames, *_ in read), None if None in rates else usual


def _divided(clips: Sequence[_Clip], recipe: Recipe, place: str) -> dict[str, list[_Clip]]:
    """Clips by split: as their files say, else by signer, else a share of each label's clips."""
    if any(clip.split for clip in clips):
        return {split: [clip for clip in clips if (clip.split or "train") == split] for split in SPLITS}
    by_label: dict[str, list[_Clip]] = defaultdict(list)
    for clip in clips:
        by_label["" if recipe.by_signer else clip.label].append(clip)
    found: dict[str, list[_Clip]] = {split: [] for split in SPLITS}
    for label, some in sorted(by_label.items()):
        keys = [clip.signer if recipe.by_signer else clip.id for clip in some]
        if (count := len(set(keys))) < len(SPLITS):
            raise DataError(
                f"{count} signers" if recipe.by_signer else f"{count} clips of {label!r}",
                place=place,
                wanted="at least three, so that train, dev and test have different ones",
                remedy="name the signers in a label file, or set by_signer to false"
                if recipe.by_signer
                else "leave the sign out, or add clips of it",
            )
        for clip, part in zip(some, divide(keys, SPLIT_SHARES, str(recipe.seed)), strict=True):
            found[SPLITS[part]].append(clip)
    return found


def _signer(ids: Sequence[str], clips: Sequence[_Clip]) -> str:
    """The signer of all clips of a sentence."""
    wanted = set(ids)
    return Counter(clip.signer for clip in clips if clip.id in wanted).most_common(1)[0][0]


def _dump(path: Path, content: Any) -> None:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)
