"""Who is connected, and whom each broadcast reaches. The one object that the HTTP side talks to.

A broadcast is serialised once and the same bytes are written to every transport, with no await on the way. The rules of
time live in pure machines (batcher, heartbeat, rate limit); this is the thin shell that obeys them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from schemas import Limits, load_contract
from server_under_test.alarms import Alarms
from server_under_test.batcher import Ballot, Batcher, FeatureEvent, Kind, VoteBatch
from server_under_test.connection import Connection
from server_under_test.counters import Counters
from server_under_test.heartbeat import Heartbeat
from server_under_test.identity import Identity
from server_under_test.messages import Composer
from server_under_test.ratelimit import RepeatOffence, SlidingWindow

__all__ = ["Hub"]

log = logging.getLogger(__name__)

# Seconds in which the loop reports the end of an aborted transport; it takes it a turn or two.
ABORT_GRACE = 1.0


class Outlet:
    """Wakes the hub when the batcher has something due."""

    def __init__(self, hub: Hub) -> None:
        self.alarm_at = math.inf
        self._hub = hub

    def wake(self, now: float) -> float | None:
        self._hub.send_due()
        return None


class Hub:
    """All connections of this process.

    `revalidate(session_id)` answers who a session belongs to now, None when it is gone; it is called on the loop and
    has to be quick. `clock` is in seconds and never steps. Every method is called on the event loop's thread.
    """

    connection_type: type[Connection] = Connection
    composer_type: type[Composer] = Composer
    batcher_type: type[Batcher] = Batcher

    def __init__(
        self,
        limits: Limits,
        *,
        revalidate: Callable[[str], Identity | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        contract = load_contract()
        self.limits = limits
        self.codes = contract.close
        self.errors = contract.errors
        self.revalidate = revalidate
        self.clock = clock
        self.counters = Counters()
        self.composer = self.composer_type()
        self.alarms = Alarms(clock)
        self.batcher = self.batcher_type(limits.batch_window, limits.broadcasts_per_second)
        self.stopping = False
        self._outlet = Outlet(self)
        self._send_is_planned = False
        self._outgoing: list[tuple[bytes, list[Connection]]] = []
        self._open: dict[Connection, None] = {}
        self._ending: dict[Connection, None] = {}
        self._all_gone = asyncio.Event()

    # --- for the handshake ---

    @property
    def connections(self) -> int:
        """Open connections; those that are closing hold no slot."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """No slot is free: the next handshake is refused."""
        return len(self._open) >= self.limits.connections

    @property
    def backlog(self) -> int:
        """Broadcasts that wait for their batch window or for the cap."""
        return self.batcher.backlog

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        """Serve `transport`, whose handshake is done; the caller makes the connection its protocol."""
        connection = self.connection_type(self, transport, identity)
        transport.set_write_buffer_limits(high=0)  # whoever does not keep up is to be known at once: see Connection.keep
        self._open[connection] = None
        self.counters.connections_opened += 1
        self.alarms.set(connection, connection.deadline or math.inf)
        return connection

    def make_heartbeat(self, opened: float) -> Heartbeat:
        return Heartbeat(opened, self.limits.heartbeat_interval, self.limits.heartbeat_timeout)

    def make_limiters(self) -> tuple[SlidingWindow, RepeatOffence]:
        limits = self.limits
        abuse = limits.persistent_factor * limits.rate_messages
        return (
            SlidingWindow(limits.rate_messages, limits.rate_window),
            RepeatOffence(abuse, limits.rate_window, limits.persistent_windows),
        )

    # --- for the connections ---

    def leave(self, connection: Connection) -> None:
        """`connection` is served no longer, though its transport may take a while to end."""
        if connection in self._open:
            del self._open[connection]
            self._ending[connection] = None
            self.counters.connections_closed += 1

    def lost(self, connection: Connection) -> None:
        """The transport of `connection` is gone."""
        self.leave(connection)
        self._ending.pop(connection, None)
        self.alarms.drop(connection)
        if not self._ending:
            self._all_gone.set()

    def now_ms(self) -> int:
        """The wall clock, in milliseconds since the epoch: for timestamps and nothing else."""
        return time.time_ns() // 1_000_000

    # --- for the HTTP side ---

    def vote(self, feature_id: str, vote_count: int, voter_id: str, session_id: str, action: str) -> None:
        """A vote was counted: `vote_count` is the new total, `action` one of the contract's vote actions."""
        self.counters.votes += 1
        self.batcher.vote(self.clock(), feature_id, vote_count, Ballot(session_id, voter_id, action))
        self._plan_send()

    def feature_updated(self, feature_id: str, changes: Mapping[str, str]) -> None:
        """A feature changed; `changes` has the changed fields only, and an empty one is no news (A19)."""
        if changes:
            self._event(FeatureEvent(Kind.UPDATED, feature_id, dict(changes)))

    def feature_created(self, feature: Mapping[str, object]) -> None:
        """A feature was made; `feature` has the fields that the contract declares, `id` among them."""
        self._event(FeatureEvent(Kind.CREATED, str(feature["id"]), dict(feature)))

    def feature_deleted(self, feature_id: str) -> None:
        """A feature is gone: votes on it that still wait are dropped."""
        self._event(FeatureEvent(Kind.DELETED, feature_id, {}))

    def session_ended(self, session_id: str) -> None:
        """Sign-out or revocation: every connection of the session ends at once."""
        for connection in [one for one in self._open if one.session_id == session_id]:
            connection.expire()

    async def stop(self) -> None:
        """Close every connection with 1001; whoever has not ended within the grace is cut off. May be called twice."""
        self.stopping = True
        for connection in list(self._open):
            connection.close(self.codes.going_away, "server is shutting down")
        if not await self._gone_within(self.limits.shutdown_grace):
            for connection in list(self._ending):
                connection.transport.abort()
            await self._gone_within(ABORT_GRACE)
        self.alarms.stop()

    async def _gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self._ending:
                    self._all_gone.clear()
                    await self._all_gone.wait()
        except TimeoutError:
            return False
        return True

    # --- broadcasts ---

    def send_due(self) -> None:
        """Send what the batcher releases now, and arrange to come back for the rest."""
        self._send_is_planned = False
        for item in self.batcher.release(self.clock()):
            try:
                if isinstance(item, VoteBatch):
                    self.send_votes(item)
                else:
                    self.send_event(item)
            except Exception:
                self.counters.internal_errors += 1
                log.exception("a broadcast could not be sent; the others go on")
            self.counters.broadcasts += 1
        deadline = self.batcher.deadline
        if deadline is not None and not self.stopping:
            self.alarms.set(self._outlet, deadline)
        if self._outgoing:
            self._flush()

    def send_votes(self, batch: VoteBatch) -> None:
        """One frame for everybody but the session of the last vote, which sees the last one that is not its own."""
        self.counters.votes_broadcast += batch.votes
        everyone = list(self.viewers(batch.feature_id))
        self.deliver(self.vote_frame(batch, batch.last), self.without_voter(everyone, batch.last))
        if batch.other is not None:
            own = [one for one in everyone if self.is_voter(one, batch.last)]
            if own:
                self.deliver(self.vote_frame(batch, batch.other), own)

    def vote_frame(self, batch: VoteBatch, shown: Ballot) -> bytes:
        """The VOTE_UPDATE of a batch that names the voter and action of `shown`."""
        return self.composer.vote_update(self.now_ms(), batch.feature_id, batch.vote_count, shown.voter_id, shown.action)

    def send_event(self, event: FeatureEvent) -> None:
        """FEATURE_UPDATE to whoever watches the feature; FEATURE_CREATED and FEATURE_DELETED to administrators."""
        match event.kind:
            case Kind.UPDATED:
                frame = self.composer.feature_updated(self.now_ms(), event.feature_id, event.body)
                self.deliver(frame, self.viewers(event.feature_id))
            case Kind.CREATED:
                self.deliver(self.composer.feature_created(self.now_ms(), event.body), self.administrators())
            case Kind.DELETED:
                self.deliver(self.composer.feature_deleted(self.now_ms(), event.feature_id), self.administrators())

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        """Who is told of votes on and updates of a feature: whoever watches it, or nothing in particular."""
        return [one for one in self._open if one.watched is None or feature_id in one.watched]

    def administrators(self) -> Iterable[Connection]:
        """Who is told of new and deleted features, whatever they watch (A15, A21)."""
        return [one for one in self._open if one.identity.admin]

    def without_voter(self, viewers: Iterable[Connection], ballot: Ballot) -> Iterator[Connection]:
        return (one for one in viewers if not self.is_voter(one, ballot))

    def is_voter(self, connection: Connection, ballot: Ballot) -> bool:
        """Whether a connection is the client that voted: any socket of the voting session (A11)."""
        return connection.session_id == ballot.session_id

    def deliver(self, frame: bytes, receivers: Iterable[Connection]) -> None:
        """Write the same bytes to every receiver, at the end of this turn."""
        self._outgoing.append((frame, list(receivers)))

    def _flush(self) -> None:
        """Write what this turn delivers.

        The price of a write is the system call, not its bytes. So when a turn has several broadcasts, which happens
        once the loop is busier than the votes are apart, each connection gets its frames in one write.
        """
        outgoing, self._outgoing = self._outgoing, []
        started = time.perf_counter()
        if len(outgoing) == 1:
            frame, receivers = outgoing[0]
            for connection in receivers:
                self._write(connection, frame)
        else:
            gathered: dict[Connection, tuple[bytes, ...]] = {}
            for frame, receivers in outgoing:
                for connection in receivers:
                    gathered[connection] = (*gathered.get(connection, ()), frame)
            joined = {frames: b"".join(frames) for frames in set(gathered.values())}
            for connection, frames in gathered.items():
                self._write(connection, joined[frames])
        self.counters.frames_delivered += sum(len(receivers) for _, receivers in outgoing)
        self.counters.bytes_delivered += sum(len(frame) * len(receivers) for frame, receivers in outgoing)
        self.counters.broadcast_seconds += time.perf_counter() - started

    def _write(self, connection: Connection, data: bytes) -> None:
        """A transport that is going away swallows it; one that is gone neither raises nor delays."""
        try:
            if connection.waiting is None:
                connection.transport.write(data)
            else:
                connection.keep(data)
        except RuntimeError:
            self.leave(connection)

    def _event(self, event: FeatureEvent) -> None:
        self.batcher.event(event)
        self._plan_send()

    def _plan_send(self) -> None:
        # In the loop's next turn, so that the HTTP response that caused this is written first and never fails with it.
        # Votes on one feature that come in the same turn leave as one at once, with nothing to wait for.
        if not self._send_is_planned:
            self._send_is_planned = True
            asyncio.get_running_loop().call_soon(self.send_due)
