"""The inputs of a command: keypoints, videos and texts, and whether they fit together."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sign_models.data.corpus import Corpus
from sign_models.data.splits import SPLITS, WAYS, clips_of_split, divide_clips
from sign_models.data.texts import TextRow, read_texts, signer_of, some_names
from sign_models.datasets import demo
from sign_models.datasets.store import is_store, open_store, store_digest
from sign_models.errors import DataError
from sign_models.keypoints import isolation

if TYPE_CHECKING:
    from sign_models.keypoints.sequence import KeypointSequence

logger = logging.getLogger(__name__)
KEYPOINTS, VIDEOS, TEXTS = "sign_language_keypoints.pkl", "video_sequences.pkl", "text_data.json"
SPLIT_SHARES = dict(zip(SPLITS, (0.8, 0.1, 0.1), strict=True))  # where no split is given


@dataclass(frozen=True)
class Inputs:
    """The three inputs, each read when it is first asked for.

    Attributes:
        keypoints_path: Clips of the skeleton stage, or None.
        videos_path: Videos with texts, or None.
        texts_path: Texts of the videos, or None. Without any path the embedded demo corpus is used.
    """

    keypoints_path: Path | None
    videos_path: Path | None
    texts_path: Path | None

    @classmethod
    def from_paths(cls, data: Path | None, keypoints: Path | None, videos: Path | None, texts: Path | None) -> Inputs:
        """Find the inputs of a command.

        Args:
            data: Folder with files of the usual names, or else a store or folder of keypoint files, used for all
                inputs.
            keypoints: Clips of the skeleton stage, instead of those in `data`.
            videos: Videos, instead of those in `data`.
            texts: Texts, instead of those in `data`.

        Returns:
            The inputs, not read yet.

        Raises:
            DataError: A path does not exist.
        """
        for path in (data, keypoints, videos, texts):
            if path is not None and not path.exists():
                raise DataError(
                    "no such file or folder",
                    place=str(path),
                    wanted="an existing path",
                    remedy="check the path; it counts from the folder in which the command was typed",
                )
        if data is not None:
            seed = any((data / name).exists() for name in (KEYPOINTS, VIDEOS))
            found = [data / name if seed else data for name in (KEYPOINTS, VIDEOS)]
            keypoints, videos = keypoints or found[0], videos or found[1]
            texts = texts or (data / TEXTS if (data / TEXTS).exists() else None)
        return cls(keypoints, videos, texts)

    def with_clips(self, keypoints: Corpus, videos: Corpus, texts: dict[str, str]) -> Inputs:
        """The same inputs with other clips in their place, such as a part of their own.

        digest() stays that of the files.

        Args:
            keypoints: Clips of the skeleton stage.
            videos: Videos, with their splits.
            texts: Texts by video id.

        Returns:
            Inputs that read nothing more.
        """
        changed = replace(self)
        vars(changed).update(keypoints=keypoints, videos=videos, texts=texts)  # where cached_property looks first
        return changed

    @property
    def embedded(self) -> bool:
        """Whether the embedded demo corpus is used."""
        return self.keypoints_path is None and self.videos_path is None and self.texts_path is None

    @property
    def source(self) -> str:
        """Paths of the inputs, for people."""
        return (
            "embedded fingerspelling"
            if self.embedded
            else ", ".join(dict.fromkeys(str(p) for p in (self.keypoints_path, self.videos_path, self.texts_path) if p))
        )

    @cached_property
    def keypoints(self) -> Corpus:
        """Clips of the skeleton stage: the videos, with their splits, where no others are given."""
        if self.embedded:
            return Corpus.from_sequences(self._demo.keypoints, "embedded clips")
        return self.videos if self._shared else _read(self.keypoints_path, KEYPOINTS)

    @property
    def _shared(self) -> bool:
        return self.videos_path is not None and self.keypoints_path in (None, self.videos_path)

    @cached_property
    def videos(self) -> Corpus:
        """Videos with the splits that they or their texts name."""
        return self._videos_and_splitting[0]

    @property
    def splitting(self) -> str:
        """How the videos were split. "" where they or their texts name splits."""
        return self._videos_and_splitting[1]

    @cached_property
    def _videos_and_splitting(self) -> tuple[Corpus, str]:
        """The videos with texts and splits joined, and what is said of the splits."""
        corpus = (
            Corpus.from_sequences(self._demo.videos, "embedded phrases")
            if self.embedded
            else _read(self.videos_path, VIDEOS, self._rows, str(self.texts_path))
        )
        splitting = _join_texts(corpus, self._rows, str(self.texts_path or TEXTS))
        if splitting:
            logger.info("%s: %s", Path(corpus.sources).name, splitting)
        return corpus, splitting

    @cached_property
    def texts(self) -> dict[str, str]:
        """Texts by video id, from `texts_path` or else from the videos' own files."""
        videos = self.videos
        if self._rows:
            return {row.id: row.text for row in self._rows}
        return {name: text for name, text in zip(videos.ids, videos.texts, strict=True) if text}

    def check_training_texts(self) -> None:
        """Check that a translator can be trained.

        Raises:
            DataError: No video of the training split has a text.
        """
        videos, texts = self.videos, self.texts
        if not any(texts.get(videos.ids[i]) for i in clips_of_split(videos, "train", None)):
            raise DataError(
                "no video of the training split has a text",
                place=str(self.texts_path or videos.sources),
                wanted=f"texts for some of them, in {TEXTS} or beside the keypoints",
                remedy="add their ids there, or run -e skeleton and -e temporal alone, which need no text",
            )

    def digest(self, *parts: str) -> str:
        """Digest of inputs, without parsing them.

        Args:
            *parts: Inputs that count: "keypoints", "videos", "texts".

        Returns:
            A sha256 over the bytes of the files, over the digest of a store, or over what the demo corpus is made from.
        """
        digest = hashlib.sha256()
        if self.embedded:
            for path in demo.source_files():
                digest.update(path.read_bytes())
        if self._shared and "keypoints" in parts:
            parts = tuple(dict.fromkeys(("videos", "texts", *parts)))
        for part in parts:
            path = getattr(self, f"{part}_path")
            digest.update(part.encode())
            if path and is_store(path):
                digest.update(store_digest(path).encode())
                continue
            for file in _files(path) if path else ():
                digest.update(f"{file.relative_to(path.parent)}".encode())
                digest.update(self._sha256(file))
        return digest.hexdigest()

    def _sha256(self, file: Path) -> bytes:
        """Hash of a file as it was when first asked for. All stages of a command ask, and it is read once."""
        if file not in self._hashes:
            with file.open("rb") as content:
                self._hashes[file] = hashlib.file_digest(content, "sha256").digest()
        return self._hashes[file]

    @cached_property
    def _hashes(self) -> dict[Path, bytes]:
        return {}

    @cached_property
    def _demo(self) -> demo.DemoCorpus:
        return demo.demo_corpus()

    @cached_property
    def _rows(self) -> list[TextRow]:
        if self.embedded:
            return [TextRow(row["id"], row["text"], row["split"]) for row in self._demo.texts]
        return read_texts(self.texts_path) if self.texts_path else []


def prepare(*paths: Path | None) -> None:
    """Have a command's files read without waiting for what reads them: call it before other work.

    Args:
        *paths: That clips will be read from. Nothing is started for a store, nor for the embedded corpus.
    """
    with suppress(OSError):  # of a path that cannot be looked at: who reads it says so
        if any(path and path.exists() and not is_store(path) for path in paths):
            isolation.prepare()


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise _missing(path, path.name)
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _read(path: Path | None, usual: str, rows: list[TextRow] | None = None, texts: str = "") -> Corpus:
    """Read clips. rows: of the file `texts`, which may name their signers: by these it is told who is left-handed."""
    if path is None or not path.exists():
        raise _missing(path, usual)
    signers = {row.id: row.signer for row in rows or () if row.signer}
    if is_store(path):
        corpus = open_store(path)
        for i, (name, own) in enumerate(zip(corpus.ids, corpus.groups, strict=True)):
            corpus.groups[i] = signer_of(name, own, signers.get(name), texts)
        return corpus
    from sign_models.keypoints import formats  # two dozen modules, which neither a store nor the embedded corpus needs

    sequences: Iterable[KeypointSequence] = formats.read(path)
    if signers:
        sequences = (replace(s, group=signer_of(s.id, s.group, signers.get(s.id), texts)) for s in sequences)
        logger.info("%s: names %d signers of %d videos", Path(texts).name, len({*signers.values()}), len(signers))
    return Corpus.from_sequences(sequences, str(path))


def _missing(path: Path | None, usual: str) -> DataError:
    return DataError(
        "missing",
        place=str(path or usual),
        wanted=f"{usual}, or a folder of keypoint files",
        remedy="give it with -P data=DIR or one by one; docs/formats tells what is read",
    )


def _renaming(missing: list[str], corpus: Corpus) -> str:
    """What to write instead of ids that have a folder or an ending too much, or too little. "" where that is not it."""
    from sign_models.keypoints.formats.labels.segments import name_forms

    known = {form: name for name in corpus.ids for form in name_forms(name)}
    for name in missing:
        for form in name_forms(name):
            if form in known:
                return f"write ids as the keypoints have them: {known[form]!r} for {name!r}"
    return ""


def _join_texts(corpus: Corpus, rows: list[TextRow], place: str) -> str:
    """Check texts against videos and set the splits of the corpus. Returns how, where nothing names them."""
    if missing := [row.id for row in rows if row.id not in corpus.index]:
        raise DataError(
            f"{len(missing)} of {len(rows)} texts have no video: {some_names(missing)}",
            place=place,
            wanted=f"ids of {corpus.sources}, such as {some_names(corpus.ids[:2])}",
            remedy=_renaming(missing, corpus) or "add the videos or remove the texts",
        )
    for row in rows:
        i = corpus.index[row.id]
        own = corpus.splits[i]
        if own and row.split and own != row.split:
            raise DataError(
                f"video {row.id!r} is in two splits: {own} ({corpus.sources}) and {row.split} ({place})",
                place=place,
                wanted="one split a video",
                remedy="make the two agree",
            )
        corpus.splits[i] = row.split or own
    if not any(corpus.splits):
        return _split(corpus, {row.id: row.text for row in rows} or dict(zip(corpus.ids, corpus.texts, strict=True)))
    if "train" not in corpus.splits:
        raise DataError(
            f"no training split, only {some_names(sorted({s for s in corpus.splits if s}))}",
            place=place,
            wanted='videos of split "train"',
            remedy='set "split" of some texts to "train", or leave out every split',
        )
    return ""


def _split(corpus: Corpus, texts: Mapping[str, str | None]) -> str:
    """Split the clips of `texts`, the same on every machine. Returns how, for log and run."""
    clips = np.array([i for i, name in enumerate(corpus.ids) if name in texts])
    shares = [*SPLIT_SHARES.values()]
    if len(clips) < len(shares):
        corpus.splits = ["train"] * len(corpus)
        return f"no split is named, and {len(clips)} videos are too few to divide: all of them train"
    parts, by = divide_clips(corpus, clips, shares, "split", [texts.get(name) for name in corpus.ids])
    for clip, part in zip(clips, parts, strict=True):
        corpus.splits[clip] = [*SPLIT_SHARES][part]
    counts = ", ".join(f"{corpus.splits.count(name)} {name}" for name in SPLIT_SHARES)
    return f"no split is named: {counts}, {WAYS[by]}"
