"""The HTTP API: a small HTTP/1.1 of its own, and the routes below /v2. Only what is written here goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from schemas import load_contract
from tests.other_server.book import COOKIE, Book, Item, Session, session_cookie, stamp
from tests.other_server.live import Live
from tests.other_server.options import Options
from tests.other_server.votes import Vote

__all__ = ["Api"]

_HEAD_BYTES, _BODY_BYTES = 16_384, 262_144
_FIELDS = {"headline": "title", "text": "description", "state": "status"}
"""Our names, and the contract's."""


class Refusal(Exception):
    """Answered with this status and {"error": why}."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


@dataclass(frozen=True, slots=True)
class Ask:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    peer: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> dict[str, Any]:
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise Refusal(400, "the body is no JSON object")
        return data


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    data: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Api:
    """Tells `live` whatever happens; calls `stop` when an administrator shuts it down."""

    def __init__(self, options: Options, book: Book, live: Live, stop: Callable[[], None]) -> None:
        self._options, self._book, self._live, self._stop = options, book, live, stop
        self._sign_ins: dict[str, deque[float]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """The port."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self._options.port, limit=_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    # ---- HTTP

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str(writer.get_extra_info("peername")[0])
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            while True:
                reply, more = await self._answered(reader, peer)
                writer.write(_written(reply, more))
                await writer.drain()
                if not more:
                    break
        writer.close()

    async def _answered(self, reader: asyncio.StreamReader, peer: str) -> tuple[Reply, bool]:
        """The reply to the next request, and whether the connection stays. Raises EOFError when there is none."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        words, length = first.split(" "), next((value for name, value in headers if name == "content-length"), "0")
        if len(words) != 3 or words[2] != "HTTP/1.1" or not length.isdecimal() or any(name == "transfer-encoding" for name, _ in headers):
            return Reply(400, {"error": "this is no request that we understand"}), False
        if int(length) > _BODY_BYTES:
            return Reply(413, {"error": "too long"}), False
        ask = Ask(words[0], words[1].partition("?")[0], headers, await reader.readexactly(int(length)), peer)
        try:
            reply = self._routed(ask)
        except Refusal as refusal:
            reply = Reply(refusal.status, {"error": refusal.why}, tuple(refusal.headers.items()))
        return reply, ("connection", "close") not in headers

    def _routed(self, ask: Ask) -> Reply:
        if self._options.tenant and ask.all("x-tenant") != [self._options.tenant]:
            raise Refusal(400, "whose board?")
        base, *parts = ask.path.removeprefix("/").split("/")
        if base != "v2":
            raise Refusal(404, "everything is below /v2")
        match (ask.method, *parts):
            case ("POST", "session"):
                return self._sign_in(ask)
            case ("GET", "session"):
                _, session = self._who(ask)
                return Reply(200, {"data": {"session": {"ref": session.ref}, "uid": session.uid}})
            case ("DELETE", "session"):
                return self._kill(self._who(ask)[1].ref)
            case (_, "items", *rest):
                return self._items(ask, rest)
            case (_, "admin", *rest):
                return self._admin(ask, rest)
        raise Refusal(404, "there is nothing here")

    # ---- sessions

    def _who(self, ask: Ask, staff: bool = False) -> tuple[str, Session]:
        known = self._book.session_in(session_cookie(ask.all("cookie")))
        if known is None:
            raise Refusal(401, "sign in first")
        if staff and self._book.people[known[1].uid].rank != "admin":
            raise Refusal(403, "not for you")
        return known

    def _sign_in(self, ask: Ask) -> Reply:
        now, window = time.monotonic(), self._options.limits.rate_window
        recent = self._sign_ins.setdefault(ask.peer, deque())
        while recent and now - recent[0] >= window:
            recent.popleft()
        if len(recent) >= self._options.sign_ins:
            raise Refusal(429, "too many sign-ins", **{"Retry-After": str(max(1, round(window)))})
        recent.append(now)
        given = ask.json()
        person = self._book.person_called(given.get("user"), given.get("pass"))
        if person is None:
            raise Refusal(401, "no such user, or another password")
        cookie = ("Set-Cookie", f"{COOKIE}={self._book.open_session(person)}; Path=/; HttpOnly; SameSite=Lax")
        if self._options.says("sign_in", "mute"):
            return Reply(204, None, (("Set-Cookie", "theme=dark; Path=/"), cookie))
        return Reply(201, {"data": {"me": {"uid": person.uid, "label": person.label}}}, (cookie,))

    def _kill(self, ref: object) -> Reply:
        token = self._book.end_session(ref)
        if token is None:
            raise Refusal(404, "no such session")
        self._live.session_ended(token)
        return Reply(204)

    def _admin(self, ask: Ask, rest: list[str]) -> Reply:
        self._who(ask, staff=True)
        match (ask.method, *rest):
            case ("POST", "kill-session"):
                return self._kill(ask.json().get("ref"))
            case ("PUT", "people", uid) if uid in self._book.people:
                rank = ask.json().get("rank")
                if rank not in ("regular", "admin"):
                    raise Refusal(422, "rank is regular or admin")
                self._book.people[uid].rank = rank
                return Reply(204)
            case ("POST", "shutdown"):
                self._stop()
                return Reply(202, {"data": "going"})
        raise Refusal(404, "there is nothing here")

    # ---- items

    def _items(self, ask: Ask, rest: list[str]) -> Reply:
        staff = ask.method in ("POST", "PUT", "DELETE") and not rest[1:]
        token, session = self._who(ask, staff)
        match (ask.method, len(rest)):
            case ("GET", 0):
                return Reply(200, {"data": [_row(item) for item in self._book.items.values()]})
            case ("POST", 0):
                return self._make(ask, token, session)
        if not rest:
            raise Refusal(404, "there is nothing here")
        item = self._book.items.get(rest[0])
        if item is None:
            raise Refusal(404, "no such item")
        match (ask.method, *rest[1:]):
            case ("GET",):
                return Reply(200, {"data": _row(item)})
            case ("PUT",):
                return self._change(item, ask.json().get("set"), token)
            case ("DELETE",):
                del self._book.items[item.uuid]
                self._live.item_gone(item.uuid, token)
                return Reply(204)
            case ("PUT", "upvote"):
                return self._vote(item, token, session, added=True)
            case ("POST", "retract"):
                return self._vote(item, token, session, added=False)
        raise Refusal(404, "there is nothing here")

    def _vote(self, item: Item, token: str, session: Session, *, added: bool) -> Reply:
        if added is (session.uid in item.voters):
            raise Refusal(409, "you have voted" if added else "you have not voted")
        if added:
            item.voters[session.uid] = None
        else:
            del item.voters[session.uid]
        self._live.vote(Vote(item.uuid, item.votes, session.uid, token, added, time.time()))
        return Reply(200, {"data": {"votes": item.votes}})

    def _make(self, ask: Ask, token: str, session: Session) -> Reply:
        given, now = _fields(ask.json().get("item")), time.time()
        if "headline" not in given:
            raise Refusal(422, "an item has a headline")
        state = given.get("state", load_contract().messages.feature_status[0])
        item = Item(str(uuid.uuid4()), given["headline"], given.get("text", ""), state, session.uid, now, now)
        self._book.items[item.uuid] = item
        self._live.item_made(self._feature(item), token)
        return Reply(201, {"data": {"item": {"uuid": item.uuid}}})

    def _change(self, item: Item, given: object, token: str) -> Reply:
        changes = {name: value for name, value in _fields(given).items() if getattr(item, name) != value}
        if changes:
            for name, value in changes.items():
                setattr(item, name, value)
            item.changed = time.time()
            self._live.item_changed(item.uuid, {_FIELDS[name]: value for name, value in changes.items()}, token)
        return Reply(200, {"data": _row(item)})

    def _feature(self, item: Item) -> dict[str, Any]:
        """As the contract's FEATURE_CREATED shows it."""
        zoned = self._options.says("timestamp", "any_zone")
        return {
            "id": item.uuid,
            **{theirs: getattr(item, ours) for ours, theirs in _FIELDS.items()},
            "voteCount": item.votes,
            "createdById": item.author,
            "createdBy": {"name": self._book.people[item.author].label},
            "createdAt": stamp(item.made, zoned),
            "updatedAt": stamp(item.changed, zoned),
        }


def _written(reply: Reply, more: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", f"Connection: {'keep-alive' if more else 'close'}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    body = b"" if reply.data is None else json.dumps(reply.data).encode()
    if reply.status != HTTPStatus.NO_CONTENT:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _row(item: Item) -> dict[str, Any]:
    return {"uuid": item.uuid, "votes": item.votes, "state": item.state, "headline": item.headline}


def _fields(given: object) -> dict[str, str]:
    """What may be written of an item. Raises Refusal when anything else stands there."""
    states = load_contract().messages.feature_status
    good = isinstance(given, dict) and all(name in _FIELDS and isinstance(value, str) for name, value in given.items())
    if not isinstance(given, dict) or not good or given.get("state", states[0]) not in states:
        raise Refusal(422, f"an item has {', '.join(_FIELDS)}, and its state is one of {', '.join(states)}")
    return given
