"""Columns of tables with a picture's name in each row, whose number is the time: "clip_7/000012.jpg"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sign_models.keypoints.formats.tables.columns import first_of

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = tuple("image image_name image_id image_file image_path img img_name img_path frame_name frame_file".split())
_PICTURE = re.compile(r"(?P<clip>.*?)(?P<number>\d{1,15})\.(jpe?g|png|bmp|tiff?|webp|gif)", re.IGNORECASE)
_GENERIC = {"frame", "frames", "img", "image", "images", "picture", "pictures", "f"}


def pictures_of(batch: pa.RecordBatch, names: list[str], id_column: str | None) -> str | None:
    """Find the column with the name of a picture in each row.

    Args:
        batch: First rows of a table.
        names: Columns that are no landmarks.
        id_column: Column of ids, which may be that of pictures, or None.

    Returns:
        The column, or None.
    """
    column = first_of(names, _COLUMNS) or id_column
    if column is None or not batch.num_rows:
        return None
    return column if _PICTURE.fullmatch(str(batch.column(column)[0])) else None


def number_pictures(
    batch: pa.RecordBatch, column: str | None, id_column: str | None
) -> tuple[pa.RecordBatch, str | None]:
    """Add the frame numbers that pictures have, and replace their names by their clips' where no other column has ids.

    Args:
        batch: Rows of a table.
        column: Result of pictures_of.
        id_column: Column of ids, or None.

    Returns:
        The rows, and the column of ids or None.
    """
    import pyarrow as pa

    if column is None:
        return batch, id_column
    names = [str(name) for name in batch.column(column).to_pylist()]
    found = [_PICTURE.fullmatch(name) for name in names]
    if "frame" not in batch.schema.names:
        numbers = [int(one["number"]) if one else None for one in found]
        batch = batch.append_column("frame", pa.array(numbers, pa.int64()))
    if id_column not in (None, column):
        return batch, id_column
    clips = [_clip(one["clip"]) if one else "" for one in found]
    batch = batch.set_column(batch.schema.names.index(column), column, pa.array(clips, pa.string()))
    return batch, column if any(clips) else None


def _clip(name: str) -> str:
    """What is left of a picture's name without its number and words for pictures: "a/frames/img" -> "a"."""
    words = re.split(r"([/\\ _.-]+)", name)
    while words and (not words[-1].strip("/\\ _.-") or words[-1].lower() in _GENERIC):
        words.pop()
    return "".join(words)
