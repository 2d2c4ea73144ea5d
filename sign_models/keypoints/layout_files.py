"""Layouts described in YAML files."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sign_models.errors import DataError
from sign_models.keypoints.landmarks import IGNORED
from sign_models.keypoints.layouts import CANONICAL, KNOWN_NAMES, PARTS, name_of, sources_of
from sign_models.keypoints.yaml_files import read_yaml

WANTED = "a YAML list of landmark names, '- body.nose', '- body.left_eye', ... (docs/formats/layouts.md)"


def load_layout(path: Path | str) -> str:
    """Read a layout from a YAML file.

    Args:
        path: File with a list of landmark names in the order of the data. null: a place that is not used.

    Returns:
        Name of the layout.

    Raises:
        DataError: The file cannot be read, or has unknown, repeated or no usable names.
    """
    path = Path(path)
    try:
        names = read_yaml(path)
    except (OSError, ValueError) as error:
        found = f"cannot be read as a layout ({type(error).__name__})"
        raise DataError(found, place=path.name, wanted=WANTED) from error
    except DataError as error:  # a folder, a device
        raise DataError(error.found, place=path.name, wanted=WANTED) from error
    if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
        raise DataError("is not a list of landmark names", place=path.name, wanted=WANTED)
    for i, name in enumerate(names):
        if name is not None and name not in KNOWN_NAMES:
            near = get_close_matches(name, KNOWN_NAMES, 1, 0.5)
            raise DataError(
                f"landmark {i} is {name!r}, a name nobody knows",
                place=path.name,
                wanted=f"a name such as {near[0]!r}" if near else "a name of docs/formats/layouts.md, or null",
            )
    given = [name for name in names if name is not None]
    if repeated := sorted({name for name in given if given.count(name) > 1}):
        raise DataError(f"names {', '.join(repeated)} more than once", place=path.name, wanted="each landmark once")
    if sources_of(tuple(given))[-1].all():
        raise DataError(
            "names no landmark that the models use",
            place=path.name,
            wanted="some of " + ", ".join(CANONICAL[PARTS["body"]]),
        )
    return name_of(IGNORED if name is None else name for name in names)
