"""The broadcast scenario with a receive path that dies in the middle of the run: what happens then must not be the target's fault."""

from harness.net.fleet import Fleet
from scenarios.broadcast import BroadcastViewer

__all__ = ["BroadcastViewer"]

_whole = Fleet.drain
_rounds = 0


def _dying(self: Fleet) -> int:
    global _rounds
    _rounds += 1
    if _rounds > 50:
        raise ZeroDivisionError("the reader dies here")
    return _whole(self)


Fleet.drain = _dying  # type: ignore[method-assign]
