"""The sockets of a check: opened as a client does, written by hand, or taken over; named, watched and closed at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from harness.conformance.ground import Ground
from harness.conformance.outcome import Inconclusive
from harness.conformance.stage.actors import Actors
from harness.conformance.watch import Watch
from harness.net.connection import Bounds, Connection, Policy
from harness.net.handshake import Opened, Refused, raw_handshake
from harness.target.session import Session
from schemas import Clause

__all__ = ["Sockets"]

_CLOSING = 1.0  # seconds in which a socket may close in good order when its check has ended


class Sockets(Actors):
    """Keeps every socket that was opened, for the evidence and for the end."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        super().__init__(ground, clause, check)
        self.connections: list[Connection] = []
        self._watches: list[Watch] = []
        self._sockets: list[Opened] = []
        ground.holds_sockets(self._sockets_open)

    def try_connect(
        self,
        session: Session | None,
        *,
        policy: Policy | None = None,
        bounds: Bounds | None = None,
        headers: Sequence[str] = (),
        origin: str | None = None,
        url: str = "",
        name: str = "",
        timeout: float = 10.0,
        observed: bool = True,
    ) -> Connection | Refused:
        """Open a WebSocket as a client of `session` does; a refusal is a value.

        policy: what it answers by itself (PONG, control Pong, Close: all three by default). observed=False keeps the observer off, for
        sockets by the hundred. The socket is closed when the check ends.
        """
        self._still_there()
        label = f"{self.name} {name or f'socket {len(self.connections) + 1}'}"
        if session is not None:
            self.ground.secrets.add(session)
        watch = self.ground.observer.watch(label, session.role if session else "", time.monotonic()) if observed else None
        opened = Connection.open(
            url or self.target.ws_url,
            headers=[*self.target.handshake_headers(session), *headers],
            origin=origin or self.target.origin,
            timeout=timeout,
            tls=self.target.tls_context(),
            policy=policy,
            bounds=bounds,
            observers=() if watch is None else (watch,),
            name=label,
        )
        self._noted(opened, label)
        if isinstance(opened, Connection):
            self.connections.append(opened)
            if watch is not None:
                self._watches.append(watch)
        elif watch is not None:
            watch.end()
        return opened

    def connect(self, session: Session | None, **options: Any) -> Connection:
        """As `try_connect`, for a handshake that has to open for the check to make sense: a refusal makes it Inconclusive."""
        opened = self.try_connect(session, **options)
        if isinstance(opened, Refused):
            raise Inconclusive(f"a socket that this check needs did not open: {opened.problem}")
        return opened

    def handshake(self, *, timeout: float = 10.0, url: str = "", **request: Any) -> Opened | Refused:
        """A handshake written as it stands (see harness.net.handshake.raw_handshake): nothing but the profile's own headers is added."""
        self._still_there()
        lines = [*self.target.handshake_headers(None), *request.pop("headers", ())]
        tls = self.target.tls_context()
        opened = raw_handshake(url or self.target.ws_url, headers=lines, timeout=timeout, tls=tls, **request)
        self._noted(opened, f"{self.name} handshake")
        if isinstance(opened, Opened):
            self._sockets.append(opened)
        return opened

    def no_answer(self, refused: Opened | Refused) -> Inconclusive:
        """To be raised when a handshake got no HTTP answer at all: that is no refusal, and no proof of anything."""
        problem = refused.problem if isinstance(refused, Refused) else f"HTTP {refused.status}"
        return Inconclusive(f"the handshake was not answered: {problem}")

    def over(self, opened: Opened, *, role: str = "", policy: Policy | None = None, name: str = "") -> Connection:
        """A Connection over a handshake that opened, observed like any other."""
        label = f"{self.name} {name or f'socket {len(self.connections) + 1}'}"
        watch = self.ground.observer.watch(label, role, time.monotonic())
        if opened in self._sockets:
            self._sockets.remove(opened)
        connection = Connection.over(opened, policy=policy, observers=(watch,), name=label)
        self.connections.append(connection)
        self._watches.append(watch)
        return connection

    def _noted(self, opened: Connection | Opened | Refused, name: str) -> None:
        self.ground.observer.answered(name, opened.headers, opened.body_start if isinstance(opened, Refused) else b"")
        if isinstance(opened, Refused) and opened.status is None and opened.phase != "garbage":
            self.ground.missed(opened.problem)
        else:
            self.ground.reached()

    def _sockets_open(self) -> int:
        raw = sum(opened.sock.fileno() >= 0 for opened in list(self._sockets))
        return raw + sum(connection.closed is None for connection in list(self.connections))

    def hang_up(self) -> None:
        """Close every socket, in good order where the target goes along. Never raises."""
        for watch in self._watches:
            watch.end()
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.close(self.contract.close.normal)
        deadline = time.monotonic() + _CLOSING
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.wait_closed(max(0.0, deadline - time.monotonic()))
                connection.abort()
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.close()
