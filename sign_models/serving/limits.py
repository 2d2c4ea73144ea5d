"""How much a client may ask of a server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 1024  # that are remembered; the one that was quiet longest is forgotten


class RateLimit:
    """Token buckets, one for each client."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets.

        Args:
            per_second: Tokens that a bucket gains in a second.
            burst: Tokens that it holds.
            clock: Seconds, growing.
        """
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def take(self, client: str, tokens: float = 1.0) -> bool:
        """Take tokens from a client's bucket.

        Args:
            client: Its address.
            tokens: How many.

        Returns:
            Whether there were enough. Where not, the bucket keeps what it has.
        """
        now = self.clock()
        held, when = self._clients.pop(client, (self.burst, now))
        held = min(self.burst, held + (now - when) * self.per_second)
        allowed = held >= tokens
        self._clients[client] = (held - tokens * allowed, now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return allowed
