"""Where sessions come from: a file of cookies, or a command that prints the same JSON; signing in is in `login`.

Each source hands out distinct sessions in a fixed order and keeps them, so that asking again costs nothing. No error
of this room shows a cookie.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import orjson
from pydantic import SecretStr

from harness.errors import UsageError
from harness.target.session import ROLES, Session, cookie_problem

__all__ = ["CommandSource", "FileSource", "Source", "distinct", "parse_sessions"]

_OUTPUT_BYTES = 64 * 1024 * 1024


class Source(Protocol):
    """What a Target asks for its sessions."""

    def take(self, count: int, role: str | None) -> list[Session]:
        """At most `count` distinct sessions of `role` (None: of any), in a fixed order."""

    def more(self) -> str:
        """What to do to have more of them."""


def parse_sessions(text: bytes, where: str, cookie: str) -> list[Session]:
    """Sessions from a JSON list of {name, value, role, userId, userName, sessionId}; only `value` must be there.

    `cookie` is the name where an entry has none. Other keys are passed over. Raises UsageError with the entry's number.
    """
    do = 'write a list such as [{"name": ..., "value": ..., "role": "regular", "userId": ...}]'
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"not JSON at {place}", where, do) from None
    if not isinstance(data, list):
        raise UsageError("the JSON is not a list of sessions", where, do)
    return distinct(_entry(entry, f"{where}: entry {number}", cookie) for number, entry in enumerate(data, 1))


def _entry(entry: Any, where: str, cookie: str) -> Session:
    if not isinstance(entry, dict):
        raise UsageError("the entry is not an object", where, 'write {"name": ..., "value": ..., "role": ...}')
    texts: dict[str, str | None] = {}
    for key in ("name", "value", "role", "userId", "userName", "sessionId"):
        text = entry.get(key)
        if text is not None and not isinstance(text, str):
            raise UsageError(f"{key} is not a text", where, f"write {key} as a JSON string")
        texts[key] = text
    value, role, name = texts["value"], texts["role"] or ROLES[0], texts["name"] or cookie
    if value is None:
        raise UsageError("value is missing", where, "write the cookie's value as the browser sends it")
    if role not in ROLES:
        raise UsageError(f"role is {role[:40]!r}", where, f"allowed: {', '.join(ROLES)}")
    problem = cookie_problem(name, value)
    if problem is not None:
        raise UsageError(problem, where, "write name and value as the browser sends them, percent-encoding included")
    return Session(name, SecretStr(value), role, texts["userId"], texts["userName"], texts["sessionId"])


def distinct(sessions: Iterable[Session]) -> list[Session]:
    """Each session once, in the order given."""
    return list({session.cookie_header(): session for session in sessions}.values())


def _chosen(sessions: Iterable[Session], count: int, role: str | None) -> list[Session]:
    return [session for session in sessions if role is None or session.role == role][:count]


class FileSource:
    """A file of cookies, read once."""

    def __init__(self, path: Path, where: str, cookie: str) -> None:
        self._path, self._where, self._cookie = path, where, cookie
        self._lock = threading.Lock()
        self._sessions: list[Session] | None = None

    def take(self, count: int, role: str | None) -> list[Session]:
        """Raises UsageError when the file cannot be read or is not what it should be."""
        with self._lock:
            if self._sessions is None:
                try:
                    text = self._path.read_bytes()
                except OSError as error:
                    raise UsageError(
                        f"{self._path} cannot be read: {error.strerror}", self._where, "name a file with the cookies"
                    ) from None
                self._sessions = parse_sessions(text, str(self._path), self._cookie)
            return _chosen(self._sessions, count, role)

    def more(self) -> str:
        return f"add entries to {self._path} (the bundled server writes as many as its --sessions says)"


class CommandSource:
    """A command that prints the sessions, run once, without a shell, in the profile's directory. timeout: seconds."""

    def __init__(self, argv: tuple[str, ...], timeout: float, directory: Path, where: str, cookie: str) -> None:
        self._argv, self._timeout, self._directory = argv, timeout, directory
        self._where, self._cookie = where, cookie
        self._lock = threading.Lock()
        self._sessions: list[Session] | None = None

    def take(self, count: int, role: str | None) -> list[Session]:
        """Raises UsageError when the command fails or prints something else."""
        with self._lock:
            if self._sessions is None:
                self._sessions = parse_sessions(self._run(), f"{self._where}: what {self._argv[0]} prints", self._cookie)
            return _chosen(self._sessions, count, role)

    def _run(self) -> bytes:
        program = self._argv[0]
        by_hand = f"run it by hand in {self._directory} (what it wrote is not shown here: it may hold secrets)"
        try:
            done = subprocess.run(
                self._argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout,
                cwd=self._directory,
                check=False,
            )
        except subprocess.TimeoutExpired:
            do = "mend the command, or allow more with timeout"
            raise UsageError(f"{program} did not end within {self._timeout:g} s", self._where, do) from None
        except (OSError, ValueError) as error:
            text = getattr(error, "strerror", None) or "its arguments cannot be passed on"
            raise UsageError(f"{program} cannot be run: {text}", self._where, "name a program that exists here") from None
        if done.returncode != 0:
            raise UsageError(f"{program} ended with exit status {done.returncode}", self._where, by_hand)
        if len(done.stdout) > _OUTPUT_BYTES:
            raise UsageError(f"{program} printed more than {_OUTPUT_BYTES} bytes", self._where, by_hand)
        return done.stdout

    def more(self) -> str:
        return f"let {self._argv[0]} print more of them"
