"""The visitors of the day: each opens a socket, looks at the list and at single features, and leaves; idle tabs only answer PING.

Every step is taken at its planned moment, whatever became of the others. A visitor whose socket is not open (yet) skips a step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gevent
from gevent.pool import Pool

from harness.measure.day import DayPlan, Move
from harness.measure.pacer import Agenda, Pacer, share

if TYPE_CHECKING:
    from harness.load.member import Member
    from harness.load.mixed.account import Account

__all__ = ["Visitors"]

_AT_ONCE = 2_000  # handshakes under way in one process
_GOODBYE = "User left roadmap page"


class Visitors:
    """Those of one process: of `workers` processes number `worker` has each visitor whose number leaves that remainder."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._pool = Pool(_AT_ONCE)
        self._slots: dict[int, int] = {}

    def open_day(self, count: int, rate: float, begin: float) -> None:
        """Open the sockets of those who are there in the beginning: `count` of all processes, `rate` a second, from `begin` on."""
        member = self._member
        pacer = Pacer(rate, begin, share(count, member.worker, member.workers))
        while True:
            for visitor in pacer.due(time.time()):
                self._pool.spawn(self._come, visitor)
            deadline = pacer.next_deadline()
            if deadline is None:
                break
            gevent.sleep(max(0.0, deadline - time.time()))
        self._pool.join()

    def mine(self, plan: DayPlan) -> Sequence[Move]:
        """The moves of this process's visitors."""
        member = self._member
        return [move for move in plan.moves if move.visitor % member.workers == member.worker]

    def live(self, plan: DayPlan, epoch: float, account: Account) -> None:
        """Take every step of the day; `epoch` in seconds since 1970. Returns when the last is taken, or the run ends."""
        moves = self.mine(plan)
        agenda = Agenda(epoch, lambda index: moves[index].at, range(len(moves)))
        while not self._member.finishing:
            for index in agenda.due(time.time()):
                self._step(moves[index], plan, account)
            deadline = agenda.next_deadline()
            if deadline is None:
                return
            gevent.sleep(max(0.0, deadline - time.time()))

    def _note(self, step: str, looking: int = 0) -> None:
        """Write a step down. looking: by how much it changed the number of those in a detail view."""
        if self._member.station is not None:
            self._member.station.evidence.record("step", t=time.time(), step=step, looking=looking)

    def _come(self, visitor: int) -> None:
        slot = self._member.connect()
        self._note("refused" if slot is None else "come")
        if slot is not None:
            self._slots[visitor] = slot

    def _step(self, move: Move, plan: DayPlan, account: Account) -> None:
        if move.step == "come":
            self._pool.spawn(self._come, move.visitor)
            return
        slot, station = self._slots.get(move.visitor), self._member.station
        if slot is None or station is None or not station.is_open(slot):
            return
        viewing = account.watches(slot)
        match move.step:
            case "view" | "back" if account.is_admin(slot):
                return  # an administrator keeps the whole board in view
            case "view":
                account.watch(slot, move.feature, time.time_ns())
                station.send(slot, _message("SUBSCRIBE", plan.features[move.feature]))
            case "back" if not viewing:
                return  # its socket was not open when it was to look at that feature
            case "back":
                station.send(slot, _message("UNSUBSCRIBE", plan.features[account.unwatch(slot, time.time_ns())]))
            case "go":
                account.leave(slot, time.time_ns())
                station.depart(slot, _GOODBYE)
            case "vanish":
                account.leave(slot, time.time_ns())
                station.disconnect(slot)
        self._note(move.step, 1 if move.step == "view" else -viewing)


def _message(kind: str, feature: str) -> bytes:
    return json.dumps({"type": kind, "featureIds": [feature]}).encode()
