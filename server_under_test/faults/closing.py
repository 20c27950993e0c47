"""Faults of section CLS: how connections end, begun by either side, and what their end does to others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from schemas import load_contract
from server_under_test.connection import Connection, State
from server_under_test.faults.assembly import Assembly, FaultyApi, FaultyHub
from server_under_test.faults.reach import BROADCASTS, broken
from server_under_test.faults.room import Room
from server_under_test.frames import Message, close_frame
from server_under_test.ratelimit import RepeatOffence

__all__ = ["ROOM"]

ROOM = Room()

FREE_CODE = 4000  # RFC 6455 section 7.4.2: for applications, and this one has no meaning for it
MUTED = "nothing is broadcast for a while after such a departure"
ALSO_ABUSE = "it ends the same abuse"


@ROOM.fault("CLS-01", {"GEN-08": "it has Close frames that must be answered"})
class CloseNotEchoed(Connection):
    """A client's Close is answered with the end of TCP alone."""

    def answer_close(self, message: Message) -> None:
        if self.state is State.OPEN:
            self._leave(State.CLOSING)
        super().answer_close(message)


@ROOM.fault("CLS-01", {"GEN-08": "it has Close frames that must be answered alike"})
class CloseEchoedWithOtherCode(Connection):
    """A client's Close is answered with the code for going away, whatever it was."""

    def answer_close(self, message: Message) -> None:
        super().answer_close(message._replace(code=self.hub.codes.going_away))


@ROOM.fault("CLS-01")
class TcpLeftOpenAfterClose(Connection):
    """A client's Close is echoed, and TCP is left open for half a minute."""

    def answer_close(self, message: Message) -> None:
        if self.state is State.OPEN:
            self._leave(State.CLOSING)
            self._write(close_frame(message.code, ""))
            self.linger_until = self.hub.clock() + load_contract().benchmark.reconnect_latest
        else:
            super().answer_close(message)


@ROOM.fault("CLS-02")
class StopWithoutGoodbye(FaultyHub):
    """On a graceful stop all sockets are cut off without a Close."""

    async def stop(self) -> None:
        for connection in self.open_connections:
            connection.cut_off()
        await super().stop()


@ROOM.fault("CLS-02")
class StopForgetsOtherTabs(FaultyHub):
    """On a graceful stop only the first socket of each session gets a Close."""

    async def stop(self) -> None:
        for connection in self.open_connections:
            if self.tabs(connection.session_id)[0] is not connection:
                connection.cut_off()
        await super().stop()


@ROOM.fault("CLS-02")
class StopAsNormalClosure(FaultyHub):
    """On a graceful stop the code is the one for a normal closure."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.codes = dataclasses.replace(self.codes, going_away=self.codes.normal)


class AdmitsWhileStopping(FaultyApi):
    def stop_accepting(self) -> None:
        """The door stays open."""

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        stopping, self.hub.stopping = self.hub.stopping, False
        try:
            return await super()._socket(request)  # which never waits
        finally:
            self.hub.stopping = stopping


@ROOM.fault("CLS-03")
def stopping_server_admits(assembly: Assembly) -> None:
    """While the server stops, new sockets are let in, and dropped at its end."""
    assembly.door_shuts_first = False
    assembly.over(AdmitsWhileStopping)


@ROOM.fault("CLS-04", {"RATE-04": ALSO_ABUSE})
class AbuseNeverEnds(RepeatOffence):
    """However long a client breaks the message rate, it stays."""

    def offer(self, now: float) -> bool:
        super().offer(now)
        return False


@ROOM.fault("CLS-04", {"RATE-04": ALSO_ABUSE})
class AbuseClosedAsGoingAway(Connection):
    """Persistent abuse is closed with the code for going away."""

    def close(self, code: int, reason: str) -> None:
        codes = self.hub.codes
        super().close(codes.going_away if code == codes.policy_violation else code, reason)


@ROOM.fault("CLS-05")
class RevokedClosedAsViolation(FaultyHub):
    """A socket whose session ended is closed with the code for a policy violation."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.codes = dataclasses.replace(self.codes, session_invalid=self.codes.policy_violation)


@ROOM.fault("CLS-05")
class RevokedCutOff(Connection):
    """A socket whose session ended is told so, and then cut off without a Close."""

    def close(self, code: int, reason: str) -> None:
        if code == self.hub.codes.session_invalid:
            self._leave(State.CLOSING)
            self.transport.close()
        else:
            super().close(code, reason)


@ROOM.fault("CLS-06", {"GEN-08": "it breaks the protocol and looks at the code"})
class ViolationClosedWithOddCode(Connection):
    """Who breaks the protocol is closed with a code that means nothing."""

    def fail(self, code: int, reason: str) -> None:
        super().fail(FREE_CODE if code in self.hub.codes.protocol else code, reason)


@ROOM.fault("CLS-06")
class SilenceClosedWithOddCode(Connection):
    """A missed heartbeat is closed with a code that means nothing."""

    def heartbeat_missed(self) -> None:
        self.hub.counters.heartbeats_missed += 1
        self.fail(FREE_CODE, "no PONG in time")


@ROOM.fault("CLS-07", {"GEN-08": "it looks at what follows a Close"})
class MessageAfterClose(Connection):
    """After the echo of a client's Close one more message is sent."""

    def answer_close(self, message: Message) -> None:
        if self.state is State.OPEN:
            self._leave(State.CLOSING)
            self._write(close_frame(message.code, "") + self.hub.composer.ping())
        super().answer_close(message)


class MutedByDepartures(FaultyHub):
    """Broadcasts nothing for a while after some departures, and then goes on as before."""

    _muted_until = float("-inf")

    def mutes(self, connection: Connection) -> bool:
        return False

    def lost(self, connection: Connection) -> None:
        if connection in self._open and self.mutes(connection):
            self._muted_until = self.clock() + 2 * load_contract().benchmark.latency
        super().lost(connection)

    def deliver(self, frame: bytes, receivers: Iterable[Connection]) -> None:
        super().deliver(frame, () if self.clock() < self._muted_until else receivers)


@ROOM.fault("CLS-09", broken(BROADCASTS, MUTED))
class ResetMutesAll(MutedByDepartures):
    """When a client leaves by a reset, nobody is told of anything for a while."""

    def mutes(self, connection: Connection) -> bool:
        return True


@ROOM.fault("CLS-09", broken(BROADCASTS, MUTED))
class CutInMidFrameMutesAll(MutedByDepartures):
    """When a client leaves in the middle of a frame, nobody is told of anything for a while."""

    def mutes(self, connection: Connection) -> bool:
        return not connection.decoder.idle
