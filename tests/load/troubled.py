"""The broadcast scenario on a host that gives way under it: TROUBLE names what happens, and none of it is the target's fault.

"descriptors": while viewers connect, somebody takes every descriptor that this process may have. "loop": while votes are cast the event
loop stands still for a second and more, and a while later the receive path dies.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import gevent
from gevent import monkey

from harness.load.station import PlanStart, Station
from harness.net.fleet import Fleet
from scenarios.broadcast import BroadcastViewer

__all__ = ["BroadcastViewer"]

_STALL = 1.5  # seconds
_AFTER_WARMUP, _UNTIL_DEATH = 0.5, 3.0
_BEFORE = 5  # viewers that get in before the descriptors are gone

_taken: list[int] = []
_asked: list[None] = []
_begin, _connect = Station.begin, Station.connect


def _dying(_: Fleet) -> int:
    raise ZeroDivisionError("the reader dies here")


def _die() -> None:
    Fleet.drain = _dying  # type: ignore[method-assign, assignment]


def _beginning(self: Station, start: PlanStart) -> None:
    _begin(self, start)
    calm = start.epoch / 1e9 - time.time() + start.plan.warmup + _AFTER_WARMUP
    gevent.spawn_later(calm, monkey.get_original("time", "sleep"), _STALL)
    gevent.spawn_later(calm + _UNTIL_DEATH, _die)


def _connecting(self: Station) -> int:
    _asked.append(None)
    if len(_asked) > _BEFORE and not _taken:
        with suppress(OSError):
            while True:
                _taken.append(os.dup(0))
    return _connect(self)


_trouble = os.environ["TROUBLE"]
if _trouble == "loop":
    Station.begin = _beginning  # type: ignore[method-assign]
elif _trouble == "descriptors":
    Station.connect = _connecting  # type: ignore[method-assign]
else:
    raise ValueError(f"TROUBLE is {_trouble!r}: use loop or descriptors")
