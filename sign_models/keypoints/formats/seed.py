"""The seed's `sign_language_keypoints` and `video_sequences`, and all else that holds arrays by id: pickle, npz, JSON.

{id: array} | {id: record} | [array, ...] | [record, ...] | {"layout", "fps", "sequences": one of these} | array |
record; a record is {"keypoints", "id"?, "confidence"?, "fps"?, "layout"?, "text"?, "split"?, "group"?}. The schema and
an example of each: docs/formats/seed.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sign_models.keypoints.formats import records
from sign_models.keypoints.formats.clip import Clip
from sign_models.keypoints.formats.source import Options, Source
from sign_models.keypoints.pickles.safe_pickle import Arrays

HEADER = ("layout", "fps", "unit", "size")


def detect(source: Source) -> bool:
    if source.kind not in ("pickle", "npz", "npy", "json"):
        return False
    tree = source.tree
    if isinstance(tree, np.ndarray) or records.is_record(tree):
        return True
    if isinstance(tree, Mapping) and "sequences" in tree:
        return True
    return isinstance(tree, Mapping | list | tuple | Arrays) and (
        not len(tree)
        or any(isinstance(v, np.ndarray | list | Arrays) or records.is_record(v) for v in records.values(tree))
    )


def read(source: Source, options: Options) -> Iterator[Clip]:
    tree, header = source.tree, {}
    if isinstance(tree, Mapping) and "sequences" in tree:
        header = {name: tree[name] for name in HEADER if tree.get(name) is not None}
        tree = tree["sequences"]
    elif isinstance(tree, Mapping) and not records.is_record(tree):
        # An npz has no other place for them than beside the arrays.
        header = {name: tree[name] for name in HEADER if name in tree and not isinstance(tree[name], np.ndarray)}
    return records.clips(tree, source, options, header=header)
