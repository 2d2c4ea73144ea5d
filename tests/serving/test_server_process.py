"""What a server's process is set to before it answers."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
import threading

import pytest

from sign_models.serving.server_process import AT_ONCE, answer_together

THREADS, MIB = 12, 16

PROGRAM = f"""
import threading
import psutil
from sign_models.serving.server_process import share_freed_memory

if SHARED:
    share_freed_memory()
kept, turn, done = [], threading.Lock(), threading.Barrier({THREADS} + 1)

def answer():
    with turn:
        taken = [bytes(2048) for _ in range({MIB} * 512)]
        kept.append(taken.pop())  # what the process keeps lies behind what it frees
        del taken
    done.wait()  # all threads are there at once

threads = [threading.Thread(target=answer) for _ in range({THREADS})]
for thread in threads:
    thread.start()
done.wait()
print(psutil.Process().memory_info().rss // 2**20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_threads_reuse_what_others_have_freed() -> None:
    found = {}
    for shared in (False, True):
        program = PROGRAM.replace("SHARED", str(shared))
        found[shared] = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert found[False] - found[True] > THREADS * MIB // 2


def test_a_server_works_on_many_requests_at_once() -> None:
    async def answered() -> int:
        answer_together()
        there = threading.Barrier(AT_ONCE)
        return len(await asyncio.gather(*(asyncio.to_thread(there.wait, 20) for _ in range(AT_ONCE))))

    assert asyncio.run(answered()) == AT_ONCE
    answer_together()  # no server, no loop
