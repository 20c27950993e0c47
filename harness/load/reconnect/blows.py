"""The causes, one class each: what sets the stage, what makes every client lose its socket, and what ends the outage.

A blow says through which route the clients come, with which sessions, and when its two moments were; it judges nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from harness.errors import RunInvalid, UsageError
from harness.load.reconnect.dialer import Route
from harness.load.reconnect.ground import SPENT, Ground
from harness.load.reconnect.plan import Cell
from harness.load.reconnect.silence import SilentPath
from harness.load.reconnect.swarm import Swarm
from harness.net.dial import Address
from harness.target import Session
from schemas import load_contract

__all__ = ["Blow", "Crowd", "blow_for"]

_BACK_SECONDS = 30.0
_POLL = 0.05

Crowd = Callable[[int, Route], Swarm]
"""Makes so many sockets that only sit there, along a route, and drives them until they are shut."""


class Blow(Protocol):
    """One cell's cause. Moments are on the monotonic clock, seconds."""

    arrives: bool
    """The clients come only after the blow; before it they are not there."""
    sessions: Sequence[Session]
    """With which the clients come."""

    def set_stage(self) -> Route:
        """Before the first client connects."""

    def strike(self) -> None:
        """Now."""

    def heal(self) -> float | None:
        """The outage is over: returns when the server could be reached again; None where it never is."""

    def clear(self) -> None:
        """After the cell, whatever became of it."""


class _Plain:
    """What most blows share."""

    arrives = False

    def __init__(self, ground: Ground, sessions: Sequence[Session]) -> None:
        self._ground, self.sessions = ground, sessions

    def set_stage(self) -> Route:
        target = self._ground.target
        return Route.to(target.ws_url, target.tls_context())

    def clear(self) -> None:
        """Nothing is left behind."""


class _Down(_Plain):
    """The server goes, gracefully or killed, and is started again."""

    def __init__(self, ground: Ground, sessions: Sequence[Session], cause: str) -> None:
        super().__init__(ground, sessions)
        self._cause = cause

    def set_stage(self) -> Route:
        self._ground.stand_by()
        return super().set_stage()

    def strike(self) -> None:
        self._ground.take_down(self._cause)

    def heal(self) -> float:
        self._ground.bring_back()
        return _reachable(self._ground)


class _Expired(_Plain):
    """The sessions end, and nobody signs in again."""

    def strike(self) -> None:
        self._ground.revoke(list(self.sessions))

    def heal(self) -> None:
        return None


class _Silent(_Plain):
    """A relay on the way goes silent."""

    def __init__(self, ground: Ground, sessions: Sequence[Session], log: Path) -> None:
        super().__init__(ground, sessions)
        self._address = Address.parse(ground.target.ws_url)
        self._path = SilentPath(self._address.host, self._address.port, log)

    def set_stage(self) -> Route:
        self._path.__enter__()
        target = self._ground.target
        return Route.to(target.ws_url, target.tls_context(), via=self._path.address)

    def strike(self) -> None:
        self._path.order("silent")

    def heal(self) -> float:
        self._path.order("healed")
        return time.monotonic()

    def clear(self) -> None:
        self._path.__exit__(None, None, None)


class _Full(_Plain):
    """Others sit on every place; they leave when the outage is over."""

    arrives = True

    def __init__(self, ground: Ground, sessions: Sequence[Session], crowd: Crowd) -> None:
        super().__init__(ground, sessions)
        self._crowd = crowd
        self._sitters: Swarm | None = None

    def set_stage(self) -> Route:
        route = super().set_stage()
        limit = self._ground.limit
        self._sitters = sitters = self._crowd(limit, route)
        deadline = time.monotonic() + _BACK_SECONDS
        while sitters.holding < limit:
            if sitters.idle or time.monotonic() > deadline:
                what = f"{sitters.holding} of the {limit} places could be taken, so the server was not at its limit"
                raise RunInvalid(what, "cause full", "see that nobody else uses the target, and that limits.connections is its limit")
            time.sleep(_POLL)
        return route

    def strike(self) -> None:
        """The clients' own arrival is the blow."""

    def heal(self) -> float:
        if self._sitters is not None:
            self._sitters.part(load_contract().close.normal)
        return time.monotonic()

    def clear(self) -> None:
        if self._sitters is not None:
            self._sitters.shut()


def blow_for(cell: Cell, ground: Ground, sessions: Sequence[Session], spend: Sequence[Session], log: Path, crowd: Crowd) -> Blow:
    """The cause of a cell. sessions: for the clients; spend: sessions that may be used up. Raises UsageError where there are none."""
    match cell.cause:
        case "graceful" | "killed":
            return _Down(ground, sessions, cell.cause)
        case "expired":
            if not spend:
                do = f"give the profile more sessions ({SPENT} for each client model are plenty)"
                raise UsageError("there is no session left that may be revoked", str(ground.target.source), do)
            return _Expired(ground, spend)
        case "silent":
            return _Silent(ground, sessions, log)
        case "full":
            return _Full(ground, sessions, crowd)
    raise ValueError(f"there is no cause {cell.cause!r}")


def _reachable(ground: Ground) -> float:
    """Wait until the server takes connections again, and answer when that was."""
    deadline = time.monotonic() + _BACK_SECONDS
    while not ground.answers():
        if time.monotonic() > deadline:
            what = f"{ground.target.ws_url} takes no connections {_BACK_SECONDS:g} s after the server was to be back"
            raise RunInvalid(what, "", "look into the target's own log; its start hook has to start it")
        time.sleep(ground.ask_again)
    return time.monotonic()
