"""A signer who never goes away: frames to /stream of a running page; the server's memory and latency.

python -m entrypoints.demo --model candidate --port 8080 &
python -m benchmarks.stream --port 8080 --seconds 600              # in real time
python -m benchmarks.stream --port 8080 --seconds 3600 --speed 4   # an hour of frames in a quarter of one
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import numpy as np
import psutil
import websockets

from tests.serving.raw import SIZE, rows

FPS = 25
# Frames with hands up and down: three segments of 2.4, 1.8 and 3.2 s and the rests between them.
UP = [False] * 20 + [True] * 60 + [False] * 30 + [True] * 45 + [False] * 25 + [True] * 80 + [False] * 40
MESSAGE_FRAMES = 4


async def stream(port: int, seconds: float, speed: float) -> None:
    """Print the server's resident memory every minute of the signing, then how long texts took."""
    (server,) = {c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN"}
    process, block, answers = psutil.Process(server), rows(UP, FPS), []
    began, sent, told, partials = time.monotonic(), 0.0, -60.0, 0
    url = f"ws://127.0.0.1:{port}/stream?width={SIZE[0]:g}&height={SIZE[1]:g}"
    async with websockets.connect(url) as socket:

        async def receive() -> None:
            nonlocal partials
            async for message in socket:
                found = json.loads(message)
                partials += found["type"] == "partial"
                if found["type"] == "final":
                    answers.append((found["latency_ms"], 1000 * (time.monotonic() - began - sent / speed)))

        receiving = asyncio.create_task(receive())
        for n in range(round(seconds * FPS / len(UP))):
            for first in range(0, len(block), MESSAGE_FRAMES):
                frames = block[first : first + MESSAGE_FRAMES].copy()
                frames[:, 0] += n * len(UP) / FPS
                await asyncio.sleep(max(0.0, began + float(frames[-1, 0]) / speed - time.monotonic()))
                sent = float(frames[-1, 0])
                await socket.send(frames.tobytes())
                if sent - told >= 60:
                    told = sent
                    print(f"{told:5.0f} s  {process.memory_info().rss / 2**20:.0f} MiB", flush=True)
        await socket.send("end")
        await asyncio.wait_for(receiving, 60)
    model, whole = np.array(answers).T
    print(f"{len(answers)} final texts, {partials} partial ones")
    for name, values in (("model, ms", model), ("from the last frame sent, ms", whole)):
        print(f"{name}: p50 {np.quantile(values, 0.5):.0f}, p95 {np.quantile(values, 0.95):.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--speed", type=float, default=1, help="times as fast as it is signed")
    given = parser.parse_args()
    asyncio.run(stream(given.port, given.seconds, given.speed))
