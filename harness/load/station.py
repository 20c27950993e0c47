"""One process's share of a run: its viewers' sockets, its part of the ledger, and the evidence of each second.

The station knows no phases and no files: the conductor tells it when the plan starts, and takes its records. Everything here runs in
gevent's loop; what was read is folded in bulk, so nothing is done per frame but the fleet's own few steps.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gevent
import numpy as np
from gevent import get_hub, monkey

from harness.load.digest import PING, Digest
from harness.load.evidence import Deliveries, Evidence
from harness.load.matching import Matcher, VoteMatcher
from harness.load.shown import Shown
from harness.load.voters import VoterAudiences, voter_sessions
from harness.measure.health import StallMeter
from harness.measure.ledger import Audience, Finding, Ledger, Settled
from harness.measure.plan import Plan, VotePlan
from harness.net.dial import SocketOption
from harness.net.fleet import Closed, Fleet
from harness.net.handshake import NOT_SENT, Opened, Refused, open_websocket
from harness.net.reads import Batch
from harness.target import Session, Target
from schemas import Limits, load_contract

__all__ = ["OwnLimit", "PlanStart", "Station", "Timing"]

HANDSHAKE_SECONDS = 10.0

_PONG = b'{"type":"PONG"}'
_STALL_PERIOD = 0.02
_FOLD_PERIOD = 0.02  # seconds after which what was read is accounted for when a quiet moment comes ...
_FOLD_LATEST = 0.1  # ... or whatever goes on
_QUIET = 0.001
_STRETCH = 0.004  # seconds of reading before the other greenlets have their turn
_SPARE_SLOTS = 64


_OWN_LIMITS = tuple(os.strerror(number).lower() for number in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS))


class OwnLimit(Exception):
    """A socket could not be opened because this host had none left (descriptors, ports, memory) or no time. Never the target's doing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the account waits, seconds. See `harness.measure.ledger`."""

    patience: float
    linger: float
    horizon: float


@dataclass(frozen=True, slots=True)
class PlanStart:
    """The plan and when it starts (ns since the epoch), as every process of a run learns it.

    match: None where the plan is a VotePlan, which has its own.
    """

    plan: Plan
    epoch: int
    worker: int
    workers: int
    exclusion: str
    match: Matcher | None = None

    def matcher(self) -> Matcher:
        """What tells which cast a message belongs to. Raises TypeError for a plan that came without one."""
        if self.match is not None:
            return self.match
        if not isinstance(self.plan, VotePlan):
            raise TypeError(f"a {type(self.plan).__name__} needs a matcher of its own")
        return VoteMatcher(self.plan)

    def due(self, n: int) -> int:
        """ns since the epoch."""
        return self.epoch + round(self.plan.offset(n) * 1e9)


@dataclass(slots=True)
class _Viewer:
    slot: int
    session: Session
    opened: Opened


class Station:
    """The viewers and the ledger of one process. `capacity` is the most sockets that it can open.

    `place` is (this process, of how many): each takes its own share of the sessions, so that together they use every one.
    """

    def __init__(self, target: Target, sessions: list[Session], *, place: tuple[int, int], capacity: int, timing: Timing) -> None:
        self.worker, self._workers = place
        self._target, self._sessions, self._timing = target, sessions, timing
        self._slots = capacity
        self._viewers: dict[int, _Viewer] = {}
        self._holders: list[Session] = []
        self.sockopts: Callable[[int], Sequence[SocketOption]] = lambda number: ()  # of the viewer of that number
        self.watch_end: Callable[[Closed], bool] = lambda end: False  # True: this end is the scenario's own doing
        self.spare = _SPARE_SLOTS  # viewers that may still join once votes are cast
        self.joined: Callable[[int, Session, int], None] = lambda slot, session, at: None
        self.audience: Callable[[int, int], Audience] | None = None  # of a cast, whose last arrival so far is given (ns; 0: none)
        self.closing: Callable[[int, np.ndarray, int], None] | None = None  # see Ledger
        self.merges = False  # whether the target may merge votes on one feature at any rate
        self._start: PlanStart | None = None
        self._match: Matcher | None = None
        self._shown: Shown | None = None
        self._settled: list[Settled] = []
        self._findings: list[Finding] = []
        self._audiences: VoterAudiences | None = None
        self._ledger, self._digest = self._account(None)
        self._fleet = Fleet(
            monkey.get_original("select", "epoll")(),
            digest=lambda payload: self._digest(payload),
            replies={PING: _PONG},
            violation=lambda slot, text: self.evidence.on_violation(slot, text),
        )
        self.evidence = Evidence(self.worker)
        self.casting_over = False  # then no broadcast of a later cast is to be expected
        self._failure: BaseException | None = None
        self._folded = time.monotonic()
        self._stalls = StallMeter(time.monotonic(), _STALL_PERIOD)
        self._greenlets = [gevent.spawn(loop) for loop in (self._react, self._fold_often, self._watch_stalls)]
        for greenlet in self._greenlets:
            greenlet.link_exception(self._fail)

    def _account(self, start: PlanStart | None) -> tuple[Ledger, Digest]:
        timing = self._timing
        match = self._match
        even = start.plan if start and isinstance(start.plan, VotePlan) else None
        above_cap = even is not None and (self.merges or even.rate > self.limits.broadcasts_per_second)
        ledger = Ledger(
            slots=self._slots,
            features=match.lines if match else 1,
            due=start.due if start else lambda n: 0,
            audience=self._audience,
            patience=round(timing.patience * 1e9),
            linger=round(timing.linger * 1e9),
            horizon=round(timing.horizon * 1e9),
            merges_every=len(even.features) if even and above_cap else 0,
        )
        ledger.closing = self.closing
        return ledger, Digest(ledger, match, start.epoch if start else 0, time.time_ns)

    @property
    def limits(self) -> Limits:
        return self._target.limits

    # -- viewers

    def connect(self) -> int:
        """Open the next viewer's socket; blocks this greenlet. Returns its slot, or raises ConnectionError saying why there is none."""
        slot = len(self._holders)
        if slot >= self._slots:
            raise ConnectionError(f"this process can open {self._slots} sockets and has opened them all")
        number = self.number(slot)
        session = self._sessions[number % len(self._sessions)]
        self._holders.append(session)
        outcome = open_websocket(
            self._target.ws_url,
            headers=self._target.handshake_headers(session),
            origin=self._target.origin,
            timeout=HANDSHAKE_SECONDS,
            tls=self._target.tls_context(),
            sockopt=self.sockopts(number),
        )
        if isinstance(outcome, Refused):
            if outcome.problem == NOT_SENT or any(text in outcome.problem.lower() for text in _OWN_LIMITS):
                raise OwnLimit(outcome.problem)
            self.evidence.on_refused()
            raise ConnectionError(f"{outcome.status or outcome.phase}: {outcome.problem}")
        self.evidence.on_opened()
        self._viewers[slot] = _Viewer(slot, session, outcome)
        now = time.time_ns()
        self._ledger.join(slot, now)
        self.joined(slot, session, now)
        outcome.sock.setblocking(False)
        self._fleet.add(outcome.sock, slot, outcome.leftover)
        return slot

    def number(self, slot: int) -> int:
        """A viewer's number among those of all processes."""
        return slot * self._workers + self.worker

    def stop_reading(self, slot: int) -> Any:
        """Let a viewer hang: it reads no more, and is owed nothing from now on. Returns its socket; None when it is gone already."""
        viewer = self._viewers.get(slot)
        if viewer is None:
            return None
        self._ledger.leave(slot, time.time_ns())
        self._fleet.stop_reading(viewer.opened.sock)
        return viewer.opened.sock

    def send(self, slot: int, text: bytes) -> None:
        """Send one text message on a viewer's socket, if it is still there."""
        viewer = self._viewers.get(slot)
        if viewer is not None:
            self._fleet.send_text(viewer.opened.sock, text)

    def release(self, slot: int) -> Any:
        """Give a viewer's open socket away, unread and unclosed; None when it is gone already."""
        viewer = self._viewers.pop(slot, None)
        if viewer is None:
            return None
        self._fleet.remove(viewer.opened.sock)
        return viewer.opened.sock

    def is_open(self, slot: int) -> bool:
        """Whether a viewer's socket is (still) there."""
        return slot in self._viewers

    @property
    def holders(self) -> list[Session]:
        """The session of each slot that was given out, whether or not its socket is open."""
        return list(self._holders)

    @property
    def slots(self) -> list[int]:
        """Of the viewers whose sockets are open."""
        return list(self._viewers)

    def disconnect(self, slot: int) -> None:
        """Let go of a viewer's socket; a socket that already ended is only closed."""
        viewer = self._viewers.pop(slot, None)
        if viewer is not None:
            self._ledger.leave(slot, time.time_ns())
            self._fleet.remove(viewer.opened.sock)
            viewer.opened.close()

    def depart(self, slot: int, reason: str) -> None:
        """Have a viewer leave as the contract's page does: with a Close frame (1000), which the target answers. Nothing is owed it from now
        on."""
        viewer = self._viewers.get(slot)
        if viewer is not None:
            self._ledger.leave(slot, time.time_ns())
            self._fleet.close(viewer.opened.sock, load_contract().close.normal, reason)

    def close_all(self, timeout: float) -> None:
        """End every connection as the contract's client does (1000), and wait for the answers at most `timeout` seconds."""
        self._fleet.close_all(load_contract().close.normal, "run finished")
        deadline = time.monotonic() + timeout
        while len(self._fleet) and time.monotonic() < deadline:
            gevent.sleep(0.02)

    @property
    def open(self) -> int:
        return len(self._fleet)

    # -- the plan

    def begin(self, start: PlanStart) -> None:
        """The plan is known: from here on every broadcast is matched to its cast."""
        self._fold()
        self.evidence.name_broken()  # the new digest numbers its messages anew
        self._start, self._match = start, start.matcher()
        self.evidence.by_type = len(self._match.types) > 1
        self._slots = len(self._holders) + self.spare
        self._audiences = VoterAudiences(start.exclusion, self._sessions, self._holders)
        self._ledger, self._digest = self._account(start)
        self._fleet.forget()
        self._shown = Shown(start.plan, self._slots) if self.merges and isinstance(start.plan, VotePlan) else None
        for slot in self._viewers:
            self._ledger.join(slot, 0)

    def _audience(self, n: int) -> Audience:
        start = self._start
        if self.audience is not None:
            return self.audience(n, self._ledger.last_arrival(n))
        if start is None or self._audiences is None or not isinstance(start.plan, VotePlan):
            return Audience()
        return self._audiences.of(start.plan.cast(n).voter)

    def voter_sessions(self) -> dict[str, Session]:
        """The session with which each user votes."""
        return voter_sessions(self._sessions)

    def compare(self, counts: Mapping[str, int]) -> None:
        """Hold what each open viewer was last shown against the true number of votes of each feature, and write it down."""
        if self._shown is not None and self._audiences is not None:
            self._fold()
            self._shown.compare(counts, self.slots, self._audiences, self.evidence)

    @property
    def settled(self) -> bool:
        """True when every broadcast that is due has reached all who must get it."""
        return self._ledger.complete

    # -- the loop

    def _react(self) -> None:
        """Read as soon as there is something, and until there is no more: what waits is read late.

        Waiting for several frames to come together was tried: at a hundred broadcasts a second it saved no CPU and cost 8 ms of lag.
        """
        hub = get_hub()
        readable = hub.loop.io(self._fleet.fileno(), 1)
        while True:
            if time.monotonic() < self._folded + _FOLD_PERIOD:
                hub.wait(readable)
            elif not self._wait_briefly(hub, readable):
                self._fold()
                continue
            self._fleet.follow(_STRETCH)
            gevent.sleep(0)

    @staticmethod
    def _wait_briefly(hub: Any, readable: Any) -> bool:
        """False when there was nothing to read."""
        with gevent.Timeout(_QUIET, False):
            hub.wait(readable)
            return True
        return False

    def _fold_often(self) -> None:
        while True:
            gevent.sleep(max(0.0, self._folded + _FOLD_LATEST - time.monotonic()))
            if time.monotonic() >= self._folded + _FOLD_LATEST:
                self._fold()

    def _watch_stalls(self) -> None:
        while True:
            gevent.sleep(_STALL_PERIOD)
            self._stalls.tick(time.monotonic())

    def _fail(self, greenlet: Any) -> None:
        self._failure = greenlet.exception

    def shut(self) -> None:
        """Stop reading; nothing is sent."""
        gevent.killall(self._greenlets)
        for slot in list(self._viewers):
            self.disconnect(slot)

    # -- evidence

    def _fold(self) -> None:
        """Account for what was read since the last fold. Often, and best while nothing comes: what comes meanwhile is read late."""
        self._folded = time.monotonic()
        batch, ended = self._fleet.take()
        start, digest = self._start, self._digest
        if start is not None and not self.casting_over:
            self._ledger.open(start.plan.due_by((time.time_ns() - start.epoch) / 1e9))
        n = self._ledger.deliver(batch.slot, batch.message, batch.arrived)
        if self._shown is not None:
            self._shown.see(batch, digest)
        strangers = (n < 0) & digest.explained(batch.message) if start is not None else n < n
        latency = self._latencies(batch, n)
        self.evidence.on_batch(
            batch,
            latency,
            digest.count(batch.message),
            invalid=int(np.count_nonzero(digest.bad(batch.message))),
            unmatched=int(np.count_nonzero(strangers)),
        )
        self.evidence.on_broken(digest.invalid, batch)
        digest.invalid.clear()
        if digest.error:
            self.evidence.record("error", t=time.time(), example=digest.error)
            digest.error = ""
        for end in ended:
            self._on_end(end)
        self._settle(final=False)

    def _settle(self, *, final: bool) -> None:
        """Close the books on what is due, a few broadcasts at a time: a second's worth at once would hold the reading up."""
        settled, findings = self._ledger.settle(time.time_ns(), final=final)
        self._settled += settled
        self._findings += findings

    def _latencies(self, batch: Batch, n: np.ndarray) -> dict[str, np.ndarray]:
        """Headline latency (arrived less due) in ns of the deliveries of the steady phase, by message type."""
        start, match = self._start, self._match
        if start is None or match is None:
            return {}
        steady = n >= start.plan.steady_from
        late = batch.arrived[steady] - (start.epoch + start.plan.offsets(n[steady]) * 1e9)
        if len(match.types) == 1:
            return dict.fromkeys(match.types, late)
        kinds = self._digest.kinds(batch.message)[steady]
        return {self._digest.types[kind]: late[kinds == kind] for kind in np.unique(kinds)}

    def _on_end(self, end: Closed) -> None:
        self._ledger.leave(end.slot, end.at)
        if not self.watch_end(end):
            self.evidence.on_closed(end)
        viewer = self._viewers.pop(end.slot, None)
        if viewer is not None:
            viewer.opened.close()

    def tick(self, *, final: bool = False) -> Deliveries:
        """Close the books on what is due and the interval since the last tick; returns what Locust is to be told.

        Raises RuntimeError when a loop of this station has died: from then on its silence would pass for the target's.
        """
        if self._failure is not None:
            raise RuntimeError("a loop of the receive path has died") from self._failure
        self._fold()
        if final:
            self._settle(final=True)
        self.evidence.on_settled(self._settled, self._findings)
        self._settled, self._findings = [], []
        return self.evidence.second(
            open_now=len(self._fleet),
            stamped=self._fleet.stamped,
            stall=self._stalls.take(time.monotonic()),
            unmatched_example=self._digest.unmatched,
        )

    def totals(self) -> dict[str, int]:
        """Sums for the journal's footer."""
        return {**asdict(self._ledger.totals), "unmatched": self.evidence.unmatched, "frames": self.evidence.frames}
