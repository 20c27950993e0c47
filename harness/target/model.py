"""A server under test as the harness sees it: where it is, with whose sessions it is used, and what can be asked of
it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.target.hook import HOOKS, Hook
from harness.target.session import ROLES, Session
from harness.target.sources import Source
from schemas import Level, Limits

__all__ = ["Resources", "Target", "Tolerance"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from a moment of the contract an observation may lie. Seconds; `scale` multiplies `seconds`."""

    seconds: float
    scale: float
    clock_skew: float
    """How far the target's clock may be from ours."""

    @property
    def slack(self) -> float:
        """Seconds to allow on either side."""
        return self.seconds * self.scale


@dataclass(frozen=True, slots=True)
class Resources:
    """How to look at the target's process; all None when the profile says nothing."""

    pid: int | None = None
    pid_file: Path | None = None
    metrics_url: str | None = None
    command: tuple[str, ...] | None = None
    """Prints resource figures as JSON."""

    @property
    def known(self) -> bool:
        return any(value is not None for value in (self.pid, self.pid_file, self.metrics_url, self.command))

    def find_pid(self) -> int | None:
        """The process id: as given, else what the file says now, for a restarted server has another."""
        if self.pid is not None:
            return self.pid
        if self.pid_file is not None:
            try:
                pid = int(self.pid_file.read_text("utf-8").split()[0])
            except (OSError, ValueError, IndexError):
                return None
            return pid if pid > 0 else None
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """Made by load_profile or bundled_profile."""

    name: str
    base_url: str
    """Without a slash at its end."""
    ws_url: str
    cookie: str
    """The session cookie's name."""
    origin: str
    headers: Mapping[str, str] = field(repr=False)
    """For every request and handshake, besides the cookie; they may hold secrets."""
    limits: Limits
    """The contract's, scaled by time_scale, with the profile's own values in their place."""
    time_scale: float
    tolerance: Tolerance
    readings: Mapping[str, str]
    """What the profile declares, by the key of the ambiguity."""
    levels: Mapping[str, Level]
    """How binding this project holds a clause to be, by id, where that is not what the catalogue says (A00)."""
    error_codes: frozenset[str]
    """Codes of ERROR that the target has beside those of the contract's table (A20)."""
    resources: Resources
    source: Path
    """The file that describes it."""
    hooks: Mapping[str, Hook] = field(repr=False)
    _sessions: Source = field(repr=False)
    _tls: ssl.SSLContext | None = field(repr=False)

    def sessions(self, count: int, role: str | None = None) -> list[Session]:
        """`count` distinct sessions, of `role` if it is given; the same ones each time, in the source's order.

        Raises UsageError when there are fewer; LoginRefused or TargetUnreachable when signing in fails.
        """
        if role is not None and role not in ROLES:
            raise UsageError(f"there is no role {role!r}", "", f"roles are {', '.join(ROLES)}")
        found = self._sessions.take(count, role)
        if len(found) < count:
            kind = f"{role} " if role else ""
            what = f"the profile gives {len(found)} {kind}session{'' if len(found) == 1 else 's'}, and {count} are needed"
            raise UsageError(what, f"{self.source}: sessions", self._sessions.more())
        return found

    def available_sessions(self, most: int, role: str | None = None) -> list[Session]:
        """As many distinct sessions as there are, `most` at the most; see `sessions`."""
        return self._sessions.take(most, role)

    def hook(self, name: str) -> Hook | None:
        """The hook, or None when the target has none. Raises ValueError for a name that no hook has."""
        if name not in HOOKS:
            raise ValueError(f"there is no hook {name!r}: hooks are {', '.join(HOOKS)}")
        return self.hooks.get(name)

    def tls_context(self) -> ssl.SSLContext | None:
        """For wss:// and https://; None when neither URL needs it."""
        return self._tls

    def handshake_headers(self, session: Session | None) -> list[str]:
        """Header lines for a handshake: the profile's own and the Cookie. Origin is not among them; see `origin`."""
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        return lines if session is None else [*lines, f"Cookie: {session.cookie_header()}"]

    def http_headers(self, session: Session | None) -> dict[str, str]:
        """Headers for an HTTP request: the profile's own, Origin and Cookie."""
        headers = {"Origin": self.origin, **self.headers}
        return headers if session is None else {**headers, "Cookie": session.cookie_header()}
