"""All that this server knows: people, their sessions, and the items of the board. Plain memory, and a dump of it across a restart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["COOKIE", "Book", "Item", "Person", "Session", "session_cookie", "stamp"]

COOKIE = "sid"
_OTHER_ZONE = timezone(timedelta(hours=2))


@dataclass(slots=True)
class Person:
    uid: str
    login: str
    label: str
    rank: str
    """Either "regular" or "admin"."""


@dataclass(frozen=True, slots=True)
class Session:
    ref: str
    """What administrators call it by; it opens nothing."""
    uid: str


@dataclass(slots=True)
class Item:
    uuid: str
    headline: str
    text: str
    state: str
    author: str
    made: float
    """Seconds since the epoch, as `changed`."""
    changed: float
    imported: int = 0
    """Votes of old times, whose voters nobody knows."""
    voters: dict[str, None] = field(default_factory=dict)

    @property
    def votes(self) -> int:
        return self.imported + len(self.voters)


def stamp(at: float, zoned: bool) -> str:
    """`at` as the contract writes it; or in another zone and without milliseconds, which RFC 3339 allows as well."""
    if zoned:
        return datetime.fromtimestamp(at, _OTHER_ZONE).isoformat(timespec="seconds")
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Book:
    """Made empty; `seed` or `load` fills it."""

    def __init__(self, key: str = "") -> None:
        self.key = key or secrets.token_hex(32)
        self.password = ""
        self.people: dict[str, Person] = {}
        self.sessions: dict[str, Session] = {}
        """By their token."""
        self.items: dict[str, Item] = {}

    def seed(self, people: int, staff: int, items: int, states: tuple[str, ...], now: float, password: str) -> None:
        self.password = password
        for number in range(people + staff):
            rank = "regular" if number < people else "admin"
            login = f"member-{number + 1}" if rank == "regular" else f"chief-{number - people + 1}"
            person = Person(f"p_{uuid.uuid4().hex}", login, login.replace("-", " ").title(), rank)
            self.people[person.uid] = person
        author = next(reversed(self.people))
        for number in range(items):
            item = Item(str(uuid.uuid4()), f"Item {number + 1}", "there from the start", states[number % len(states)], author, now, now)
            item.imported = random.randrange(40)
            self.items[item.uuid] = item

    def person_called(self, login: object, password: object) -> Person | None:
        """Who signs in with these; None when the password is not theirs."""
        right = isinstance(password, str) and hmac.compare_digest(password.encode(errors="replace"), self.password.encode())
        return next((each for each in self.people.values() if each.login == login), None) if right else None

    def open_session(self, person: Person) -> str:
        """The cookie's value: a signed token, percent-encoded as the whole."""
        token = secrets.token_urlsafe(24)
        self.sessions[token] = Session(f"ref-{secrets.token_hex(8)}", person.uid)
        return quote(f"s:{token}.{self._signature(token)}", safe="")

    def session_in(self, value: str | None) -> tuple[str, Session] | None:
        """Token and session of a cookie's value; None when it is not signed by us, or ended."""
        plain = unquote(value or "")
        token, dot, signature = plain.removeprefix("s:").rpartition(".")
        if not plain.startswith("s:") or not dot or not hmac.compare_digest(signature.encode(), self._signature(token).encode()):
            return None
        session = self.sessions.get(token)
        return None if session is None else (token, session)

    def end_session(self, ref: object) -> str | None:
        """The token that it had; None when there is no such session."""
        token = next((token for token, session in self.sessions.items() if session.ref == ref), None)
        if token is not None:
            del self.sessions[token]
        return token

    def _signature(self, token: str) -> str:
        digest = hmac.digest(self.key.encode(), token.encode(errors="replace"), hashlib.sha256)
        return base64.b64encode(digest).decode().rstrip("=")

    def dump(self) -> str:
        tables: dict[str, dict[str, Any]] = {"people": self.people, "sessions": self.sessions, "items": self.items}
        plain = {name: {key: asdict(row) for key, row in table.items()} for name, table in tables.items()}
        return json.dumps({"key": self.key, "password": self.password, **plain})

    @classmethod
    def load(cls, text: str) -> Book:
        data = json.loads(text)
        book = cls(data["key"])
        book.password = data["password"]
        book.people = {key: Person(**row) for key, row in data["people"].items()}
        book.sessions = {key: Session(**row) for key, row in data["sessions"].items()}
        book.items = {key: Item(**row) for key, row in data["items"].items()}
        return book


def session_cookie(headers: list[str]) -> str | None:
    """The value of the session cookie in these Cookie headers, without the quotes it may stand in; None when there is none."""
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and name == COOKIE:
                return value.removeprefix('"').removesuffix('"')
    return None
