"""One process's share of a run: its viewers' sockets, its part of the ledger, and the evidence of each second.

The station knows no phases and no files: the conductor tells it when the plan starts, and takes its records. Everything here runs in
gevent's loop; what was read is folded in bulk, so nothing is done per frame but the fleet's own few steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
import numpy as np
from gevent import get_hub, monkey

from harness.load.digest import PING, Digest, Invalid
from harness.measure.health import HealthSampler, StallMeter
from harness.measure.histogram import Histogram
from harness.measure.ledger import Audience, Finding, Ledger, Settled
from harness.measure.plan import VotePlan
from harness.net.fleet import Batch, Closed, Fleet
from harness.net.handshake import Opened, Refused, open_websocket
from harness.target import Session, Target
from schemas import Limits, load_contract

__all__ = ["Deliveries", "PlanStart", "Station", "Timing"]

HANDSHAKE_SECONDS = 10.0

_PONG = b'{"type":"PONG"}'
_STALL_PERIOD = 0.02
_FOLD_PERIOD = 0.1
_NAP = 0.002
_NAMED = 50
_SPARE_SLOTS = 64
_FINDINGS = 200


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the account waits, seconds. See `harness.measure.ledger`."""

    patience: float
    linger: float
    horizon: float


@dataclass(frozen=True, slots=True)
class PlanStart:
    """The plan and when it starts (ns since the epoch), as every process of a run learns it."""

    plan: VotePlan
    epoch: int
    worker: int
    workers: int
    exclusion: str

    def due(self, n: int) -> int:
        """ns since the epoch."""
        return self.epoch + round(self.plan.offset(n) * 1e9)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What Locust's own statistics are fed with: `ms` and `bytes` of the deliveries since the last tick, by message type."""

    ms: np.ndarray
    counts: Mapping[str, int]
    bytes: int


@dataclass(slots=True)
class _Interval:
    """Sums of the folds since the last tick; `latency` in ns, `broken` by message number."""

    frames: int = 0
    bytes: int = 0
    reads: int = 0
    shared: int = 0
    parsed: int = 0
    invalid: int = 0
    unmatched: int = 0
    types: dict[str, int] = field(default_factory=dict)
    latency: list[np.ndarray] = field(default_factory=list)
    broken: dict[int, tuple[Invalid, set[int]]] = field(default_factory=dict)

    def add(self, batch: Batch, latency: np.ndarray, types: Mapping[str, int]) -> None:
        self.frames += len(batch.message)
        self.bytes += batch.bytes
        self.reads += batch.reads
        self.shared += batch.shared
        self.parsed += batch.parsed
        self.latency.append(latency)
        for name, count in types.items():
            self.types[name] = self.types.get(name, 0) + count


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
        self._start: PlanStart | None = None
        self._audiences: dict[str, Audience] = {}
        self._ledger, self._digest = self._account(None)
        self._fleet = Fleet(
            monkey.get_original("select", "epoll")(),
            digest=lambda payload: self._digest(payload),
            replies={PING: _PONG},
            violation=self._on_violation,
        )
        self._latency, self._lag = Histogram(), Histogram()
        self._violations: list[tuple[int, str]] = []
        self._counters = {"opened": 0, "refused": 0, "closed": 0}
        self._records: list[dict[str, Any]] = []
        self._interval = _Interval()
        self._findings = 0
        self._unmatched = 0
        self.frames = 0
        self.casting_over = False  # then no broadcast of a later cast is to be expected
        self.opened = 0
        self.refused = 0
        self.slips: list[float] = []  # microseconds, of the casts since the last tick
        self._health = HealthSampler(time.monotonic())
        self._stalls = StallMeter(time.monotonic(), _STALL_PERIOD)
        self._greenlets = [gevent.spawn(loop) for loop in (self._react, self._fold_often, self._watch_stalls)]

    def _account(self, start: PlanStart | None) -> tuple[Ledger, Digest]:
        timing = self._timing
        above_cap = start is not None and start.plan.rate > self.limits.broadcasts_per_second
        ledger = Ledger(
            slots=self._slots,
            features=len(start.plan.features) if start else 1,
            due=start.due if start else lambda n: 0,
            audience=self._audience,
            patience=round(timing.patience * 1e9),
            linger=round(timing.linger * 1e9),
            horizon=round(timing.horizon * 1e9),
            merges_every=len(start.plan.features) if start and above_cap else 0,
        )
        return ledger, Digest(ledger, start.plan if start else None, start.epoch if start else 0, time.time_ns)

    @property
    def limits(self) -> Limits:
        return self._target.limits

    # -- viewers

    def connect(self) -> int:
        """Open the next viewer's socket; blocks this greenlet. Returns its slot, or raises ConnectionError saying why there is none."""
        slot = len(self._holders)
        if slot >= self._slots:
            raise ConnectionError(f"this process can open {self._slots} sockets and has opened them all")
        session = self._sessions[(slot * self._workers + self.worker) % len(self._sessions)]
        self._holders.append(session)
        outcome = open_websocket(
            self._target.ws_url,
            headers=self._target.handshake_headers(session),
            origin=self._target.origin,
            timeout=HANDSHAKE_SECONDS,
            tls=self._target.tls_context(),
        )
        if isinstance(outcome, Refused):
            self._counters["refused"] += 1
            self.refused += 1
            raise ConnectionError(f"{outcome.status or outcome.phase}: {outcome.problem}")
        self._counters["opened"] += 1
        self.opened += 1
        self._viewers[slot] = _Viewer(slot, session, outcome)
        self._ledger.join(slot, time.time_ns())
        outcome.sock.setblocking(False)
        self._fleet.add(outcome.sock, slot, outcome.leftover)
        return slot

    def disconnect(self, slot: int) -> None:
        """Let go of a viewer's socket; a socket that already ended is only closed."""
        viewer = self._viewers.pop(slot, None)
        if viewer is not None:
            self._ledger.leave(slot, time.time_ns())
            self._fleet.remove(viewer.opened.sock)
            viewer.opened.close()

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
        self._name_broken(time.time_ns())  # the new digest numbers its messages anew
        self._start = start
        self._slots = len(self._holders) + _SPARE_SLOTS
        self._audiences.clear()
        self._ledger, self._digest = self._account(start)
        self._fleet.forget()
        for slot in self._viewers:
            self._ledger.join(slot, 0)

    def _audience(self, n: int) -> Audience:
        start = self._start
        if start is None:
            return Audience()
        voter = start.plan.cast(n).voter
        audience = self._audiences.get(voter)
        if audience is None:
            casting = self.voter_sessions().get(voter)
            same_session = [s for s, held in enumerate(self._holders) if casting is not None and held.value == casting.value]
            same_user = [s for s, held in enumerate(self._holders) if held.user_id == voter]
            if start.exclusion == "user":
                audience = Audience(excluded=np.array(same_user, np.int32))
            elif start.exclusion == "session":
                audience = Audience(excluded=np.array(same_session, np.int32))
            else:
                audience = Audience(optional=np.array(same_user, np.int32))
            self._audiences[voter] = audience
        return audience

    def voter_sessions(self) -> dict[str, Session]:
        """The session with which each user votes: the first that the profile names of that user."""
        first: dict[str, Session] = {}
        for session in self._sessions:
            if session.user_id is not None:
                first.setdefault(session.user_id, session)
        return first

    @property
    def settled(self) -> bool:
        """True when every broadcast that is due has reached all who must get it."""
        return self._ledger.complete

    # -- the loop

    def _react(self) -> None:
        hub = get_hub()
        readable = hub.loop.io(self._fleet.fileno(), 1)
        while True:
            hub.wait(readable)
            self._fleet.drain()
            if self._fleet.stamped:
                gevent.sleep(_NAP)  # the kernel has stamped what comes meanwhile: fewer, fuller rounds cost less

    def _fold_often(self) -> None:
        while True:
            gevent.sleep(_FOLD_PERIOD)
            self._fold()

    def _watch_stalls(self) -> None:
        while True:
            gevent.sleep(_STALL_PERIOD)
            self._stalls.tick(time.monotonic())

    def _on_violation(self, slot: int, text: str) -> None:
        self._violations.append((slot, text))

    def shut(self) -> None:
        """Stop reading; nothing is sent."""
        gevent.killall(self._greenlets)
        for slot in list(self._viewers):
            self.disconnect(slot)

    # -- evidence

    def _fold(self) -> None:
        """Account for what was read since the last fold. Ten times a second: what piles up meanwhile is read late."""
        batch, ended = self._fleet.take()
        start = self._start
        if start is not None and not self.casting_over:
            due = (time.time_ns() - start.epoch) / 1e9 * start.plan.rate
            self._ledger.open(min(max(0, int(due) + 1), start.plan.count))
        n = self._ledger.deliver(batch.slot, batch.message, batch.arrived)
        latency = self._latencies(batch, n)
        self._latency.record(latency / 1e3)
        self._lag.record(batch.lag / 1e3)
        self._on_ends(ended)
        self._interval.add(batch, latency, self._digest.count(batch.message))
        self._interval.invalid += int(np.count_nonzero(self._digest.bad(batch.message)))
        for invalid in self._digest.invalid:
            self._interval.broken.setdefault(invalid.message, (invalid, set()))
        self._digest.invalid.clear()
        for message, (_, slots) in self._interval.broken.items():
            slots.update(batch.slot[batch.message == message].tolist())
        if start is not None:
            self._interval.unmatched += int(np.count_nonzero((n < 0) & self._digest.is_vote(batch.message)))

    def tick(self, *, final: bool = False) -> Deliveries:
        """Turn what was read since the last tick into records (see `take_records`); returns what Locust is to be told."""
        self._fold()
        now = time.time_ns()
        settled, findings = self._ledger.settle(now, final=final)
        self._name_broken(now)
        interval, self._interval = self._interval, _Interval()
        self._write_settled(settled)
        self._write_findings(interval, findings, now)
        self._write_second(interval, now)
        ms = np.concatenate(interval.latency) / 1e6 if interval.latency else np.empty(0)
        return Deliveries(ms, interval.types, interval.bytes)

    def _latencies(self, batch: Batch, n: np.ndarray) -> np.ndarray:
        """Headline latency (arrived less due) in ns of the deliveries of the steady phase."""
        start = self._start
        if start is None:
            return np.empty(0)
        steady = n >= start.plan.steady_from
        due = start.epoch + n[steady] * (1e9 / start.plan.rate)
        return np.asarray(batch.arrived[steady] - due)

    def _on_ends(self, ended: list[Closed]) -> None:
        for end in ended:
            self._ledger.leave(end.slot, end.at)
            self._counters["closed"] += 1
            viewer = self._viewers.pop(end.slot, None)
            if viewer is not None:
                viewer.opened.close()
            if end.by == "server":
                self._records.append(
                    {
                        "kind": "closed",
                        "worker": self.worker,
                        "t": end.at / 1e9,
                        "viewer": self._name(end.slot),
                        "code": end.code,
                        "reason": end.reason[:120],
                        "by": end.by,
                    }
                )

    def _name(self, slot: int) -> str:
        return f"w{self.worker}-{slot}"

    def _write_settled(self, settled: list[Settled]) -> None:
        carried = [row for row in settled if row.into is not None]
        if carried:
            n, into = [row.n for row in carried], [row.into for row in carried]
            self._records.append({"kind": "coalesced", "worker": self.worker, "n": n, "into": into})
        rows = [row for row in settled if row.into is None]
        if rows:
            seconds = {key: [_seconds(getattr(row, key)) for row in rows] for key in ("stamped", "first", "last")}
            counts = ("n", "expected", "delivered", "lost", "duplicated", "reordered", "misdirected")
            columns = {key: [getattr(row, key) for row in rows] for key in counts}
            self._records.append({"kind": "broadcasts", "worker": self.worker, **columns, **seconds})

    def _name_broken(self, now: int) -> None:
        for invalid, slots in self._interval.broken.values():
            self._finding("invalid", None, sorted(slots), len(slots), f"{invalid.text}: {invalid.example}", now)
        self._interval.broken.clear()

    def _write_findings(self, interval: _Interval, findings: list[Finding], now: int) -> None:
        for finding in findings:
            self._finding(finding.what, finding.n, finding.slots, finding.total, "", now)
        for slot, text in self._violations:
            interval.invalid += 1
            self._finding("invalid", None, [slot], 1, text, now)
        self._violations.clear()
        if interval.unmatched:
            self._unmatched += interval.unmatched
            record = {"kind": "unmatched", "worker": self.worker, "t": now / 1e9, "frames": interval.unmatched}
            self._records.append({**record, "example": self._digest.unmatched})

    def _finding(self, what: str, n: int | None, slots: Sequence[int], total: int, detail: str, now: int) -> None:
        self._findings += 1
        if self._findings > _FINDINGS:  # the sums in `broadcasts` go on; only the naming ends
            return
        viewers = [self._name(slot) for slot in slots[:_NAMED]]
        record = {"kind": "finding", "worker": self.worker, "t": now / 1e9, "what": what, "n": n, "viewers": viewers, "total": total}
        self._records.append({**record, "detail": detail})

    def _write_second(self, interval: _Interval, now: int) -> None:
        health = self._health.sample(time.monotonic())
        self.frames += interval.frames
        self._records.append(
            {
                "kind": "second",
                "worker": self.worker,
                "t": now / 1e9,
                "open": len(self._fleet),
                **self._counters,
                "frames": interval.frames,
                "bytes": interval.bytes,
                "reads": interval.reads,
                "shared_reads": interval.shared,
                "parsed": interval.parsed,
                "stamped": self._fleet.stamped,
                "types": interval.types,
                "invalid": interval.invalid,
                "latency": self._latency.encode(),
                "lag": self._lag.encode(),
                "slip": _histogram(self.slips).encode(),
                "cpu": health.cpu,
                "host_cpu": health.host_cpu,
                "loop_stall": self._stalls.take(time.monotonic()),
            }
        )
        self._latency, self._lag = Histogram(), Histogram()
        self._counters = dict.fromkeys(self._counters, 0)
        self.slips.clear()

    def totals(self) -> dict[str, int]:
        """Sums for the journal's footer."""
        return {**asdict(self._ledger.totals), "unmatched": self._unmatched, "frames": self.frames}

    def take_records(self) -> list[dict[str, Any]]:
        """Journal records since the last call, in order."""
        records, self._records = self._records, []
        return records


def _histogram(microseconds: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(microseconds, np.float64))
    return histogram


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
