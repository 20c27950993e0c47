"""The server of the study, and how it is taken down and brought back: our own, or a target of the profile by its stop and start hooks.

What a target has no means for is said as a sentence before it is tried, so that the cause is NOT_TESTABLE and nobody is blamed.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Protocol

from harness.bundled import BundledServer, ServerSize
from harness.errors import RunInvalid, UsageError
from harness.load.reconnect.listening import listening
from harness.load.reconnect.plan import Order
from harness.net.dial import Address, OpeningError, dial
from harness.net.handshake import Opened, open_websocket
from harness.target import HookCaller, Session, Target, load_target
from harness.target.text import compile_json
from schemas import load_contract

__all__ = ["SPENT", "Ground", "HookGround", "OwnGround"]

SPENT = 20
"""Sessions that one cell of revoked sessions uses up, at most; the clients share them."""
_SHARED = 20
_USERS = 30
_POLL = 0.005
_STOP_SECONDS = 30.0
_REVOKE_SECONDS = 10.0
_PROBE_SECONDS = 1.0


class Ground(Protocol):
    """Calls may wait; in gevent's world that stops nobody else."""

    target: Target
    scale: float
    limit: int
    """Connections that the server takes."""

    @property
    def pid(self) -> int | None:
        """The process that serves now, where it is known."""

    def cannot(self, cause: str) -> str | None:
        """Why this cause cannot be tried here, or None."""

    def stand_by(self) -> None:
        """Whatever takes time and can be done before the server goes."""

    def take_down(self, cause: str) -> None:
        """Let the server go, gracefully or killed. Returns when the order is given."""

    def bring_back(self) -> None:
        """Have the server start again once it is gone."""

    ask_again: float
    """Seconds between two looks whether it `answers`."""

    def answers(self) -> bool:
        """Whether the server takes connections."""

    def revoke(self, sessions: list[Session]) -> None:
        """End these sessions at the server."""

    def close(self) -> None: ...


class OwnGround:
    """The bundled server, as a process of its own, as large as the crowd."""

    ask_again = 0.002

    def __init__(self, order: Order, log: Path) -> None:
        self.scale, self.limit = order.time_scale, order.clients
        limits = load_contract().limits
        # The seeded sessions are dealt to regular users and administrators in turn; the spare ones make up for the latter.
        sessions = (_SHARED + SPENT * len(order.models)) * 2
        size = ServerSize(sessions=sessions, users=_USERS, features=1, connections=order.clients, rate=limits.broadcasts_per_second)
        arguments = ["--time-scale", str(order.time_scale)]
        if order.clients <= limits.connections:
            arguments += ["--connections", str(order.clients)]  # above it, the size says so already
        self._server = BundledServer(size, log=log, arguments=arguments)
        self._server.__enter__()
        self.target = load_target(self._server.ready)

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def cannot(self, cause: str) -> str | None:
        return None

    def stand_by(self) -> None:
        self._server.stand_by()

    def take_down(self, cause: str) -> None:
        if cause == "killed":
            self._server.kill()
        else:
            self._server.stop()

    def bring_back(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        while self._server.running:
            if time.monotonic() > deadline:
                raise RunInvalid(f"the bundled server did not end within {_STOP_SECONDS:g} s", "", "read server.log in the run folder")
            time.sleep(_POLL)
        self._server.let_in()

    def answers(self) -> bool:
        """By the kernel's table where it can be read, which costs the server nothing; else by a connection."""
        address = Address.parse(self.target.ws_url)
        seen = listening(address.host, address.port)
        return _connects(address) if seen is None else seen.there

    def revoke(self, sessions: list[Session]) -> None:
        hook = self.target.hook("revoke")
        if hook is None:
            raise RunInvalid("the bundled server has no revoke hook", "", "report this")
        # Announced, so that all hear of it at once; unannounced, each socket's next re-validation would spread it over minutes.
        told = dataclasses.replace(hook, body=compile_json({"sessionId": "{sessionId}"}, frozenset({"sessionId"}), {}))
        _revoke(dataclasses.replace(self.target, hooks={"revoke": told}), sessions)

    def close(self) -> None:
        self._server.__exit__(None, None, None)


class HookGround:
    """A target of a profile."""

    ask_again = 0.05

    def __init__(self, order: Order) -> None:
        self.target = load_target(order.target)
        self.scale, self.limit = self.target.time_scale, self.target.limits.connections

    @property
    def pid(self) -> int | None:
        return self.target.resources.find_pid()

    def cannot(self, cause: str) -> str | None:
        hooks = {"graceful": ("stop", "start"), "expired": ("revoke",)}.get(cause, ())
        missing = [name for name in hooks if self.target.hook(name) is None]
        if missing:
            return f"the profile has no {' and no '.join(missing)} hook"
        if cause == "killed":
            return "only the server that the study starts itself is killed: a profile has no hook for that"
        if cause == "expired" and not self._can_revoke():
            return "revoking needs a session of an administrator, and the profile gives none"
        return None

    def _can_revoke(self) -> bool:
        hook = self.target.hook("revoke")
        return hook is not None and (hook.session != "admin" or bool(self.target.available_sessions(1, "admin")))

    def stand_by(self) -> None:
        """A hook needs no preparation."""

    def take_down(self, cause: str) -> None:
        self._call("stop")

    def bring_back(self) -> None:
        self._call("start")

    def _call(self, name: str) -> None:
        with HookCaller(self.target) as caller:
            answer = caller.call(name).answer
        if not answer.ok:
            raise RunInvalid(f"the {name} hook failed: {answer.problem}", str(self.target.source), f"mend hooks.{name} and run again")

    def answers(self) -> bool:
        """By a handshake: what listens there may be a proxy that is up long before the server behind it."""
        target = self.target
        opened = open_websocket(
            target.ws_url,
            headers=target.handshake_headers(target.sessions(1)[0]),
            origin=target.origin,
            timeout=_PROBE_SECONDS,
            tls=target.tls_context(),
        )
        if isinstance(opened, Opened):
            opened.close()
        return isinstance(opened, Opened)

    def revoke(self, sessions: list[Session]) -> None:
        _revoke(self.target, sessions)

    def close(self) -> None:
        """The target is not ours to end."""


def _connects(address: Address) -> bool:
    try:
        dial(Address(False, address.host, address.port, "/"), time.monotonic() + _PROBE_SECONDS, None, ()).close()
    except OpeningError:
        return False
    return True


def _revoke(target: Target, sessions: list[Session]) -> None:
    hook = target.hook("revoke")
    if hook is None:
        raise UsageError("the target has no revoke hook", str(target.source), "define it in the profile")
    admins = target.available_sessions(1, "admin") if hook.session == "admin" else []
    with HookCaller(target, _REVOKE_SECONDS) as caller:
        for session in sessions:
            who = {"admin": admins[0] if admins else None, "owner": session, "voter": session}.get(hook.session)
            answer = caller.call("revoke", who, subject=session).answer
            if not answer.ok:
                raise RunInvalid(f"a session could not be revoked: {answer.problem}", hook.where, "mend the hook and run again")
