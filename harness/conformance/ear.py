"""What a crowd's sockets are told: one thread reads them all, each message is understood once, and every delivery is kept as a row."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.conformance.messages import messages_in
from harness.conformance.outcome import Inconclusive
from harness.net.fleet import Fleet
from schemas import NotJson, parse

__all__ = ["Ear", "Ended", "Rows"]

_TAKE_EVERY = 0.25  # seconds
_STRETCH = 0.004  # seconds of reading at a time
_CLOSING = 3.0
_PING, _PONG = b'{"type":"PING"}', b'{"type":"PONG"}'


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
class _Heard:
    """What the reading thread has gathered."""

    batches: list[Rows] = field(default_factory=list)
    lag: list[NDArray[np.int64]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    problem: str | None = None
    deliveries: int = 0


class Ear:
    """Reads from its making to `close`. left: called when a socket has ended, whoever ended it, with its slot."""

    def __init__(self, left: Callable[[int], None]) -> None:
        self.messages: list[tuple[dict[str, Any], ...]] = []
        """What each message number says; a batch says several things."""
        self._left = left
        self._numbers: dict[bytes, int] = {}
        self._heard = _Heard()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._epoll = select.epoll()
        self._digest(_PING)
        self._fleet = Fleet(self._epoll, digest=self._digest, replies={0: _PONG}, violation=self._violated)
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._thread.start()

    def add(self, sock: socket.socket, early: bytes, slot: Callable[[], int]) -> None:
        """Listen to a socket, on which `early` came already; `slot` gives it a number and may keep it, undisturbed by the reading."""
        with self._lock:
            self._fleet.add(sock, slot(), early)

    def remove(self, sock: socket.socket, then: Callable[[], None]) -> None:
        """Listen to it no longer."""
        with self._lock:
            self._fleet.remove(sock)
            then()

    def close(self, code: int) -> None:
        """Say goodbye on every socket, hear the answers where they come, and end."""
        with self._lock:
            self._fleet.close_all(code)
        deadline = time.monotonic() + _CLOSING
        while self._thread.is_alive() and len(self._fleet) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._over.set()
        self._thread.join(_CLOSING)

    def done(self) -> None:
        """Give the descriptor back, when the sockets are closed."""
        self._epoll.close()

    # ---- what was heard

    def rows(self) -> Rows:
        """Every delivery so far. Raises Inconclusive when our reading failed."""
        with self._lock:
            self._take()
            batches, problem = list(self._heard.batches), self._heard.problem
        if problem is not None:
            raise Inconclusive(f"the sockets could not be read: {problem}")
        if not batches:
            return Rows(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
        columns = zip(*((each.slot, each.message, each.arrived) for each in batches), strict=True)
        return Rows(*(np.concatenate(column) for column in columns))

    @property
    def deliveries(self) -> int:
        """How many messages were read so far, counted four times a second."""
        return self._heard.deliveries

    @property
    def ended(self) -> list[Ended]:
        """Sockets that the server ended, by a Close or without."""
        with self._lock:
            return list(self._heard.ended)

    @property
    def violations(self) -> list[str]:
        """What broke the protocol of frames."""
        with self._lock:
            return list(self._heard.violations)

    def lag(self) -> float:
        """The 99th percentile of the time from the arrival of bytes to our reading them, seconds; 0 when nothing was read."""
        with self._lock:
            lags = np.concatenate(self._heard.lag) if self._heard.lag else np.empty(0, np.int64)
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
                    self._fleet.follow(_STRETCH)
                    if time.monotonic() >= due:
                        self._take()
                        due = time.monotonic() + _TAKE_EVERY
        except Exception as error:
            self._heard.problem = f"{type(error).__name__}: {error}"

    def _take(self) -> None:
        batch, closed = self._fleet.take()
        if len(batch.slot):
            self._heard.deliveries += len(batch.slot)
            self._heard.batches.append(Rows(batch.slot, batch.message, batch.arrived))
        if len(batch.lag):
            self._heard.lag.append(batch.lag)
        for each in closed:
            self._left(each.slot)
            if each.by == "server":
                self._heard.ended.append(Ended(each.slot, each.code, each.reason, each.at / 1e9))

    def _violated(self, slot: int, text: str) -> None:
        self._heard.violations.append(f"socket {slot}: {text}")

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
