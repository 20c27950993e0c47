"""Viewers that stop reading in the middle of a run: who they are, how they hang, and what becomes of each.

Half of them fall silent; the other half go on answering for themselves with a PONG, as a page does whose script hangs while its timers
run, so that only a bound on what the server keeps for them can end them. Their sockets have the buffers of a client far away: over
loopback the kernel would take megabytes for each before the server felt anything.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent

from harness.measure.peers import Peer, peers_of, read_tables
from harness.net.dial import SocketOption
from harness.net.fleet import Closed

if TYPE_CHECKING:
    from harness.load.member import Member

__all__ = ["MODELS", "SlowReaders", "read_again", "slow_start", "stop_reading"]

MODELS = ("silent", "answering")
"""Says nothing more; goes on sending PONG."""

_PONG = b'{"type":"PONG"}'
_NARROW: tuple[SocketOption, ...] = (
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),
    (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536),  # makes the server's side of loopback start with small buffers too
)
_LOOK = 0.25  # seconds from one look at the far ends to the next
_PONGS = 4  # in the time that a PING may stay unanswered
_AGAIN = 2.0  # seconds that reading again may take
_CHUNK = 65_536


@dataclass(slots=True)
class _Slow:
    """One of them. Times are seconds since the epoch; `port` is that of its own end."""

    slot: int
    model: str
    port: int
    stopped: float
    cut: float | None = None
    how: str = ""
    code: int = 0
    queued: int = 0
    unread: int = 0


class SlowReaders:
    """Those of one process. `every`: the last of so many viewers is one of them."""

    def __init__(self, member: Member, every: int) -> None:
        self._member, self._every = member, every
        self._slow: dict[int, _Slow] = {}
        self._greenlets: list[Any] = []
        self._address = ("", 0)

    def is_slow(self, number: int) -> bool:
        """Whether the viewer of this number will stop reading."""
        return number % self._every == self._every - 1

    def sockopts(self, number: int) -> Sequence[SocketOption]:
        return _NARROW if self.is_slow(number) else ()

    def stop(self) -> None:
        """They read no more from now on."""
        station = self._member.station
        if station is None:
            return
        for slot in station.slots:
            number = station.number(slot)
            sock = station.stop_reading(slot) if self.is_slow(number) else None
            if sock is not None:
                model = MODELS[number // self._every % len(MODELS)]
                self._slow[slot] = _Slow(slot, model, sock.getsockname()[1], time.time())
                self._address = sock.getpeername()[:2]
        station.watch_end = self._ended
        self._greenlets = [gevent.spawn(self._watch), gevent.spawn(self._answer)]

    def _ended(self, end: Closed) -> bool:
        slow = self._slow.get(end.slot)
        if slow is None:
            return False
        self._cut(slow, end.at / 1e9, end.reason or "end of stream")
        return True

    @staticmethod
    def _cut(slow: _Slow, at: float, how: str) -> None:
        if slow.cut is None:
            slow.cut, slow.how = at, how

    def _watch(self) -> None:
        """Look at the far ends, where the kernel shows them: on a host that is not ours it shows none, and then nothing is concluded."""
        before = self._peers()
        while True:
            gevent.sleep(_LOOK)
            now, peers = time.time(), self._peers()
            for slow in self._slow.values():
                peer = peers.get(slow.port)
                if peer is not None and peer.established:
                    slow.queued = max(slow.queued, peer.queued)
                elif slow.port in before:
                    self._cut(slow, now, "given up by the server")

    def _peers(self) -> dict[int, Peer]:
        return peers_of(read_tables(), *self._address) if self._slow else {}

    def _answer(self) -> None:
        station = self._member.station
        while station is not None:
            for slow in self._slow.values():
                if slow.model == "answering" and slow.cut is None:
                    station.send(slow.slot, _PONG)
            gevent.sleep(station.limits.heartbeat_timeout / _PONGS)

    def read_again(self) -> None:
        """They wake up: each reads what is left for it, and learns whether it was given up. Then it goes, and is written down."""
        gevent.killall(self._greenlets)
        gevent.joinall([gevent.spawn(self._wake, slow) for slow in self._slow.values()])
        station = self._member.station
        if station is None:
            return
        for slow in self._slow.values():
            station.evidence.record(
                "slow",
                viewer=station.evidence.viewer(slow.slot),
                model=slow.model,
                stopped=slow.stopped,
                cut=slow.cut,
                how=slow.how,
                code=slow.code,
                queued=slow.queued,
                unread=slow.unread,
            )
        self._slow.clear()

    def _wake(self, slow: _Slow) -> None:
        station = self._member.station
        sock = station.release(slow.slot) if station is not None else None
        if sock is None:
            return
        tail, deadline = b"", time.monotonic() + _AGAIN
        sock.settimeout(_AGAIN / 4)
        try:
            while time.monotonic() < deadline:
                chunk = sock.recv(_CHUNK)
                if not chunk:
                    self._cut(slow, time.time(), "end of stream")
                    break
                slow.unread += len(chunk)
                tail = (tail + chunk)[-256:]
        except TimeoutError:
            pass  # nothing more comes, and it is open
        except OSError as error:
            self._cut(slow, time.time(), type(error).__name__)
        slow.code = _close_code(tail)
        with suppress(OSError):
            sock.close()


def _close_code(tail: bytes) -> int:
    """The code of a Close frame at the very end of a stream of text frames; 0 when there is none."""
    at = tail.rfind(b"\x88")
    whole = at >= 0 and len(tail) - at >= 4 and tail[at + 1] == len(tail) - at - 2
    return int.from_bytes(tail[at + 2 : at + 4], "big") if whole else 0


def slow_start(member: Member) -> None:
    """Before the first socket: settle who will be slow."""
    every = max(1, round(1 / member.settings.number("slow_share")))
    member.state = SlowReaders(member, every)
    if member.station is not None:
        member.station.sockopts = member.state.sockopts


def stop_reading(member: Member, _: Mapping[str, Any]) -> None:
    """An act of the scenario."""
    member.state.stop()


def read_again(member: Member, _: Mapping[str, Any]) -> None:
    """An act of the scenario."""
    member.state.read_again()
    member.status["slow_done"] = True
