"""The WebSocket: who gets in, the heartbeat, what clients may say, and who is told what.

The library does the protocol; its own keep-alive is off, for the contract's PING is a message. Everything that is sent goes out
by `broadcast`, which waits for nobody, so that what happens first is told first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from schemas import Contract, load_contract
from tests.other_server.book import Book, Session, session_cookie, stamp
from tests.other_server.options import Options
from tests.other_server.rates import Allowance, Temper
from tests.other_server.votes import Tally, Vote, seen

__all__ = ["Live"]

_LOOK = 0.02  # seconds, see _judge
_REAP = 0.5  # seconds that somebody who has not answered a PING has to answer a Close
_PONG, _ASKS = "PONG", ("SUBSCRIBE", "UNSUBSCRIBE")
_LOG = logging.getLogger("tests.other_server.websockets")
_LOG.setLevel(logging.CRITICAL)  # a client that misbehaves is what this server is for, and no news

Message = dict[str, Any]


class Viewer:
    """One socket that was let in."""

    def __init__(self, socket: ServerConnection, token: str, session: Session, rank: str, options: Options) -> None:
        limits = options.limits
        self.socket, self.token, self.session, self.rank = socket, token, session, rank
        self.watched: set[str] | None = None
        """The items it has subscribed to; None while it receives everything."""
        self.filters = options.says("subscriptions", "filter")
        self.answer_by: float | None = None
        """When the PONG it owes is due."""
        self.allowance = Allowance(options.choices["rate_window"], limits.rate_messages, limits.rate_window)
        self.temper = Temper(limits.rate_messages, limits.rate_window, limits.persistent_windows)

    @property
    def there(self) -> bool:
        return self.socket.state is State.OPEN

    def watches(self, item: str) -> bool:
        return self.watched is None or item in self.watched or not self.filters


class Live:
    """Made inside the running loop; `start` opens the port."""

    def __init__(self, options: Options, book: Book) -> None:
        self.options, self.book = options, book
        self.contract: Contract = load_contract()
        self.loop = asyncio.get_running_loop()
        self.viewers: set[Viewer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        shape = options.choices["batch_shape"]
        self._tally = Tally(options.limits.broadcasts_per_second, merge=shape == "coalesce", single_frame=shape in ("array", "envelope"))
        self._flush_due = False
        self._server: Server | None = None

    # ---- its life

    async def start(self) -> int:
        """The port."""
        limits = self.options.limits
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.options.live_port,
            process_request=self._admit,
            ping_interval=None,
            close_timeout=limits.shutdown_grace,
            max_size=limits.message_bytes,
            logger=_LOG,
        )
        if self.options.says("heartbeat_phase", "global"):
            self._later(self._tick())
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close 1001 to everybody, and wait for their answer as long as the contract's grace."""
        if self._server is not None:
            self._server.close(code=self.contract.close.going_away, reason="back soon")
            async with asyncio.timeout(self.options.limits.shutdown_grace + 1.0):
                await self._server.wait_closed()
        for task in self._tasks:
            task.cancel()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- the handshake

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        says, headers = self.options.says, request.headers
        if request.path.partition("?")[0] != "/live":
            return socket.respond(HTTPStatus.NOT_FOUND, "the board is at /live\n")
        if self.options.tenant and headers.get("X-Tenant") != self.options.tenant:
            return socket.respond(HTTPStatus.BAD_REQUEST, "whose board?\n")
        if says("origin", "allow_list") and set(headers.get_all("Origin")) - {self.options.allowed_origin}:
            return socket.respond(HTTPStatus.FORBIDDEN, "not from there\n")
        known = self.book.session_in(session_cookie(headers.get_all("Cookie")))
        if known is None and says("auth_refusal", "http401"):
            return socket.respond(self.contract.auth_refusal_status, "sign in first\n")
        if known is not None and self._full() and says("full", "http503"):
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        return None

    def _full(self) -> bool:
        return sum(viewer.there for viewer in self.viewers) >= self.options.limits.connections

    async def _serve(self, socket: ServerConnection) -> None:
        # Asked again: between the two the session may have ended, or another may have taken the last place.
        request = socket.request
        known = self.book.session_in(session_cookie(request.headers.get_all("Cookie") if request else []))
        if known is None:
            await socket.close(self.contract.close.session_invalid, "sign in first")
            return
        if self._full():
            await socket.close(1013, "full")
            return
        token, session = known
        viewer = Viewer(socket, token, session, self.book.people[session.uid].rank, self.options)
        self.viewers.add(viewer)
        timers = [self.loop.create_task(self._recheck(viewer))]
        if self.options.says("heartbeat_phase", "connection"):
            timers.append(self.loop.create_task(self._own_tick(viewer)))
        try:
            while True:
                self._heard(viewer, await socket.recv())
        except ConnectionClosed:
            pass
        finally:
            self.viewers.discard(viewer)
            for timer in timers:
                timer.cancel()

    # ---- heartbeat

    async def _tick(self) -> None:
        """One clock for all."""
        due = self.loop.time()
        while True:
            due += self.options.limits.heartbeat_interval
            await asyncio.sleep(due - self.loop.time())
            for viewer in list(self.viewers):
                self._ping(viewer)

    async def _own_tick(self, viewer: Viewer) -> None:
        due = self.loop.time()
        while viewer.there:
            due += self.options.limits.heartbeat_interval
            await asyncio.sleep(due - self.loop.time())
            self._ping(viewer)

    def _ping(self, viewer: Viewer) -> None:
        self._tell([viewer], {"type": "PING"})
        if viewer.answer_by is None:
            viewer.answer_by = self.loop.time() + self.options.limits.heartbeat_timeout
            self.loop.call_at(viewer.answer_by, self._judge, viewer)

    def _judge(self, viewer: Viewer) -> None:
        """At the moment when a PONG was due, unless that has been put off meanwhile."""
        if viewer.answer_by is None or not viewer.there:
            return
        late = self.loop.time() - viewer.answer_by
        if late < 0:
            self.loop.call_at(viewer.answer_by, self._judge, viewer)
            return
        # The PONG may have come and wait to be read: the later we are ourselves, the longer we look for it.
        self.loop.call_later(_LOOK + 2 * late, self._sentence, viewer, viewer.answer_by)

    def _sentence(self, viewer: Viewer, due: float) -> None:
        if viewer.answer_by != due or not viewer.there:
            if viewer.answer_by is not None:
                self._judge(viewer)
            return
        self._end(viewer, self.contract.close.policy_violation, "no PONG")
        self.loop.call_later(_REAP, viewer.socket.transport.abort)

    # ---- sessions

    async def _recheck(self, viewer: Viewer) -> None:
        while viewer.there:
            await asyncio.sleep(self.options.limits.revalidate_every)
            if viewer.token not in self.book.sessions:
                self._expire(viewer)

    def session_ended(self, token: str) -> None:
        if self.options.says("session_end", "pushed"):
            for viewer in [each for each in self.viewers if each.token == token]:
                self._expire(viewer)

    def _expire(self, viewer: Viewer) -> None:
        self._complain(viewer, self.contract.errors.session_expired, "your session has ended, sign in again")
        self._end(viewer, self.contract.close.session_invalid, "session ended")

    def _rank(self, viewer: Viewer) -> str:
        return self.book.people[viewer.session.uid].rank if self.options.says("role", "live") else viewer.rank

    # ---- what clients say

    def _heard(self, viewer: Viewer, data: str | bytes) -> None:
        if not viewer.there:
            return
        now, says = self.loop.time(), self.options.says
        if viewer.answer_by is not None and says("pong_deadline", "after_traffic"):
            viewer.answer_by = now + self.options.limits.heartbeat_timeout
        message = _understood(data)
        if message is not None and message["type"] == _PONG:
            viewer.answer_by = None
            if says("pong_rate", "honoured"):
                viewer.allowance.take(now)
        elif (message is None and says("invalid_rate", "exempt")) or viewer.allowance.take(now):
            self._taken(viewer, message, isinstance(data, bytes))
        else:
            self._over_rate(viewer, message, now)

    def _taken(self, viewer: Viewer, message: Message | None, binary: bool) -> None:
        if message is not None:
            self._ask(viewer, message["type"], set(message["featureIds"]))
            return
        habit = self.options.choices["binary"] if binary else self.options.choices["malformed_input"]
        if habit == "error":
            self._complain(viewer, self.contract.errors.invalid_message, "this is no message that a client may send")
        elif habit == "close1003":
            self._end(viewer, 1003, "text only")
        elif habit == "close":
            self._end(viewer, 1007, "not understood")

    def _over_rate(self, viewer: Viewer, message: Message | None, now: float) -> None:
        limits, says = self.options.limits, self.options.says
        first, over = viewer.temper.refused(now)
        if first or says("rate_errors", "each"):
            window = "60s" if says("rate_context", "example") else f"{limits.rate_window:g}s"
            context = {"limit": limits.rate_messages, "window": window}
            self._complain(viewer, self.contract.errors.rate_limit_exceeded, "too many messages, slow down", context)
        if over:
            self._end(viewer, self.contract.close.policy_violation, "too many messages")
        elif message is not None and says("throttled", "delay"):
            self.loop.call_later(limits.rate_window, self._ask, viewer, message["type"], set(message["featureIds"]))

    def _ask(self, viewer: Viewer, kind: str, items: set[str]) -> None:
        if kind == "UNSUBSCRIBE":
            if viewer.watched:
                viewer.watched -= items
                if not viewer.watched and self.options.says("after_last", "everything"):
                    viewer.watched = None
            return
        most, watched = self.options.limits.subscriptions, (viewer.watched or set()) | items
        if len(watched) > most:
            self._complain(viewer, self.contract.errors.subscription_limit, f"at most {most} items at once", {"limit": most})
        elif items:
            viewer.watched = watched

    # ---- what clients are told

    def vote(self, vote: Vote) -> None:
        """To be told at the end of this batch window."""
        self._tally.waiting.append(vote)
        self._flush_later()

    def item_changed(self, item: str, changes: Message, token: str) -> None:
        self._announce({"type": "FEATURE_UPDATE", "featureId": item, "changes": changes}, item, token)

    def item_made(self, feature: Message, token: str) -> None:
        self._announce({"type": "FEATURE_CREATED", "feature": feature}, feature["id"], token)

    def item_gone(self, item: str, token: str) -> None:
        self._tally.forget(item)
        self._announce({"type": "FEATURE_DELETED", "featureId": item}, item, token)

    def _announce(self, message: Message, item: str, author: str) -> None:
        says = self.options.says
        only_staff = message["type"] in self.contract.messages.admin_only and says("admin_events", "admins")
        self._tell(
            [
                viewer
                for viewer in self.viewers
                if viewer.watches(item)
                and not (only_staff and self._rank(viewer) != "admin")
                and not (viewer.token == author and says("admin_echo", "excluded"))
            ],
            self._stamped(message, time.time()),
        )

    def _flush_later(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_later(self.options.limits.batch_window, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        groups = self._tally.take(self.loop.time())
        alike: dict[tuple[tuple[Vote, int], ...], list[Viewer]] = {}
        for viewer in self.viewers:
            parts = tuple(part for group in groups if (part := seen(group, self._may_see(viewer))) is not None)
            alike.setdefault(parts, []).append(viewer)
        for parts, viewers in alike.items():
            messages = [self._vote_message(*part) for part in parts]
            shape = self.options.choices["batch_shape"]
            if len(messages) > 1 and shape == "array":
                self._tell(viewers, messages)
            elif len(messages) > 1 and shape == "envelope":
                self._tell(viewers, {"type": "BATCH", "messages": messages})
            else:
                for message in messages:
                    self._tell(viewers, message)
        if self._tally.waiting:
            self._flush_later()

    def _may_see(self, viewer: Viewer) -> Callable[[Vote], bool]:
        match self.options.choices["exclusion"]:
            case "user":
                return lambda vote: viewer.watches(vote.item) and vote.uid != viewer.session.uid
            case "session":
                return lambda vote: viewer.watches(vote.item) and vote.token != viewer.token
            case _:
                return lambda vote: viewer.watches(vote.item)

    def _vote_message(self, vote: Vote, votes: int) -> Message:
        message = {"type": "VOTE_UPDATE", "featureId": vote.item, "voteCount": votes}
        if self.options.says("voter_id", "expected"):
            message["voterId"] = vote.uid
        message["action"] = self.contract.messages.vote_actions[not vote.added]
        return self._stamped(message, vote.at)

    def _stamped(self, message: Message, at: float) -> Message:
        extra = {"schemaVersion": 2} if self.options.says("extra_properties", "open") else {}
        return {**message, **extra, "timestamp": stamp(at, self.options.says("timestamp", "any_zone"))}

    def _complain(self, viewer: Viewer, code: str, text: str, context: Message | None = None) -> None:
        error: Message = {"type": "ERROR", "code": code, "message": text, **({"context": context} if context else {})}
        self._tell([viewer], self._stamped(error, time.time()))

    def _tell(self, viewers: list[Viewer], message: Message | list[Message]) -> None:
        broadcast([viewer.socket for viewer in viewers], json.dumps(message, separators=(",", ":")))
        for viewer in viewers:
            if viewer.socket.transport.get_write_buffer_size() > self.options.limits.backlog_bytes:
                viewer.socket.transport.abort()  # it reads too slowly; nobody waits for it

    def _end(self, viewer: Viewer, code: int, reason: str) -> None:
        self._later(viewer.socket.close(code, reason))


def _understood(data: str | bytes) -> Message | None:
    """A message that a client may send; None for anything else."""
    if isinstance(data, bytes):
        return None
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    kind = message.get("type") if isinstance(message, dict) else None
    if kind == _PONG:
        return message
    ids = message.get("featureIds") if kind in _ASKS else None
    return message if isinstance(ids, list) and all(isinstance(each, str) for each in ids) else None
