"""A hook: one thing that the harness asks of a target beyond the socket, as a template of an HTTP request or of a
command.

`prepare`, `command` and `read` are pure, so any HTTP client can send what they make and hand back what came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import orjson

from harness.errors import UsageError
from harness.target.session import Session
from harness.target.text import Json, Template, fill_json

__all__ = ["HOOKS", "Answer", "Hook", "Item", "PreparedRequest", "lookup"]

HOOKS = ("vote", "unvote", "create", "update", "delete", "read", "list", "revoke", "change_role", "stop", "start")
"""Every hook a profile may define."""

_OUTPUT = {"read": "count", "create": "id", "list": "items"}  # what an answer is worth nothing without
_T = TypeVar("_T")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One HTTP request, ready to send. Its repr leaves out headers and body: they carry the session."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Item:
    """One feature of a list."""

    id: str
    count: int | None
    status: str | None
    voted: bool | None = None
    """Whether the session that asked has its vote on it, where the target says so."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hook brought. status is HTTP's, or a command's exit status; 0 with a problem means that no answer came."""

    ok: bool
    status: int
    count: int | None = None
    id: str | None = None
    items: tuple[Item, ...] = ()
    problem: str | None = None
    """Why it is not ok, for people; None when it is."""


def lookup(value: Any, path: str) -> Any:
    """What stands at a dotted path such as `data.feature.id` or `items.0.id`; "" is the value itself.

    Raises KeyError with the part of the path that leads nowhere.
    """
    for part in path.split(".") if path else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise KeyError(part)
    return value


@dataclass(frozen=True, slots=True)
class Hook:
    """See `prepare` (HTTP) and `command`. Made by the loader, which has checked its templates."""

    name: str
    session: str
    """Whose session it is called with: "voter" (any user), "admin", "owner" (whom it is about), "none"."""
    base_url: str
    where: str
    """File and key, for errors."""
    method: str = "GET"
    path: Template = field(default_factory=lambda: Template(()))
    headers: Mapping[str, Template] = field(default_factory=dict)
    body: Json = None
    has_body: bool = False
    expect: tuple[int, ...] = (200,)
    argv: tuple[Template, ...] = ()
    timeout: float = 30.0
    """Seconds that a command may take."""
    count: str | None = None
    id: str | None = None
    items: str | None = None
    item_id: str = "id"
    item_count: str = "voteCount"
    item_status: str = "status"
    item_voted: str = "hasVoted"
    session_headers: Callable[[Session | None], dict[str, str]] = field(default=lambda _: {}, repr=False)

    @property
    def is_command(self) -> bool:
        return bool(self.argv)

    def prepare(self, session: Session | None, *, subject: Session | None = None, **values: object) -> PreparedRequest:
        """The HTTP request. `values` fill the placeholders by name; None counts as not given.

        userId, sessionId and sessionToken come from `subject` (by default `session`) unless given. Raises UsageError
        when a placeholder has no value, or when the hook is a command.
        """
        if self.is_command:
            raise UsageError("the hook is a command, and only an HTTP call can be sent here", self.where, "give method and path")
        known = self._values(session, subject, values)
        headers = dict(self.session_headers(None if self.session == "none" else session))
        try:
            path = self.path.fill(known, lambda value: quote(value, safe=""))
            headers |= {name: template.fill(known) for name, template in self.headers.items()}
            body = orjson.dumps(fill_json(self.body, known)) if self.has_body else None
        except KeyError as missing:
            raise self._missing(missing) from None
        if any(_UNSAFE.search(value) for value in headers.values()):
            raise UsageError("a header would hold a line break or another control character", self.where, "mend that value")
        headers.setdefault("Accept", "application/json")
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        url = path if path.startswith(("http://", "https://")) else self.base_url + path
        return PreparedRequest(self.method, url, headers, body)

    def command(self, session: Session | None, *, subject: Session | None = None, **values: object) -> list[str]:
        """The argument list of a command hook; secrets are never in it. Raises UsageError as `prepare` does."""
        if not self.is_command:
            raise UsageError("the hook is an HTTP call and has no command", self.where, "use prepare, or give command")
        known = self._values(session, subject, values)
        try:
            return [argument.fill(known) for argument in self.argv]
        except KeyError as missing:
            raise self._missing(missing) from None

    def _missing(self, missing: KeyError) -> UsageError:
        return UsageError(
            f"the hook needs {{{missing.args[0]}}}, which is not known here",
            self.where,
            "take it out of the hook, or give sessions that have it (userId, sessionId in the cookies file)",
        )

    @staticmethod
    def _values(session: Session | None, subject: Session | None, values: Mapping[str, object]) -> dict[str, object]:
        about = subject or session
        known: dict[str, object] = {}
        if about is not None:
            known = {"userId": about.user_id, "sessionId": about.session_id, "sessionToken": about.token()}
        known |= values
        return {name: value for name, value in known.items() if value is not None}

    def read(self, status: int, body: bytes) -> Answer:
        """What the answer says. Never raises: what cannot be read is the answer's problem."""
        if status not in self.expect:
            wanted = " or ".join(map(str, self.expect))
            kind = "exit status" if self.is_command else "HTTP"
            return Answer(False, status, problem=f"{self.name} answered {kind} {status} where {wanted} is expected")
        needed = _OUTPUT.get(self.name)
        paths = {"count": self.count, "id": self.id, "items": self.items}
        if all(path is None for path in paths.values()):
            return Answer(True, status)
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError:
            if needed is None:
                return Answer(True, status)
            return Answer(False, status, problem=f"{self.name} answered {status} with something that is not JSON")
        found: dict[str, Any] = {}
        readers: dict[str, Callable[[Any], Any]] = {"count": _count, "id": _id, "items": self._items}
        for what, path in paths.items():
            if path is None:
                continue
            try:
                found[what] = readers[what](_at(data, path, what))
            except KeyError as missing:
                if what == needed:
                    place = f"{path!r} ({missing.args[0]!r} is missing)" if path else "the whole answer"
                    return Answer(False, status, problem=f"{self.name}: no {what} at {place} in the answer")
            except ValueError as wrong:
                return Answer(False, status, problem=f"{self.name}: {what} at {path!r} in the answer {wrong}")
        return Answer(True, status, **found)

    def _items(self, value: Any) -> tuple[Item, ...]:
        if not isinstance(value, list):
            raise ValueError("is not an array")
        items = []
        for entry in value:
            try:
                identity = _id(lookup(entry, self.item_id))
            except KeyError:
                raise ValueError(f"has an entry without {self.item_id!r}") from None
            items.append(
                Item(
                    identity, _optional(entry, self.item_count, int), _optional(entry, self.item_status, str), _flag(entry, self.item_voted)
                )
            )
        return tuple(items)


def _at(data: Any, path: str, what: str) -> Any:
    if what == "items" and isinstance(data, list):
        return data  # a bare array needs no path
    return lookup(data, path)


def _count(value: Any) -> int:
    """A whole number as JSON may write it: 43, 43.0 or 4.3e1."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise ValueError(f"is {json.dumps(value)[:40]}, not a whole number")
    return int(value)


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"is {json.dumps(value)[:40]}, not a text")
    return str(value)


def _flag(entry: Any, path: str) -> bool | None:
    try:
        value = lookup(entry, path)
    except KeyError:
        return None
    return value if isinstance(value, bool) else None


def _optional(entry: Any, path: str, kind: type[_T]) -> _T | None:
    try:
        value = lookup(entry, path)
    except KeyError:
        return None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
