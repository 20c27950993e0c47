"""One client's socket after the handshake: an asyncio protocol that is small enough to have a thousand of.

Life cycle, with what moves it on:

    OPEN     -> CLOSING   we sent Close (1001, 1008, 4401): data is ignored, the peer's Close or the linger time ends it
    OPEN     -> DRAINING  we sent Close after a violation or a missed heartbeat, and ended our half of the TCP stream:
                          all input is ignored until the peer ends its half, so that our Close is not lost to a reset
    OPEN     -> CLOSING   the peer sent Close: it is echoed and TCP ends once that is written
    any      -> CLOSED    TCP is gone

Only OPEN connections are served and take a slot. CLOSING and DRAINING ones are cut off after the linger time. What the
contract asks of a connection is in the small methods here; whom a broadcast reaches is the hub's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from enum import IntEnum
from typing import TYPE_CHECKING, cast

from server_under_test.frames import Decoder, Message, Opcode, Violation, close_frame, encode
from server_under_test.heartbeat import Beat, Heartbeat
from server_under_test.identity import Identity
from server_under_test.messages import ClientMessage, Pong, Subscribe, Unreadable, Unsubscribe, read_message
from server_under_test.ratelimit import RepeatOffence, SlidingWindow

if TYPE_CHECKING:
    from server_under_test.hub import Hub

__all__ = ["Connection", "State"]

log = logging.getLogger(__name__)


class State(IntEnum):
    """See the module's life cycle."""

    OPEN = 0
    CLOSING = 1
    DRAINING = 2
    CLOSED = 3


class Connection(asyncio.Protocol):
    """Serves one socket. Everything that is shared or tunable it asks of its hub."""

    __slots__ = (
        "alarm_at",
        "decoder",
        "heartbeat",
        "hub",
        "identity",
        "linger_until",
        "offence",
        "revalidate_at",
        "session_id",
        "state",
        "transport",
        "waiting",
        "watched",
        "window",
    )

    def __init__(self, hub: Hub, transport: asyncio.Transport, identity: Identity) -> None:
        now = hub.clock()
        limits = hub.limits
        self.hub = hub
        self.transport = transport
        self.identity = identity
        self.session_id = identity.session_id
        self.state = State.OPEN
        self.waiting: bytearray | None = None  # what is to follow once the peer reads on; None: it keeps up
        self.alarm_at = math.inf
        self.linger_until = math.inf
        self.watched: frozenset[str] | None = None  # None: everything
        self.decoder = Decoder(limits.message_bytes)
        self.heartbeat: Heartbeat = hub.make_heartbeat(now)
        self.revalidate_at = now + limits.revalidate_every
        # Made with the first message that counts: most clients never send one.
        self.window: SlidingWindow | None = None
        self.offence: RepeatOffence | None = None

    # --- what asyncio calls ---

    def data_received(self, data: bytes) -> None:
        if self.state >= State.DRAINING:
            return
        try:
            for message in self.decoder.feed(data):
                self.receive(message)
                if self.state >= State.DRAINING or message.opcode is Opcode.CLOSE:
                    return
        except Violation as violation:
            self.hub.counters.protocol_violations += 1
            self.fail(violation.code, violation.reason)

    def eof_received(self) -> None:
        """The peer has ended its half; returning None ends ours."""

    def pause_writing(self) -> None:
        """The peer does not keep up: the kernel has no room for what was just written."""
        if self.waiting is None:
            self.waiting = bytearray()
        self.keep(b"")

    def resume_writing(self) -> None:
        """The peer has made room for all that the transport had."""
        if self.waiting is not None:
            self._write_on(b"")

    def keep(self, data: bytes) -> None:
        """Let `data` wait, as bytes among bytes: a transport keeps almost a kilobyte for each write besides. Past the backlog, cut off."""
        if self.waiting is None:
            return
        self.waiting += data
        if len(self.waiting) + self.transport.get_write_buffer_size() > self.hub.limits.backlog_bytes:
            self.cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = State.CLOSED
        self.hub.lost(self)

    # --- deadlines ---

    @property
    def deadline(self) -> float | None:
        """When this connection has to be woken next."""
        if self.state is State.OPEN:
            return min(self.heartbeat.deadline, self.revalidate_at)
        return self.linger_until if self.state is not State.CLOSED else None

    def wake(self, now: float) -> float | None:
        if self.state is State.OPEN:
            self.beat(now)
        if self.state is State.OPEN and now >= self.revalidate_at:
            self.revalidate_at = now + self.hub.limits.revalidate_every
            self.revalidate()
        if self.state is not State.OPEN and now >= self.linger_until:
            self.transport.abort()
            return None
        return self.deadline

    def beat(self, now: float) -> None:
        match self.heartbeat.poll(now):
            case Beat.PING:
                self.send_ping()
            case Beat.DEAD:
                self.heartbeat_missed()
            case None:
                pass

    def send_ping(self) -> None:
        self.hub.counters.pings_sent += 1
        self.send(self.hub.composer.ping())

    def heartbeat_missed(self) -> None:
        """The contract names no code (A05). 1008 is the only one of its own that fits, and it is not 1000 (HB-06)."""
        self.hub.counters.heartbeats_missed += 1
        self.fail(self.hub.codes.policy_violation, "no PONG in time")

    def revalidate(self) -> None:
        """Ask whether the session still stands; a new role counts from here on."""
        hub = self.hub
        hub.counters.sessions_revalidated += 1
        try:
            identity = hub.revalidate(self.session_id)
        except Exception:
            hub.counters.internal_errors += 1
            log.exception("a session could not be re-validated; the connection stays until the next attempt")
            return
        if identity is None:
            self.expire()
        else:
            self.identity = identity

    # --- what the client sends ---

    def receive(self, message: Message) -> None:
        if message.opcode is Opcode.CLOSE:
            self.answer_close(message)
        elif self.state is not State.OPEN:
            return
        elif message.opcode is Opcode.PING:
            self.send(encode(Opcode.PONG, message.data))
        elif message.opcode is Opcode.TEXT:
            self.receive_text(message.text)
        elif message.opcode is Opcode.BINARY:
            self.limited(Unreadable("Messages are sent as text, not as binary."))

    def receive_text(self, text: str) -> None:
        try:
            message = read_message(text)
            if isinstance(message, Pong):
                self.receive_pong(message)
            else:
                self.limited(message)
        except Exception:
            self.hub.counters.internal_errors += 1
            log.exception("a client's message could not be handled")
            self.send_error(self.hub.errors.server_error, "The server failed to handle this message. Try again later.")

    def receive_pong(self, message: Pong) -> None:
        """Never limited and never answered: throttling must not turn into a missed heartbeat (A07)."""
        self.hub.counters.pongs_received += 1
        self.heartbeat.pong()

    def limited(self, message: ClientMessage) -> None:
        """Every message but PONG counts, valid or not; one too many is answered and ignored (A08)."""
        now, hub = self.hub.clock(), self.hub
        hub.counters.messages_received += 1
        if self.window is None or self.offence is None:
            self.window, self.offence = hub.make_limiters()
        heard = self.window.offer(now)
        if heard:
            self.act(message)
        else:
            hub.counters.messages_throttled += 1
            self.send_throttled()
        if self.offence.offer(now):
            hub.counters.offenders_closed += 1
            self.close(hub.codes.policy_violation, "rate limit exceeded persistently")

    def act(self, message: ClientMessage) -> None:
        match message:
            case Subscribe():
                self.subscribe(message.feature_ids)
            case Unsubscribe():
                self.unsubscribe(message.feature_ids)
            case Unreadable():
                self.send_invalid(message)
            case Pong():  # handled before the limit
                pass

    def subscribe(self, feature_ids: frozenset[str]) -> None:
        """Adds to what is watched, all or nothing; the first id ends "everything". An empty list changes nothing."""
        if not feature_ids:
            return
        watched = (self.watched or frozenset()) | feature_ids
        if len(watched) > self.hub.limits.subscriptions:
            self.send_too_many(len(watched))
        else:
            self.watched = watched

    def unsubscribe(self, feature_ids: frozenset[str]) -> None:
        """Whoever watches nothing in particular is back to everything (A21): nobody falls silent by unsubscribing."""
        if self.watched is not None:
            self.watched = (self.watched - feature_ids) or None

    def wants(self, feature_id: str) -> bool:
        return self.watched is None or feature_id in self.watched

    # --- what the client is told ---

    def send_throttled(self) -> None:
        limits = self.hub.limits
        self.send_error(
            self.hub.errors.rate_limit_exceeded,
            f"At most {limits.rate_messages} messages in {limits.rate_window:g} s. This message was ignored.",
            {"limit": limits.rate_messages, "window": f"{limits.rate_window:g}s"},
        )

    def send_invalid(self, message: Unreadable) -> None:
        self.hub.counters.messages_invalid += 1
        self.send_error(self.hub.errors.invalid_message, message.problem)

    def send_too_many(self, wanted: int) -> None:
        limit = self.hub.limits.subscriptions
        self.hub.counters.subscriptions_refused += 1
        self.send_error(
            self.hub.errors.subscription_limit,
            f"One connection may watch at most {limit} features. This message was ignored.",
            {"limit": limit, "requested": wanted},
        )

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        self.send(self.hub.composer.error(self.hub.now_ms(), code, message, context))

    def send(self, frame: bytes) -> None:
        """Write a frame if the connection is open; a transport that is just going away swallows it."""
        if self.state is State.OPEN:
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        if self.waiting is not None and self.state is State.OPEN:
            self.keep(frame)
        else:  # the last frame, too, does not wait for a turn that may not come
            self._write_on(frame)

    def _write_on(self, frame: bytes) -> None:
        """Give the transport what waits, and then `frame`."""
        waiting, self.waiting = self.waiting, None
        data = bytes(waiting) + frame if waiting else frame
        try:
            if data:
                self.transport.write(data)
        except RuntimeError:  # the transport is closed and connection_lost is on its way
            self.hub.leave(self)

    # --- the end ---

    def expire(self) -> None:
        """The session is gone: say so, then close (A09)."""
        self.hub.counters.sessions_expired += 1
        self.send_error(self.hub.errors.session_expired, "Your session has ended. Sign in again.")
        self.close(self.hub.codes.session_invalid, "session expired")

    def close(self, code: int, reason: str) -> None:
        """Send Close and wait for the peer's, but not for ever."""
        if self.state is State.OPEN:
            self._leave(State.CLOSING)
            self._write(close_frame(code, reason))

    def answer_close(self, message: Message) -> None:
        """Echo the peer's code, or just end TCP if it has answered ours."""
        if self.state is State.OPEN:
            self._leave(State.CLOSING)
            self._write(close_frame(message.code, ""))
        self.transport.close()

    def fail(self, code: int, reason: str) -> None:
        """Send Close to a peer of which nothing sensible can be expected any more, and drain it."""
        if self.state is State.OPEN:
            self._leave(State.DRAINING)
            self._write(close_frame(code, reason))
            self._end_our_half()
        elif self.state is State.CLOSING:  # it was to close anyway, and now its Close cannot be found
            self.state = State.DRAINING
            self._end_our_half()

    def cut_off(self) -> None:
        """A slow reader: end it abruptly, at its own cost alone."""
        if self.state is State.OPEN:
            self.hub.counters.slow_readers_cut += 1
            self._leave(State.DRAINING)
        self.waiting = None
        # Not from within the transport's own write, which is where this is called.
        asyncio.get_running_loop().call_soon(self.transport.abort)

    def _end_our_half(self) -> None:
        transport = cast(asyncio.WriteTransport, self.transport)
        if transport.can_write_eof() and not self.transport.is_closing():
            try:
                transport.write_eof()
            except (OSError, RuntimeError):
                self.transport.abort()

    def _leave(self, state: State) -> None:
        self.state = state
        self.linger_until = self.hub.clock() + self.hub.limits.shutdown_grace
        self.hub.leave(self)
        self.hub.alarms.set(self, self.linger_until)
