"""What a reading process hands over arrives as it was, or not at all; memory that is freed stays where it is asked to."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading

import numpy as np
import pytest

from sign_models.keypoints.handover import MIN_RAW_BYTES, receive, send, widen_pipe

WHAT = [
    None,
    [],
    {"text": "Größe", "few": np.arange(6, dtype=np.float32)},
    [np.arange(n, dtype=np.float16).reshape(-1, 3) for n in (3, MIN_RAW_BYTES // 2 + 1, 3 * MIN_RAW_BYTES, 3 * 2**20)],
]


@pytest.mark.parametrize("what", WHAT)
def test_what_is_handed_over_arrives(what: object) -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    widen_pipe(there)
    sender = threading.Thread(target=lambda: (send(there, what), send(there, "next")))
    sender.start()
    np.testing.assert_equal(receive(here), what)
    assert receive(here) == "next"
    sender.join()


def test_parts_of_an_array_arrive_alone_and_can_be_written_to() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    whole = np.arange(4 * MIN_RAW_BYTES, dtype=np.uint8).reshape(4, -1)
    send(there, [whole[1], whole[3]])
    first, second = receive(here)
    first += 1
    np.testing.assert_array_equal(first, whole[1] + 1)
    np.testing.assert_array_equal(second, whole[3])


def test_a_sender_that_dies_within_a_message_is_told_from_a_whole_one() -> None:
    for sent in (b"\0\0", b"\0\0\1\0half"):
        here, there = multiprocessing.Pipe(duplex=False)
        there._send(sent)  # type: ignore[attr-defined]
        there.close()
        with pytest.raises(EOFError):
            receive(here)
    here, there = multiprocessing.Pipe(duplex=False)
    widen_pipe(there)
    there.send((b"told", [2 * MIN_RAW_BYTES]))
    there._send(bytes(MIN_RAW_BYTES))  # type: ignore[attr-defined]
    there.close()
    with pytest.raises(EOFError):
        receive(here)


FAULTS = """
import resource, sys
import numpy as np
from sign_models.data.memory import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
def pages():
    for _ in range(20):
        several = [np.ones(2**20, np.uint8) for _ in range(8)]
pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pages()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_freed_memory_is_used_again_without_the_kernel() -> None:
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, *more], capture_output=True, text=True, check=True).stdout)
        for more in ([], ["keep"])
    )
    assert kept < 200 < 10_000 < given_back
