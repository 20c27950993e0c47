"""Leads a run through the phases that its scenario names, in Locust's master or in the only process, and then to its end.

It alone writes the journal. Whatever ends the run early (the user, the target, a lost worker, a full disk) goes through the same
`finish`, so everything that was seen is kept and the footer says why it ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import gevent
from gevent import get_hub, monkey
from gevent.lock import RLock

from harness.errors import HarnessError, JournalFull
from harness.journal import Journal
from harness.load.facts import header
from harness.load.messages import ACT, FINISH, PLAN, SAVED
from harness.load.prepare import Prepared, target_answers
from harness.load.settings import Settings
from harness.load.shape import Shape
from harness.measure.clock import ClockWatch, read_clocks
from harness.measure.plan import Plan
from harness.measure.resources import ProcessProbe, ResourceProbe, Sample
from harness.run_folder import RunFolder
from harness.target import Target
from harness.terminal import Teller

__all__ = ["Conductor", "Timetable"]

Timetable = Sequence[tuple[float, Callable[[], None]]]
"""What is to be done while votes are cast: seconds after the first one is due, in order, and the deed."""

_POLL = 0.05
_LEAD = 1.0  # seconds from telling everybody the plan to its start
_RAMP_GRACE = 60.0
_CAST_GRACE = 30.0
_SILENT = 5.0  # seconds without evidence after which a worker counts as lost
_FLUSH_SECONDS = 20.0
_SAMPLE_PERIOD = 0.25
_SYNC_PERIOD = 1.0
_CLOCK_TOLERANCE = 0.05
_GONE_SECONDS = 1.0
_RESERVE = 16  # descriptors kept for the end: where all others are taken, the run can still be judged


class _Ended(Exception):
    """A phase cannot go on; `reason` is the footer's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Worker:
    """What is known of a process that carries load. `heard` is on the monotonic clock, seconds."""

    heard: float
    status: dict[str, Any] = field(default_factory=dict)
    flushed: bool = False
    totals: dict[str, int] = field(default_factory=dict)


class Conductor:
    """One run. `expected` is how many processes carry load; `missing` tells how many of them Locust has lost.

    `watch` sees each record as it is written, for a view of the run while it goes on.
    """

    def __init__(
        self,
        shape: Shape,
        settings: Settings,
        prepared: Prepared,
        *,
        runner: Any,
        expected: int,
        missing: Callable[[], int],
        probe: ResourceProbe | None,
        teller: Teller,
        watch: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.shape, self.settings, self.folder = shape, settings, RunFolder(prepared.folder)
        self._prepared, self._runner, self._expected, self._missing, self._probe, self._teller = (
            prepared,
            runner,
            expected,
            missing,
            probe,
            teller,
        )
        self._tell = teller.say
        self._journal = Journal(prepared.folder)
        self._reserve = [os.open(os.devnull, os.O_RDONLY) for _ in range(_RESERVE)]
        self._workers: dict[int, _Worker] = {}
        self._clock = ClockWatch(read_clocks(), _CLOCK_TOLERANCE)
        self._finishing = RLock()
        self._lost_connections: float | None = None
        self._problem = False
        self._writing: HarnessError | None = None
        self.error: HarnessError | None = None
        self.exit_code: int | None = None
        self.finished = False
        self._watch = watch or (lambda record: None)
        head = header(shape, settings, prepared, expected)
        self._journal.write(head)
        self._watch(head)
        self._sampler = gevent.spawn(self._sample)
        self._syncer = gevent.spawn(self._sync)

    # -- what the workers say

    def on_evidence(self, data: dict[str, Any]) -> None:
        worker = self._workers.setdefault(data["worker"], _Worker(time.monotonic()))
        worker.heard, worker.status = time.monotonic(), data["status"]
        for record in data["records"]:
            self._write(record)

    def on_flushed(self, data: dict[str, Any]) -> None:
        worker = self._workers.setdefault(data["worker"], _Worker(time.monotonic()))
        worker.flushed, worker.totals = True, data["totals"]

    def on_problem(self, data: dict[str, Any]) -> None:
        self.event("problem", {"text": f"worker {data['worker']}: {data['text']}"})
        self._problem = True

    def event(self, name: str, detail: dict[str, Any] | None = None) -> None:
        self._write({"kind": "event", "t": time.time(), "worker": 0, "name": name, "detail": detail or {}})

    def _write(self, record: dict[str, Any]) -> None:
        if self._journal.closed:
            return  # of a worker that was given up before it answered: the run says so, and judges nobody
        self._watch(record)
        try:
            self._journal.write(record)
        except JournalFull as error:
            self._writing = self._writing or error

    def sum(self, key: str) -> int:
        """A figure of the members' status, all together."""
        return sum(worker.status.get(key, 0) for worker in self._workers.values())

    def all(self, key: str) -> bool:
        """Whether every member's status says so."""
        return len(self._workers) >= self._expected and all(worker.status.get(key) for worker in self._workers.values())

    @property
    def target(self) -> Target:
        return self._prepared.target

    @property
    def plan(self) -> Plan | None:
        """What is to be cast; None where nothing is."""
        return self._prepared.plan

    @property
    def workers(self) -> int:
        """How many processes carry load."""
        return self._expected

    # -- the phases

    def run(self) -> None:
        """All phases. Never raises for what the target, the disk or a worker does."""
        try:
            self.shape.conduct(self)
            self.finish("completed")
        except _Ended as end:
            self.finish(end.reason)

    def tell_all(self, act: str, data: Mapping[str, Any]) -> None:
        """Have every member do the scenario's act of that name."""
        self._runner.send_message(ACT, {"name": act, "data": dict(data)})

    def until(self, condition: Callable[[], bool], seconds: float, progress: Callable[[], str], *, held: bool = False) -> bool:
        """Wait for the condition, at most so long; answers whether it came. What must end the run ends it here, `held` connections that
        are all gone too."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self._step(progress)
            if held:
                self.check_gone()
        return True

    def wait(self, seconds: float, progress: Callable[[], str], *, held: bool = False) -> None:
        """Let time pass, with an eye on what must end the run."""
        self.until(lambda: False, seconds, progress, held=held)

    def give_up(self, reason: str) -> NoReturn:
        """End the run: the target cannot be measured any more."""
        self.event("target_lost", {"reason": reason})
        raise _Ended("target_lost")

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        """The judged phase of a run that casts nothing: inside it the instrument's own fitness counts."""
        self.event("measure_started")
        yield
        self.event("measure_ended")

    def gather(self) -> None:
        """Wait until every process that carries load has said that it is there: what it is told before that, it does not hear."""
        self.until(lambda: len(self._workers) >= self._expected, _RAMP_GRACE, lambda: f"{len(self._workers)} of {self._expected} processes")

    def ramp(self) -> None:
        """Every viewer comes, at the pace that was asked for."""
        settings = self.settings
        self._tell(f"opening {settings.viewers} connections, {settings.spawn_rate:g} a second")
        self.event("ramp_started")
        deadline = time.monotonic() + settings.viewers / settings.spawn_rate + _RAMP_GRACE
        while self.sum("opened") + self.sum("refused") < settings.viewers and time.monotonic() < deadline:
            self._step(lambda: f"{self.sum('open')} of {settings.viewers} connections open")
            if self.sum("refused") and not self.sum("opened"):
                self.check_gone()
        gevent.sleep(2 * _SAMPLE_PERIOD)
        self.event("ramp_done", {"open": self.sum("open"), "refused": self.sum("refused")})
        if not self.sum("open"):
            self.give_up("no connection could be opened")

    def cast(self, timetable: Timetable = ()) -> None:
        """The plan's votes are cast and their last deliveries waited for; meanwhile the deeds of `timetable` are done."""
        plan = self._prepared.plan
        if plan is None:
            raise RuntimeError("this scenario has no votes to cast")
        epoch = time.time_ns() + round(_LEAD * 1e9)
        order = {str(worker): place for place, worker in enumerate(sorted(self._workers))}
        self._runner.send_message(PLAN, {"plan": plan.parts(), "epoch": epoch, "order": order, "exclusion": self._prepared.exclusion})
        begin = epoch / 1e9
        until = begin + plan.offset(plan.count)
        steady_from = begin + (plan.warmup if plan.uneven else plan.offset(plan.steady_from))
        numbers = {"first": plan.steady_from, "planned": plan.count} if plan.uneven else {}
        self.event("cast_started", {"start": begin, "steady_from": steady_from, "steady_until": until, **numbers})
        total = plan.warmup + plan.duration
        self._tell(f"casting {plan.says} for {total:g} s ({plan.warmup:g} s of them warm-up)")
        deadline, deeds = time.monotonic() + total + _LEAD + _CAST_GRACE, list(timetable)
        while not self.all("done") and time.monotonic() < deadline:
            while deeds and time.time() >= begin + deeds[0][0]:
                deeds.pop(0)[1]()
            self._step(lambda: f"{max(0.0, until - time.time()):.0f} s to go, {self.sum('open')} connections open")
            self.check_gone()
        self.event("cast_ended")
        self.until(lambda: self.all("settled"), self.settings.drain, lambda: "waiting for the last deliveries")
        self.event("drained", {"complete": self.all("settled")})

    def _step(self, progress: Callable[[], str]) -> None:
        """Wait a little; notice what must end the run."""
        gevent.sleep(_POLL)
        now = time.monotonic()
        self._teller.passing(progress())
        if self._writing is not None:
            raise _Ended("problem")
        lost = [number for number, worker in self._workers.items() if now - worker.heard > _SILENT]
        if self._problem:
            raise _Ended("problem")
        if self._missing() or lost:
            self.event("worker_lost", {"worker": lost[0] if lost else None})
            raise _Ended("worker_lost")
        step = self._clock.check(read_clocks())
        if step is not None:
            self.event("clock_step", {"seconds": step})

    def check_gone(self) -> None:
        """End the run when every connection is gone and stays gone: there is nothing left to measure."""
        if self.sum("open"):
            self._lost_connections = None
            return
        now = time.monotonic()
        self._lost_connections = self._lost_connections or now
        if now - self._lost_connections >= _GONE_SECONDS:
            problem = target_answers(self._prepared.target)
            self.give_up(problem or "it ended every connection, though it still accepts new ones")

    # -- beside the phases

    def _sample(self) -> None:
        """The target's resources, four times a second."""
        while self._probe is not None:
            try:
                sample = self._look(self._probe)
            except OSError as error:  # no descriptor left to look with: that says nothing of the target
                self.event("problem", {"text": f"the target's process could not be read any more ({error.strerror})"})
                return
            if sample is None:
                gone = isinstance(self._probe, ProcessProbe)  # the other probes may be what failed, not the target
                self.event("target_exited" if gone else "problem", {"text": self._probe.problem or ""})
                return
            record = {name: getattr(sample, name) for name in ("t", "rss", "pss", "cpu", "descriptors", "threads")}
            self._write({"kind": "target", **record})
            gevent.sleep(_SAMPLE_PERIOD)

    @staticmethod
    def _look(probe: ResourceProbe) -> Sample | None:
        """A process is read in a thread: the kernel takes milliseconds to add up its memory, and frames come meanwhile."""
        if isinstance(probe, ProcessProbe):
            found: Sample | None = get_hub().threadpool.apply(probe.sample, (time.time(),))
            return found
        return probe.sample(time.time())

    def _sync(self) -> None:
        """Bring the journal onto the disk each second, in a thread: a slow disk must not stop the receive path."""
        pool = get_hub().threadpool
        while True:
            gevent.sleep(_SYNC_PERIOD)
            try:
                pool.apply(self._journal.sync, (time.monotonic(),))
            except JournalFull as error:
                self._writing = self._writing or error
                return

    # -- the end

    def finish(self, reason: str) -> None:
        """Collect what is left, close the journal, have it judged and reported. A second call does nothing."""
        with self._finishing:
            if self.finished:
                return
            if reason == "stopped":
                self.event("stopped")
            self._collect()
            gevent.killall([self._sampler, self._syncer])
            self._close("problem" if self._problem else reason)
            self.finished = True
            self._runner.send_message(SAVED, {})
            self._judge()

    def _collect(self) -> None:
        self._runner.send_message(FINISH, {})
        deadline = time.monotonic() + _FLUSH_SECONDS
        while time.monotonic() < deadline:
            waiting = [worker for worker in self._workers.values() if not worker.flushed]
            if not waiting or (self._missing() and all(time.monotonic() - worker.heard > _SILENT for worker in waiting)):
                break
            gevent.sleep(_POLL)
        for number, worker in self._workers.items():
            if not worker.flushed:
                self.event("worker_lost", {"worker": number})

    def _close(self, reason: str) -> None:
        totals: dict[str, int] = {}
        for worker in self._workers.values():
            for name, value in worker.totals.items():
                totals[name] = totals.get(name, 0) + value
        footer = {"kind": "footer", "ended": time.time(), "reason": reason, "totals": totals}
        self._watch(footer)
        try:
            self._journal.close(footer)
        except JournalFull as error:
            self._writing = self._writing or error
        self.error = self._writing

    def _judge(self) -> None:
        """Analysis and report in a process of their own: they read the run folder and nothing else."""
        self._teller.clear()
        while self._reserve:
            monkey.get_original("os", "close")(self._reserve.pop())  # gevent's own is done only later
        command = [sys.executable, "-m", "harness.cli", "report", str(self.folder.path)]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
        self.exit_code = int(self.error.exit_code) if self.error is not None else done.returncode
        if self.error is not None:
            self._teller.insist(str(self.error))
