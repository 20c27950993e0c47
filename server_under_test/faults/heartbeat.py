"""Faults of section HB: PING too early, too late, malformed or not at all, and PONG misread. All follow the limits' own clock."""

from __future__ import annotations

import asyncio
import math
import time

from server_under_test.connection import Connection, State
from server_under_test.faults.assembly import FaultyConnection, TracksThrottling
from server_under_test.faults.reach import PINGS, broken
from server_under_test.faults.room import Room
from server_under_test.frames import Message, Opcode, close_frame, encode
from server_under_test.heartbeat import Beat, Heartbeat
from server_under_test.hub import Hub
from server_under_test.identity import Identity
from server_under_test.messages import Composer, Pong, iso_timestamp

__all__ = ["ROOM"]

ROOM = Room()

NO_PING = "there is no PING to be answered or missed"
UNSEEN = "no client recognises the PING, so none answers it"
DIES = "the connection ends although every PING is answered"
LASTING = ("SEC-0[1-57]", "CLS-05", "PERF-0*", "LIM-0[13]", "RATE-1[25]")
"""Clauses whose sockets must live through more than one heartbeat."""
BLIND = "whoever is not found by the heartbeat is not found at all"


@ROOM.fault("HB-01", {"HB-16": "the wait for the peer that vanished begins with that PING"})
class FirstPingLate(Heartbeat):
    """The first PING comes after one and a half intervals; the gaps after it are right."""

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        super().__init__(opened, interval, timeout)
        self._ping_at += 0.5 * interval


@ROOM.fault("HB-01", {"HB-*": NO_PING, "RATE-12": NO_PING, "LIM-03": NO_PING, "PERF-02": NO_PING, "CLS-06": NO_PING})
class NeverPings(Heartbeat):
    """No PING is ever sent."""

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        super().__init__(opened, interval, timeout)
        self._ping_at = math.inf


@ROOM.fault("HB-02", {"HB-14": "the gaps are as long under load"})
class GapsTooLong(Heartbeat):
    """From the second PING on the gaps are half as long again."""

    def _next_on_grid(self, now: float) -> float:
        return super()._next_on_grid(now) + 0.5 * self._interval


@ROOM.fault("HB-02", {"HB-14": "the gaps are as short under load"})
class GapsTooShort(Heartbeat):
    """From the second PING on the gaps are half as long as they should be."""

    def _next_on_grid(self, now: float) -> float:
        return super()._next_on_grid(now) - 0.5 * self._interval


@ROOM.fault("HB-02", {"HB-14": "the gap is as long under load"})
class ThirdPingSkipped(Heartbeat):
    """The third PING is left out."""

    _sent = 0

    def _next_on_grid(self, now: float) -> float:
        self._sent += 1
        return super()._next_on_grid(now) + (self._interval if self._sent == 2 else 0.0)


@ROOM.fault("HB-03", {"GEN-04": "the schema of PING declares no timestamp"})
class PingWithTimestamp(Composer):
    """PING has a property besides its type."""

    def ping(self) -> bytes:
        return self.frame({"type": "PING", "timestamp": iso_timestamp(time.time_ns() // 1_000_000)})


@ROOM.fault("HB-03", {"HB-*": UNSEEN, "GEN-01": "the frame is no text", "BAT-0*": UNSEEN, **dict.fromkeys(LASTING, UNSEEN)})
class PingAsBinary(Composer):
    """PING comes in a binary frame."""

    def ping(self) -> bytes:
        return encode(Opcode.BINARY, b'{"type":"PING"}')


@ROOM.fault("HB-03", {"HB-*": UNSEEN, "BAT-0*": UNSEEN, **dict.fromkeys(LASTING, UNSEEN)})
class PingAsControlFrame(Composer):
    """PING is a ping of the WebSocket protocol in place of a message."""

    def ping(self) -> bytes:
        return encode(Opcode.PING, b"")


@ROOM.fault(
    "HB-04",
    {"HB-0[278]": DIES, "HB-1[134]": DIES, **dict.fromkeys(LASTING, DIES)},
)
class OnlyFirstPongHonoured(Heartbeat):
    """The first PONG keeps the connection alive, later ones do not."""

    _honoured = False

    def pong(self) -> None:
        if self.awaiting and not self._honoured:
            self._honoured = True
            super().pong()


@ROOM.fault("HB-04", {"HB-02": DIES, "HB-1[134]": DIES, **dict.fromkeys(LASTING, DIES)})
class ShortLife(FaultyConnection):
    """Every connection is closed with 1001 after two and a half heartbeat intervals."""

    def __init__(self, hub: Hub, transport: asyncio.Transport, identity: Identity) -> None:
        super().__init__(hub, transport, identity)
        self._ends_at = hub.clock() + 2.5 * hub.limits.heartbeat_interval

    @property
    def deadline(self) -> float | None:
        deadline = super().deadline
        return deadline if deadline is None or self.state is not State.OPEN else min(deadline, self._ends_at)

    def wake(self, now: float) -> float | None:
        if now >= self._ends_at:
            self.close(self.hub.codes.going_away, "that was long enough")
        return super().wake(now)


@ROOM.fault("HB-05", {"HB-07": "by nine tenths of the time the connection is gone"})
class TimeoutTooEarly(Heartbeat):
    """A PING may stay unanswered for half the time only."""

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        super().__init__(opened, interval, 0.5 * timeout)


@ROOM.fault("HB-05", {"HB-0[68]": "the end of who skips a PONG comes as late", "HB-16": "the end of who vanished comes as late"})
class TimeoutTooLate(Heartbeat):
    """A PING may stay unanswered for twice the time."""

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        super().__init__(opened, interval, 2 * timeout)


@ROOM.fault("HB-05", {"HB-0[68]": BLIND, "HB-16": BLIND})
class NeverTimesOut(Heartbeat):
    """A PING may stay unanswered for ever."""

    def __init__(self, opened: float, interval: float, timeout: float) -> None:
        super().__init__(opened, interval, math.inf)


@ROOM.fault("HB-07")
class LatePongIgnored(FaultyConnection):
    """A PONG in the last quarter of its time does not count any more."""

    def receive_pong(self, message: Pong) -> None:
        beat = self.heartbeat
        if not beat.awaiting or self.hub.clock() < beat._pong_by - 0.25 * self.hub.limits.heartbeat_timeout:
            super().receive_pong(message)


@ROOM.fault("HB-08")
class OnePongIsForEver(Heartbeat):
    """Whoever has answered one PING need not answer another."""

    def pong(self) -> None:
        if self.awaiting:
            self._timeout = math.inf
        super().pong()


@ROOM.fault("HB-08")
class PongAnswersNextPingToo(Heartbeat):
    """A PONG answers the PING before it and the one after it."""

    _credit = False

    def pong(self) -> None:
        self._credit = self._credit or self.awaiting
        super().pong()

    def poll(self, now: float) -> Beat | None:
        beat = super().poll(now)
        if beat is Beat.PING and self._credit:
            self._credit = False
            super().pong()
        return beat


@ROOM.fault("HB-11")
class UnaskedPongIsAnError(FaultyConnection):
    """A PONG that no PING asked for is answered with an ERROR."""

    def receive_pong(self, message: Pong) -> None:
        if not self.heartbeat.awaiting:
            self.send_error(self.hub.errors.invalid_message, "Nobody asked for a PONG.")
        super().receive_pong(message)


@ROOM.fault("HB-11", {"GEN-08": "its messages are PONGs", "RATE-10": "it sends PONGs"})
class UnaskedPongCloses(FaultyConnection):
    """A PONG that no PING asked for ends the connection."""

    def receive_pong(self, message: Pong) -> None:
        if not self.heartbeat.awaiting:
            self.close(self.hub.codes.policy_violation, "nobody asked for a PONG")
        super().receive_pong(message)


@ROOM.fault("HB-12", {"GEN-02": "the answer is of no type that the contract knows"})
class PongAcknowledged(FaultyConnection):
    """Every PONG is answered."""

    def receive_pong(self, message: Pong) -> None:
        super().receive_pong(message)
        self.send(self.hub.composer.frame({"type": "ACK"}))


@ROOM.fault("HB-13")
class ThrottledPongDropped(TracksThrottling):
    """While a connection is throttled its PONGs are dropped as well."""

    def receive_pong(self, message: Pong) -> None:
        if not self.throttled:
            super().receive_pong(message)


@ROOM.fault("HB-14", needs=("load",))
class PingHurriedUnderLoad(FaultyConnection):
    """While broadcasts come at more than half their cap, PINGs come twice as often."""

    def __init__(self, hub: Hub, transport: asyncio.Transport, identity: Identity) -> None:
        super().__init__(hub, transport, identity)
        self._seen = (hub.clock(), hub.counters.broadcasts)

    def beat(self, now: float) -> None:
        due = now >= self.heartbeat._ping_at
        super().beat(now)
        if due and self.state is State.OPEN:
            since, sent = self._seen
            self._seen = (now, self.hub.counters.broadcasts)
            if self._seen[1] - sent > 0.5 * self.hub.limits.broadcasts_per_second * (now - since):
                self.heartbeat._ping_at -= 0.5 * self.hub.limits.heartbeat_interval


@ROOM.fault("HB-16", {"HB-05": "a client that never sent anything looks the same", "HB-06": "no Close comes", "CLS-06": "no Close comes"})
class SilentPeerKept(FaultyConnection):
    """A peer that has sent nothing since its handshake is never given up."""

    _spoke = False

    def data_received(self, data: bytes) -> None:
        self._spoke = True
        super().data_received(data)

    def heartbeat_missed(self) -> None:
        if self._spoke:
            super().heartbeat_missed()
        else:
            self.heartbeat.pong()


@ROOM.fault("HB-16", {"HB-0[58]": "the missed heartbeat ends no TCP connection unless the client answers the Close"})
class VanishedPeerKeepsTcp(FaultyConnection):
    """A missed heartbeat is answered with Close, but the TCP connection is left to a peer that may be gone."""

    def heartbeat_missed(self) -> None:
        self.hub.counters.heartbeats_missed += 1
        self._leave(State.CLOSING)
        self.linger_until = math.inf
        self._write(close_frame(self.hub.codes.policy_violation, "no PONG in time"))


PINGED = {"HS-01": "whether a socket lives is asked with a ping", "HS-10": "whether a tab lives is asked with a ping"}
FENCES = {**broken(PINGS, "whether all has been said is asked with a ping"), "GEN-08": "cases of the protocol's pings", **PINGED}


@ROOM.fault("HB-17", FENCES)
class ControlPingUnanswered(Connection):
    """A ping of the WebSocket protocol is not answered."""

    def receive(self, message: Message) -> None:
        if message.opcode is not Opcode.PING:
            super().receive(message)


@ROOM.fault("HB-17", FENCES)
class ControlPongEmpty(Connection):
    """A ping of the WebSocket protocol is answered with an empty pong."""

    def receive(self, message: Message) -> None:
        if message.opcode is Opcode.PING:
            self.send(encode(Opcode.PONG, b""))
        else:
            super().receive(message)


@ROOM.fault("HB-17", {"GEN-08": "it has such pings"})
class LongControlPongCut(Connection):
    """The pong that answers a ping of more than 64 bytes carries the first 64 of them."""

    def receive(self, message: Message) -> None:
        if message.opcode is Opcode.PING:
            self.send(encode(Opcode.PONG, message.data[:64]))
        else:
            super().receive(message)
