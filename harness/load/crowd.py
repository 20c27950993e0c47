"""Opens and releases sockets by the number: a crowd that grows to so many at an even pace, and shrinks again.

Each opening has its planned moment and a greenlet of its own, so a slow handshake holds up no other; how much later than planned it
began is our own error and is recorded like the slip of a vote. A socket is released as a page does that is closed: with a Close frame.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool

from harness.measure.pacer import Agenda, Pacer, share

if TYPE_CHECKING:
    from harness.load.member import Member

__all__ = ["Crowd", "crowd_start", "grow", "growing_start", "release", "shrink"]

_AT_ONCE = 2_000  # handshakes under way in one process
_ANSWER = 5.0  # seconds that the peer has to answer a Close
_GOODBYE = "User left roadmap page"


class Crowd:
    """The sockets of one process."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._pool = Pool(_AT_ONCE)

    def grow(self, step: int, count: int, rate: float, begin: float) -> None:
        """Open this process's share of `count` more sockets, `rate` of them a second over all processes, from `begin` on."""
        member = self._member
        pacer = Pacer(rate, begin, share(count, member.worker, member.workers))
        while True:
            for number in pacer.due(time.time()):
                self._pool.spawn(self._open, step, begin + number / rate)
            deadline = pacer.next_deadline()
            if deadline is None:
                break
            gevent.sleep(max(0.0, deadline - time.time()))
        self._pool.join()
        member.status["step_done"] = step

    def _open(self, step: int, due: float) -> None:
        member = self._member
        began = time.time()
        if member.station is None:
            return
        member.station.evidence.on_cast(max(0.0, (began - due) * 1e6))
        slot = member.connect()
        member.station.evidence.on_handshake(step, due, began, time.time(), slot is not None)

    def shrink(self, keep: int, rate: float, begin: float) -> None:
        """Have this process's viewers leave whose number is not below `keep`, `rate` a second over all processes, from `begin` on."""
        station = self._member.station
        if station is None:
            return
        leaving = [slot for slot in station.slots if station.number(slot) >= keep]
        agenda = Agenda(begin, lambda place: (station.number(leaving[place]) - keep) / rate, range(len(leaving)))
        while not agenda.done and not self._member.finishing:
            for place in agenda.due(time.time()):
                station.depart(leaving[place], _GOODBYE)
            gevent.sleep(max(0.0, (agenda.next_deadline() or 0.0) - time.time()))

    def release(self, step: int) -> None:
        """Close every socket, and wait until the far ends have answered."""
        if self._member.station is not None:
            self._member.station.close_all(_ANSWER)
        self._member.status["step_done"] = step


def crowd_start(member: Member) -> None:
    """Before the first socket."""
    member.state = Crowd(member)


def growing_start(member: Member) -> None:
    """Before the first socket, where viewers go on joining while votes are cast."""
    crowd_start(member)
    if member.station is not None:
        member.station.spare += member.settings.viewers


def grow(member: Member, data: Mapping[str, Any]) -> None:
    """An act of the scenario: step, count, rate, begin (seconds since the epoch)."""
    member.state.grow(data["step"], data["count"], data["rate"], data["begin"])


def release(member: Member, data: Mapping[str, Any]) -> None:
    """An act of the scenario: step."""
    member.state.release(data["step"])


def shrink(member: Member, data: Mapping[str, Any]) -> None:
    """An act of the scenario: keep, rate, begin (seconds since the epoch)."""
    member.state.shrink(data["keep"], data["rate"], data["begin"])
