"""ELAN annotations: the tiers with sentences of an `.eaf` file, as segments of its recordings.

Schema: EAFv3.0.xsd of the Max Planck Institute for Psycholinguistics. The times of an annotation are its own or those
of its parent. Annotations between two time slots with times divide the time evenly, as in ELAN.
"""

from __future__ import annotations

import logging
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

from sign_models.errors import DataError
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.labels.segments import Segment

log = logging.getLogger(__name__)

MAX_BYTES = 2**26
MAX_DEPTH = 16  # of tiers that depend on others
# Names of tiers with sentences, the most specific first. A tier is recognised by its name or linguistic type.
SENTENCE_TIERS = (
    r"transl|übersetzung|uebersetzung|traducci[oó]n|traduction|traduzione|tradução|vertaling|oversættelse|翻译",
    r"deutsch|german",
    r"english|englisch",
    r"fran[cç]ais|french|español|spanish|italiano|italian|portugu|nederlands|dutch|chinese|中文",
    r"sentence|satz|utterance|phrase|frase|subtitle|untertitel|ondertitel|\btexte?\b",
)
_OTHERS = re.compile(
    r"gloss|lexem|mouth|hand|comment|note|confidence|translator|transliter|\bids?\b|number|type", re.IGNORECASE
)
MAX_LOCAL_NAME = 2  # letters of a participant's name that is unique in its recording only, such as A or B1


@dataclass(frozen=True)
class Tier:
    """A tier.

    Attributes:
        name: Its name.
        kind: Its linguistic type.
        participant: As the file states it, or the end of the name ("Translation_A").
        base: The name without the participant.
        annotations: Id, start and end in seconds or None, and text of each annotation.
    """

    name: str
    kind: str
    participant: str
    base: str
    annotations: list[tuple[str, tuple[float, float] | None, str]]


def segments(source: Source, tiers: tuple[str, ...] = ()) -> tuple[list[Segment], list[DataError]]:
    """Read the sentences of a file.

    Args:
        source: The file.
        tiers: Names of tiers, with or without the participant, or of linguistic types. (): guessed.

    Returns:
        Segments of the recordings, and what is wrong with other annotations, which are left out.

    Raises:
        DataError: The file is no ELAN file, no tier has sentences, or several may have and none is named.
    """
    root = _parsed(source)
    found = _tiers(root)
    chosen = _chosen(found, tiers, source.name)
    recordings, origin = _recordings(root, source)
    people = {tier.participant for tier in chosen if tier.annotations}
    if len(people) > 1:
        log.warning("%s: sentences of %d signers (%s)", source.name, len(people), ", ".join(sorted(people)))
    empty, result, problems = 0, list[Segment](), list[DataError]()
    for tier in chosen:
        signer = tier.participant if len(people) > 1 else ""
        names = _of_signer(recordings, signer, people)
        for id, times, text in tier.annotations:
            if not text:
                empty += 1
                continue
            if times is None or not times[0] < times[1]:
                place = f"{source.name}: tier {tier.name!r}: annotation {id[:20]!r}"
                wanted = "a start and a later end"
                problems.append(DataError("has no time", place=place, wanted=wanted, remedy="correct it in ELAN"))
                continue
            start, end = times
            span = f"{start:.3f}-{end:.3f}"
            result.append(
                Segment(
                    id="/".join(filter(None, (source.id, signer, span))),
                    recordings=names,
                    start=start + origin,
                    end=end + origin,
                    unit="seconds",
                    text=text,
                    split=None,
                    group=_group(tier.participant, source.id),
                    place=f"{source.name}: tier {tier.name!r}",
                )
            )
    if empty:
        log.warning("%s: %d annotations without text are left out", source.name, empty)
    return result, problems


def _parsed(source: Source) -> ET.Element:
    data = source.path.read_bytes() if source.path.stat().st_size <= MAX_BYTES else b""
    try:
        if not data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise ValueError(f"empty, beyond {MAX_BYTES:,} bytes, or with a document type")
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError, RecursionError, MemoryError) as error:
        found = f"is no readable ELAN file ({str(error)[:80]})"
        raise DataError(found, place=source.name, wanted="the XML that ELAN saves", remedy="save it again") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(f"is XML of {root.tag[:40]!r}", place=source.name, wanted="ELAN's ANNOTATION_DOCUMENT")
    units = next((header.get("TIME_UNITS") for header in root.findall("HEADER")), None) or "milliseconds"
    if units != "milliseconds":
        remedy = "save it again with a later ELAN"
        raise DataError(f"has times in {units[:40]!r}", place=source.name, wanted="milliseconds", remedy=remedy)
    return root


def _recordings(root: ET.Element, source: Source) -> tuple[list[str], float]:
    """Names of the recordings, after the file or its films, and seconds from their start to the file's time 0."""
    media = root.findall("HEADER/MEDIA_DESCRIPTOR")
    urls = [one.get("RELATIVE_MEDIA_URL") or one.get("MEDIA_URL") or "" for one in media]
    names = [PurePosixPath(unquote(url).replace("\\", "/")).name for url in urls]
    origins = [one.get("TIME_ORIGIN") or "0" for one in media] or ["0"]
    origin = origins[0]
    if len(set(origins)) > 1:
        log.warning("%s: its films begin at different times; that of the first, %s ms, is taken", source.name, origin)
    return [source.id, *filter(None, names)], (float(origin) if re.fullmatch(r"\d{1,9}", origin) else 0.0) / 1000


def _of_signer(recordings: list[str], signer: str, people: set[str]) -> tuple[str, ...]:
    """Recordings of a signer: those named after the signer (rec_A, rec_1a1) or after no signer."""
    if not signer:
        return tuple(recordings)
    others = {person.lower() for person in people - {signer}}
    stem = recordings[0]
    named = [
        f"{stem}{sign}{name}" for sign in "_-." for name in dict.fromkeys((signer, signer.lower(), signer.upper()))
    ]
    shown = [name for name in recordings[1:] if not others & _words_after(name, PurePosixPath(stem).name)]
    return (stem, *named, *shown)


def _words_after(name: str, stem: str) -> set[str]:
    return set(re.findall(r"[a-z]+", PurePosixPath(name).stem.removeprefix(stem).lower()))


def _group(participant: str, recording: str) -> str | None:
    if not participant:
        return None
    return participant if len(participant) > MAX_LOCAL_NAME else f"{recording}/{participant}"


# Tiers ----------------------------------------------------------------------------------------------------------------


def _chosen(found: list[Tier], wanted: tuple[str, ...], place: str) -> list[Tier]:
    """Tiers with sentences: those that were named, else those whose names look like it."""
    names = ", ".join(tier.name for tier in found) or "none"
    if wanted:
        asked = {name.strip().lower() for name in wanted}
        chosen = [t for t in found if asked & {t.name.lower(), t.base.lower(), t.kind.lower()}]
        if not chosen:
            raise DataError(
                f"tiers {names[:200]}", place=place, wanted=f"one of {', '.join(wanted)}", remedy="see --tiers"
            )
        return chosen
    for guess in SENTENCE_TIERS:
        chosen = [
            t
            for t in found
            if re.search(guess, f"{t.base} {t.kind}", re.IGNORECASE)
            and not _OTHERS.search(t.base)
            and any(a[2] for a in t.annotations)
        ]
        bases = list(dict.fromkeys(t.base for t in chosen))
        if len(bases) > 1:
            remedy = f"give --tiers {bases[0]!r}, or another"
            raise DataError(
                f"{len(bases)} tiers may hold the sentences: {', '.join(bases)}",
                place=place,
                wanted="one",
                remedy=remedy,
            )
        if chosen:
            log.info("%s: sentences of tier %s", place, ", ".join(t.name for t in chosen))
            return chosen
    raise DataError(
        f"no tier looks like sentences: {names[:200]}",
        place=place,
        wanted="Translation, Deutsch, English or Sentence",
        remedy="name it with --tiers",
    )


def _tiers(root: ET.Element) -> list[Tier]:
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.findall("TIME_ORDER/TIME_SLOT")}
    times = {id: float(v) / 1000 for id, v in slots.items() if id and v and re.fullmatch(r"\d{1,12}", v)}
    elements = root.findall("TIER")
    spans: dict[str, tuple[float, float] | str] = {}  # times of each annotation, or the id of its parent
    shares: dict[str, tuple[int, int]] = {}  # index and count of each child among those of its parent
    for tier in elements:
        spans |= _aligned(tier, times)
        children: dict[str, list[str]] = {}
        for one in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            children.setdefault(one.get("ANNOTATION_REF", ""), []).append(one.get("ANNOTATION_ID", ""))
        for parent, ids in children.items():
            spans |= dict.fromkeys(ids, parent)
            shares |= {id: (i, len(ids)) for i, id in enumerate(ids)}
    found = []
    for tier in elements:
        annotations = []
        for one in tier.iterfind("ANNOTATION/*"):
            id, text = one.get("ANNOTATION_ID", ""), one.findtext("ANNOTATION_VALUE") or ""
            annotations.append((id, _span(id, spans, shares), " ".join(text.split())))
        name, participant = tier.get("TIER_ID", ""), tier.get("PARTICIPANT", "").strip()
        end = re.fullmatch(r"(.+?)[ _@.-]([A-Za-z]\d?)", name)
        base = name
        if participant and re.search(rf"[ _@.-]{re.escape(participant)}$", name, re.IGNORECASE):
            base = name[: -len(participant) - 1]
        elif end and not participant:
            base, participant = end[1], end[2]
        elif end:
            base = end[1]
        found.append(Tier(name, tier.get("LINGUISTIC_TYPE_REF", ""), participant, base, annotations))
    return found


def _aligned(tier: ET.Element, times: dict[str, float]) -> dict[str, tuple[float, float] | str]:
    """Times of a tier's own annotations. Annotations without a time between them divide the time evenly."""
    spans: dict[str, tuple[float, float] | str] = {}
    chain: list[str] = []
    begin: float | None = None
    for one in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
        start, end = times.get(one.get("TIME_SLOT_REF1", "")), times.get(one.get("TIME_SLOT_REF2", ""))
        if start is not None:
            chain, begin = [], start
        chain.append(one.get("ANNOTATION_ID", ""))
        if end is not None and begin is not None:
            step = (end - begin) / len(chain)
            spans |= {id: (begin + i * step, begin + (i + 1) * step) for i, id in enumerate(chain)}
            chain, begin = [], end
    return spans


def _span(
    id: str, spans: dict[str, tuple[float, float] | str], shares: dict[str, tuple[int, int]]
) -> tuple[float, float] | None:
    """Times of an annotation, or its share of its parent's times."""
    begin, width = 0.0, 1.0  # of the ancestor's time
    for _ in range(MAX_DEPTH):
        found = spans.get(id)
        if found is None:
            return None
        if isinstance(found, tuple):
            start, end = found
            return start + begin * (end - start), start + (begin + width) * (end - start)
        place, count = shares[id]
        begin, width = (place + begin) / count, width / count
        id = found
    return None
