"""Sockets by the hundred for the clauses on capacity: opened side by side, read by one thread, counted without a transcript.

A Connection has a thread and a transcript of its own, which a thousand of them at full rate cannot afford; here one Fleet reads all.
The rule: a socket counts as admitted once it has answered a Ping frame, so a server that upgrades and closes at once refuses too;
and what our own machine cannot do (descriptors, ports) ends the check without a verdict.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from harness.conformance.messages import messages_in
from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.stage import Stage
from harness.errors import UsageError
from harness.measure.limits import descriptors_needed, raise_descriptors
from harness.net.fleet import Closed, Fleet
from harness.net.frames import FrameDecoder, Opcode, close_payload, encode, parse_close
from harness.net.handshake import Opened, Refused, open_websocket
from harness.net.reads import Batch
from harness.target import Session
from schemas import NotJson, parse

__all__ = ["Crowd", "Ended", "Refusal", "Rows", "room", "viewers"]

_OPENERS = 8
_ANSWER_SECONDS = 10.0  # for a handshake, and for the first Pong after it
_CLOSING = 3.0
_TAKE_EVERY = 0.25
_RESET = struct.pack("ii", 1, 0)
_PING, _PONG = b'{"type":"PING"}', b'{"type":"PONG"}'
_MESSAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake that led to no usable socket. `http` when it was refused there, else what followed the upgrade."""

    text: str
    answered: bool
    """Somebody refused; otherwise nothing came, which proves nothing about a limit."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A socket that the server ended. `at` is seconds since the epoch."""

    slot: int
    code: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Deliveries as columns: which socket, which message (an index of Crowd.messages), when it arrived (ns since the epoch)."""

    slot: NDArray[np.int32]
    message: NDArray[np.int32]
    arrived: NDArray[np.int64]

    def of(self, wanted: Sequence[int]) -> Rows:
        """Those whose message is one of `wanted`."""
        keep = np.isin(self.message, np.asarray(list(wanted), np.int32))
        return Rows(self.slot[keep], self.message[keep], self.arrived[keep])


@dataclass(slots=True)
class _Seat:
    sock: socket.socket
    session: Session
    opened_at: float
    gone: bool = False


@dataclass(slots=True)
class _Read:
    """What the reading thread has gathered."""

    batches: list[Rows] = field(default_factory=list)
    lag: list[NDArray[np.int64]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    problem: str | None = None
    deliveries: int = 0


def viewers(stage: Stage) -> list[Session]:
    """Whose sockets a crowd opens: the first two users, so that the others can vote without being left out anywhere."""
    return [stage.user(k) for k in range(2) if k == 0 or stage.ground.people.has("regular", 4)]


def room(stage: Stage) -> int:
    """How many sockets the target has left to give: its limit, less those that other checks hold open in this process."""
    return stage.limits.connections - stage.ground.sockets_open()


class Crowd:
    """Sockets of `sessions`, dealt out in turn. Its methods may be called from one thread. `most`: how many it may become."""

    def __init__(self, stage: Stage, sessions: Sequence[Session], most: int) -> None:
        if not hasattr(select, "epoll"):
            raise NotTestable("sockets by the hundred are read through epoll, which this system has not: run this on Linux")
        try:
            raise_descriptors(descriptors_needed(most, psutil.Process().num_fds()))
        except UsageError as error:
            raise Inconclusive(str(error)) from None
        self.stage = stage
        self.messages: list[tuple[dict[str, Any], ...]] = []
        """What each message number says; a batch says several things."""
        self.seats: list[_Seat] = []
        """By slot; those that have left stay in it."""
        self._sessions = list(sessions)
        self._numbers: dict[bytes, int] = {}
        self._read = _Read()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._epoll = select.epoll()
        self._digest(_PING)
        self._fleet = Fleet(self._epoll, digest=self._digest, replies={0: _PONG}, violation=self._violated)
        self._opening = ThreadPoolExecutor(_OPENERS, thread_name_prefix="opens")
        self._reader = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._reader.start()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- who is there

    def __len__(self) -> int:
        return sum(not seat.gone for seat in self.seats)

    @property
    def slots(self) -> list[int]:
        """Those of the sockets that are open."""
        return [slot for slot, seat in enumerate(self.seats) if not seat.gone]

    def session(self, slot: int) -> Session:
        return self.seats[slot].session

    def fill(self, count: int, patience: float) -> list[Refusal]:
        """Open sockets until `count` are open. Tries refused ones again until `patience` seconds have passed without success.

        Returns the last refusals when it did not get there, and nothing when it did.
        """
        last = time.monotonic()
        most = len(self.seats) + 2 * max(0, count - len(self)) + _OPENERS
        while True:
            missing = count - len(self)
            if missing <= 0:
                return []
            if len(self.seats) + missing > most:
                first = self.ended[0]
                told = f"{len(self.ended)} sockets were closed again, the first with {first.code} {first.reason}".strip()
                return [Refusal(told, answered=True)]
            refused = [each for each in self._opening.map(lambda _: self.admit(), range(missing)) if each is not None]
            if len(refused) < missing:
                last = time.monotonic()
            if refused and time.monotonic() - last > patience:
                return refused
            if refused:
                time.sleep(0.1)

    def admit(self) -> Refusal | None:
        """Open one socket more and take it in; the refusal, when there is one."""
        session = self._sessions[len(self.seats) % len(self._sessions)]
        knocked = self.knock(session)
        if isinstance(knocked, Refusal):
            return knocked
        opened, early = knocked
        opened.sock.settimeout(0)
        with self._lock:
            slot = len(self.seats)
            self.seats.append(_Seat(opened.sock, session, time.time()))
            self._fleet.add(opened.sock, slot, early)
        return None

    def knock(self, session: Session) -> tuple[Opened, bytes] | Refusal:
        """One handshake, and a Ping frame on what it opened: a usable socket with what came on it so far, or the refusal."""
        target = self.stage.target
        self.stage.ground.secrets.add(session)
        opened = open_websocket(
            target.ws_url,
            headers=target.handshake_headers(session),
            origin=target.origin,
            timeout=_ANSWER_SECONDS,
            tls=target.tls_context(),
        )
        if isinstance(opened, Refused):
            again = opened.headers.get("Retry-After")
            told = f" with Retry-After: {again}" if again is not None else ""
            if opened.status is not None:
                return Refusal(f"HTTP {opened.status}{told}", answered=True)
            return Refusal(opened.problem, answered=opened.phase in ("closed", "connect"))
        return _greeted(opened)

    def depart(self, slot: int, *, abrupt: bool) -> None:
        """End one socket from our side, by a Close frame and the server's answer, or by a reset."""
        seat = self.seats[slot]
        with self._lock:
            self._fleet.remove(seat.sock)
            seat.gone = True
        if abrupt:
            _reset(seat.sock)
            return
        with contextlib.suppress(OSError):
            seat.sock.settimeout(_CLOSING)
            seat.sock.sendall(encode(Opcode.CLOSE, close_payload(self.stage.contract.close.normal)))
            while seat.sock.recv(65_536):
                pass
        seat.sock.close()

    def drop_all(self) -> None:
        """Reset every socket."""
        for slot in self.slots:
            self.depart(slot, abrupt=True)

    def close(self) -> None:
        """End everything, in good order where the server goes along. Never raises."""
        self._opening.shutdown(wait=True)
        with self._lock:
            self._fleet.close_all(self.stage.contract.close.normal)
        deadline = time.monotonic() + _CLOSING
        while self._reader.is_alive() and len(self._fleet) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._over.set()
        self._reader.join(_CLOSING)
        for seat in self.seats:
            with contextlib.suppress(OSError):
                seat.sock.close()
        self._epoll.close()

    # ---- what they saw

    def rows(self) -> Rows:
        """Every delivery so far. Raises Inconclusive when our reading failed."""
        with self._lock:
            self._take()
            batches = list(self._read.batches)
            problem = self._read.problem
        if problem is not None:
            raise Inconclusive(f"the sockets could not be read: {problem}")
        empty = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64)
        columns = (
            zip(*((each.slot, each.message, each.arrived) for each in batches), strict=True) if batches else [(each,) for each in empty]
        )
        return Rows(*(np.concatenate(column) for column in columns))

    @property
    def deliveries(self) -> int:
        """How many messages were read so far, counted four times a second."""
        return self._read.deliveries

    @property
    def ended(self) -> list[Ended]:
        """Sockets that the server ended, by a Close or without."""
        with self._lock:
            return list(self._read.ended)

    @property
    def violations(self) -> list[str]:
        """What broke the protocol of frames."""
        with self._lock:
            return list(self._read.violations)

    def lag(self) -> float:
        """The 99th percentile of the time from the arrival of bytes to our reading them, seconds; 0 when nothing was read."""
        with self._lock:
            lags = np.concatenate(self._read.lag) if self._read.lag else np.empty(0, np.int64)
        return float(np.percentile(lags, 99)) / 1e9 if len(lags) else 0.0

    def numbers(self, kind: str) -> list[int]:
        """Messages of a type, or batches that hold one."""
        return [number for number, said in enumerate(self.messages) if any(each.get("type") == kind for each in said)]

    # ---- the reading thread

    def _run(self) -> None:
        ready = select.poll()
        ready.register(self._epoll.fileno(), select.POLLIN)
        due = time.monotonic() + _TAKE_EVERY
        try:
            while not self._over.is_set():
                ready.poll(50)
                with self._lock:
                    self._fleet.drain()
                    if time.monotonic() >= due:
                        self._take()
                        due = time.monotonic() + _TAKE_EVERY
        except Exception as error:
            self._read.problem = f"{type(error).__name__}: {error}"

    def _take(self) -> None:
        batch, closed = self._fleet.take()
        self._keep(batch)
        for each in closed:
            self._end(each)

    def _keep(self, batch: Batch) -> None:
        if len(batch.slot):
            self._read.deliveries += len(batch.slot)
            self._read.batches.append(Rows(batch.slot, batch.message, batch.arrived))
        if len(batch.lag):
            self._read.lag.append(batch.lag)

    def _end(self, closed: Closed) -> None:
        seat = self.seats[closed.slot]
        seat.gone = True
        seat.sock.close()
        if closed.by == "server":
            self._read.ended.append(Ended(closed.slot, closed.code, closed.reason, closed.at / 1e9))

    def _violated(self, slot: int, text: str) -> None:
        self._read.violations.append(f"socket {slot}: {text}")

    def _digest(self, payload: bytes) -> int:
        number = self._numbers.get(payload)
        if number is None:
            try:
                said = messages_in(parse(payload))
            except NotJson:
                said = []
            if payload != _PING and len(said) == 1 and said[0].get("type") == "PING":
                return 0  # written in another way: the answer is the same
            number = len(self.messages)
            self._numbers[payload] = number
            self.messages.append(tuple(said))
        return number


def _greeted(opened: Opened) -> tuple[Opened, bytes] | Refusal:
    """Whether the socket is there for us: a Ping frame, and its Pong or a Close."""
    decoder, seen, sock = FrameDecoder(_MESSAGE_BYTES), opened.leftover, opened.sock
    fresh = seen
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        sock.settimeout(_ANSWER_SECONDS)
        sock.sendall(encode(Opcode.PING, b"here?"))
        while True:
            for frame in decoder.feed(fresh):
                if frame.opcode == Opcode.PONG:
                    return opened, seen
                if frame.opcode == Opcode.CLOSE:
                    code, reason = parse_close(frame.payload)
                    sock.close()
                    return Refusal(f"an upgrade, then Close {code} {reason}".strip(), answered=True)
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            fresh = sock.recv(65_536)
            if not fresh:
                sock.close()
                return Refusal("an upgrade, then the end of TCP", answered=True)
            seen += fresh
    except TimeoutError:
        return opened, seen  # mute, but admitted
    except OSError as error:
        sock.close()
        return Refusal(f"an upgrade, then TCP broke ({error.strerror or error})", answered=True)


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
