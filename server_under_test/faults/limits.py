"""Faults of section LIM: how many sockets there may be. All show with any --connections, best a small one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from aiohttp import web

from schemas import load_contract
from server_under_test.connection import Connection
from server_under_test.errors import ApiError
from server_under_test.faults.assembly import FaultyApi, FaultyConnection, FaultyHub
from server_under_test.faults.room import Room
from server_under_test.identity import Identity

__all__ = ["ROOM"]

ROOM = Room()

_HELD = 20  # times the longest time in which clients come back: no run waits that long

TOO_FEW = "the server cannot be filled as the check needs it"
NEVER_FULL = "there is no limit at which to look"


@ROOM.fault("LIM-01", {"LIM-0[23456]": TOO_FEW, "PERF-0*": TOO_FEW, "HB-14": TOO_FEW}, needs=("capacity",))
class OneSocketTooFew(FaultyHub):
    """The last socket that the limit allows is refused."""

    @property
    def full(self) -> bool:
        return len(self._open) >= self.limits.connections - 1


@ROOM.fault("LIM-01", {"LIM-0[2-6]": NEVER_FULL, "PERF-0*": TOO_FEW, "HB-14": TOO_FEW}, needs=("capacity",))
class OldestShedWhenCrowded(FaultyHub):
    """At nine tenths of the limit each new socket costs the oldest its place."""

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        connection = super().join(transport, identity)
        if len(self._open) > max(1, math.floor(0.9 * self.limits.connections)):
            self.open_connections[0].close(self.codes.going_away, "making room")
        return connection


@ROOM.fault("LIM-02", {"LIM-0[346]": NEVER_FULL}, needs=("capacity",))
class LimitUnenforced(FaultyHub):
    """Any number of sockets is let in."""

    @property
    def full(self) -> bool:
        return False


@ROOM.fault("LIM-02", {"LIM-03": "the check cannot tell when the server is full"}, needs=("capacity",))
class OneSocketTooMany(FaultyHub):
    """One socket more than the limit is let in."""

    @property
    def full(self) -> bool:
        return len(self._open) > self.limits.connections


@ROOM.fault("LIM-03", {"PERF-0[13]": "they are measured at the limit"}, needs=("capacity",))
class FullServerSilent(FaultyHub):
    """While the server is full, nothing is broadcast."""

    def deliver(self, frame: bytes, receivers: Iterable[Connection]) -> None:
        super().deliver(frame, () if self.full else receivers)


@ROOM.fault("LIM-03", {"PERF-02": "it waits for heartbeats at the limit", "HB-14": "so does it"}, needs=("capacity",))
class FullServerSendsNoPing(FaultyConnection):
    """While the server is full, no PING is sent and none is missed."""

    def send_ping(self) -> None:
        if self.hub.full:
            self.heartbeat.pong()
        else:
            super().send_ping()


class HoldsSlots(FaultyHub):
    """Counts some of the sockets that are gone for a good while longer."""

    def slots(self) -> list[float]:
        held: list[float] = self.__dict__.setdefault("_held", [])
        held[:] = [until for until in held if self.clock() < until]
        return held

    def hold(self) -> None:
        self.slots().append(self.clock() + _HELD * load_contract().benchmark.reconnect_latest)

    @property
    def full(self) -> bool:
        return len(self._open) + len(self.slots()) >= self.limits.connections


SLOW = "the server seems full while the slots of an earlier check are held"


@ROOM.fault("LIM-04", {"LIM-0[12356]": SLOW, "PERF-0*": SLOW, "HB-14": SLOW}, needs=("capacity",))
class SlotKeptAfterClose(HoldsSlots):
    """A socket that ended with a Close frame holds its slot for ten minutes."""

    def leave(self, connection: Connection) -> None:
        if connection in self._open and connection.state is not connection.state.CLOSED:
            self.hold()
        super().leave(connection)


@ROOM.fault("LIM-04", {"LIM-0[12356]": SLOW, "PERF-0*": SLOW, "HB-14": SLOW}, needs=("capacity",))
class SlotKeptAfterReset(HoldsSlots):
    """A socket that ended by a reset holds its slot for ten minutes."""

    def lost(self, connection: Connection) -> None:
        if connection in self._open:
            self.hold()
        super().lost(connection)


@ROOM.fault("LIM-06", {"LIM-0[1-4]": TOO_FEW, "PERF-0*": TOO_FEW, "HB-14": TOO_FEW}, needs=("capacity",))
class FailedHandshakesTakeSlots(FaultyApi):
    """A handshake without a session takes a slot that is never given back."""

    _lost_slots = 0

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        refused = self._contract.auth_refusal_status
        if self.hub.connections + self._lost_slots >= self.hub.limits.connections:
            return ApiError(503, "UNAVAILABLE", "the server is full").response()
        response = await super()._socket(request)
        self._lost_slots += response.status == refused
        return response
