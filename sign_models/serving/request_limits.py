"""Limits of a request's JSON, checked on its bytes before MLflow's server parses it into objects.

Parsing costs a hundred times what counting does: 6 MB of empty objects take a core for a minute.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from sign_models.errors import DataError
from sign_models.keypoints.trees import MAX_DEPTH, check_json

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 384 * 2**20  # 256 MiB of files in base64, and what stands around them
MAX_OBJECTS = 256  # 64 clips, the request itself, its params, and what clients put around them
MAX_FRAMES = 131_072  # of all clips
_FRAME_LEVEL = 5  # of {"inputs": [{"keypoints": [frame, ...]}]}
_SERVER, _PARSE = "mlflow.pyfunc.scoring_server", "_decode_json_input"


def check_body(body: bytes) -> None:
    """Check size, number of values and depth of a request.

    Args:
        body: Its JSON.

    Raises:
        DataError: It breaks a limit.
    """
    place = "request"
    if len(body) > MAX_BODY_BYTES:
        raise DataError(f"{len(body):,} bytes", place=place, wanted=f"at most {MAX_BODY_BYTES:,}")
    if (objects := body.count(b"{")) > MAX_OBJECTS:
        remedy = "send several requests"
        raise DataError(f"{objects:,} objects", place=place, wanted=f"at most {MAX_OBJECTS}", remedy=remedy)
    check_json(body, place)
    characters = np.frombuffer(body, np.uint8)
    opens, closes = (np.isin(characters, np.frombuffer(signs, np.uint8)) for signs in (b"[{", b"]}"))
    steps = np.where(opens, np.int8(1), -closes.astype(np.int8))[opens | closes]
    levels = steps.cumsum(dtype=np.int32)
    if len(levels) and (depth := int(levels.max())) > MAX_DEPTH:
        raise DataError(f"{depth:,} levels of lists", place=place, wanted=f"at most {MAX_DEPTH}")
    if (frames := int(np.count_nonzero((levels == _FRAME_LEVEL) & (steps > 0)))) > MAX_FRAMES:
        raise DataError(f"{frames:,} frames as lists", place=place, wanted=f"at most {MAX_FRAMES:,}")


def guard_server(refusal: Callable[[str], Exception]) -> None:
    """Have MLflow's own server, where this process is one, check a request before it parses it.

    MLflow has no public place for that: its function is replaced. A version without it is served without the check,
    which is logged.

    Args:
        refusal: Makes the exception that answers a client, of a message.
    """
    server: Any = sys.modules.get(_SERVER)
    if server is None:
        return
    parse = getattr(server, _PARSE, None)
    if parse is None:
        logger.warning("this MLflow parses requests before their size is checked: set a limit in front of it")
        return
    if hasattr(parse, "__wrapped__"):
        return

    @wraps(parse)
    def checked(json_input: Any) -> Any:
        if isinstance(json_input, bytes | str):
            try:
                check_body(json_input.encode() if isinstance(json_input, str) else json_input)
            except DataError as error:
                raise refusal(str(error)) from error
        return parse(json_input)

    setattr(server, _PARSE, checked)
