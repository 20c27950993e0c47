"""Sockets by the hundred for the clauses on capacity: opened side by side, read by one thread, counted without a transcript.

A Connection has a thread and a transcript of its own, which a thousand of them at full rate cannot afford; here one `ear` hears all.
The rule: what our own machine cannot do (descriptors, ports) ends the check without a verdict.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from harness.conformance.door import Admitted, Refusal, knock
from harness.conformance.ear import Ear, Ended, Rows
from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.stage import Stage
from harness.errors import UsageError
from harness.measure.limits import descriptors_needed, raise_descriptors
from harness.net.frames import Opcode, close_payload, encode
from harness.target import Session

__all__ = ["Crowd", "Ended", "Refusal", "Rows", "room", "viewers"]

_OPENERS = 8
_ANSWER_SECONDS = 10.0  # for a handshake, and for the first Pong after it
_CLOSING = 3.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Seat:
    sock: socket.socket
    session: Session
    gone: bool = False


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
        self.seats: list[_Seat] = []
        """By slot; those that have left stay in it."""
        self._sessions = list(sessions)
        self.ear = Ear(self._left)
        """What they are told."""
        self._opening = ThreadPoolExecutor(_OPENERS, thread_name_prefix="opens")

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
                ended = self.ear.ended
                first = ended[0]
                told = f"{len(ended)} sockets were closed again, the first with {first.code} {first.reason}".strip()
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
        sock = knocked.opened.sock
        sock.settimeout(0)

        def seated() -> int:
            self.seats.append(_Seat(sock, session))
            return len(self.seats) - 1

        self.ear.add(sock, knocked.early, seated)
        return None

    def knock(self, session: Session) -> Admitted | Refusal:
        """One handshake, and a Ping frame on what it opened."""
        self.stage.ground.secrets.add(session)
        return knock(self.stage.target, session, _ANSWER_SECONDS)

    def depart(self, slot: int, *, abrupt: bool) -> None:
        """End one socket from our side, by a Close frame and the server's answer, or by a reset."""
        seat = self.seats[slot]

        def leaves() -> None:
            seat.gone = True

        self.ear.remove(seat.sock, leaves)
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
        self.ear.close(self.stage.contract.close.normal)
        for seat in self.seats:
            with contextlib.suppress(OSError):
                seat.sock.close()
        self.ear.done()

    def _left(self, slot: int) -> None:
        seat = self.seats[slot]
        seat.gone = True
        seat.sock.close()


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
