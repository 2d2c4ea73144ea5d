"""Files and folders of a folder that are the parts of clips: left_hand/NAME.npy, NAME_left_hand.csv, pose.parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.formats import part_tables
from sign_models.keypoints.formats.files.source import Source
from sign_models.keypoints.formats.part_names import HANDS, PARTS, parsed, part_of

_ENDINGS = (".npy", ".npz", ".json", ".pkl", ".pickle", ".h5", ".hdf5")
_TABLES = (".csv", ".tsv", ".txt", ".parquet")


def _is_part(file: Source) -> bool:
    """Whether a file may hold a part, by its ending, and of a table by its columns."""
    suffix = file.path.suffix.lower()
    return suffix in _ENDINGS or (suffix in _TABLES and part_tables.detect(file))


def _split_name(stem: str) -> tuple[str, str, bool] | None:
    """Clip and part in the name of a file, and whether a bare side tells it: "a_left_hand", "pose-a", "a.rh"."""
    words = re.split(r"([._ -]+)", stem)
    for count in range(min(5, len(words)), 0, -2):  # the part in up to three words, at the end or the beginning
        for part, clip in ((words[-count:], words[:-count]), (words[:count], words[count:])):
            named = "".join(part)
            if found := parsed(named):
                return "".join(clip).strip("._ -"), found.part, found.bare
            if named.lower() in ("hands", "both_hands", "both-hands"):
                return "".join(clip).strip("._ -"), "hands", False
    return None


def group_parts(children: list[Source]) -> tuple[list[Source | DataError], list[Source]]:
    """Group the files of a folder into clips of several parts.

    Args:
        children: Files and folders in the folder.

    Returns:
        A source for each clip in files or folders of parts, after errors of entries that must not be read. And all
        other files and folders, those in folders of parts too.
    """
    folders = {part: child for child in _part_folders(children) if (part := part_of(child.name))}
    members: dict[str, dict[str, Source]] = {}
    used, bad, left = set[str](), list[DataError](), list[Source]()
    if len(folders) > 1 and folders.keys() & set(HANDS):
        for part, folder in folders.items():
            for member in _below(folder):
                if isinstance(member, DataError):
                    bad.append(member)
                elif _is_part(member):
                    name = member.path.relative_to(folder.path).with_suffix("").as_posix()
                    above, _, last = name.rpartition("/")
                    split = _split_name(last)
                    clip = split[0] if split and split[0] and split[1] == part else last
                    members.setdefault("/".join(filter(None, (above, clip))), {})[part] = member
                else:
                    left.append(member)
        used = {folder.place for folder in folders.values()} | {
            child.place for child in children if child.is_folder and _is_hands(child)
        }
    files: dict[str, dict[str, Source]] = {}
    bare: set[str] = set()
    for child in children:
        found = None if child.is_folder else _split_name(child.path.stem)
        if found and _is_part(child):
            files.setdefault(found[0], {})[found[1]] = child
            bare |= {found[0]} if found[2] else set()
    for name, named in files.items():
        # Only a body or a face beside them makes hands of "turn_left" and "turn_right".
        if len(named) > 1 and named.keys() & set(HANDS) and (name not in bare or not named.keys() <= set(HANDS)):
            members[name] = named
            used |= {child.place for part, child in named.items() if part in PARTS}
    bad += list(_unsided(files, used))
    parent = children[0].id.rpartition("/")[0] if children else ""
    folder_name = Path(children[0].place).parent if children else Path()
    clips: list[Source | DataError] = [*bad]
    for name, files_of in sorted(members.items()):
        id = "/".join(filter(None, (parent, name))) or folder_name.name
        held = tuple((part, files_of[part]) for part in PARTS if part in files_of)
        clips.append(Source(str(folder_name), name or folder_name.name, id, True, held))
    return clips, left + [child for child in children if child.place not in used]


def _unsided(files: dict[str, dict[str, Source]], used: set[str]) -> Iterator[DataError]:
    """Errors of files of both hands ("clip_hands.npy") beside other parts of the clip, all of which become `used`."""
    for name, named in files.items():
        both = named.get("hands")
        if both is not None and len(named) > 1 and both.place not in used:
            used |= {file.place for file in named.values()}  # clips of their own they are not
            others = ", ".join(file.name for file in named.values() if file != both)
            yield DataError(
                f"is named like both hands of {name!r}, beside {others}",
                place=both.name,
                wanted="left_hand and right_hand in files of their own, or all parts in one file",
                remedy="split or join the files (docs/formats/parts.md); another name if it is a clip of its own",
            )


def _is_hands(folder: Source) -> bool:
    return re.fullmatch("hands?", folder.name.lower()) is not None and any(
        below.is_folder and part_of(below.name) in HANDS for below in folder.children
    )


def _part_folders(children: list[Source]) -> Iterator[Source]:
    """The folders among them, and those in a folder "hands"."""
    for child in children:
        if child.is_folder:
            yield from (below for below in child.children if below.is_folder) if _is_hands(child) else (child,)


def _below(folder: Source) -> Iterator[Source | DataError]:
    """Files in a folder and its subfolders, and errors of entries that must not be read."""
    yield from folder.unreadable
    for child in folder.children:
        yield from _below(child) if child.is_folder else (child,)
