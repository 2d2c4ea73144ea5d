"""How much a client may ask of a server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 1024  # that are remembered; the one that was quiet longest is forgotten


class RateLimit:
    """A bucket of `burst` tokens a client, refilled at `per_second`.

    Args:
        clock: Seconds, growing.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def take(self, client: str, tokens: float = 1.0) -> bool:
        """Whether the client may go on; False where its bucket holds too few tokens, which it then keeps."""
        now = self.clock()
        held, when = self._clients.pop(client, (self.burst, now))
        held = min(self.burst, held + (now - when) * self.per_second)
        allowed = held >= tokens
        self._clients[client] = (held - tokens * allowed, now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return allowed
