"""A process that carries load: a Locust worker, or the only process of a local run.

It obeys four messages of the conductor (plan, act, finish, saved) and sends its evidence once a second. The last flush is
acknowledged: a worker whose evidence was not saved says so instead of leaving quietly.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import Any

import gevent
from gevent.event import Event
from locust.runners import WorkerRunner

from harness.errors import ExitCode, HarnessError
from harness.load.caster import Caster
from harness.load.messages import ACT, EVIDENCE, FINISH, FLUSHED, PLAN, PROBLEM, SAVED
from harness.load.settings import Settings
from harness.load.shape import Shape
from harness.load.station import OwnLimit, PlanStart, Station, Timing
from harness.load.stats import feed
from harness.measure.limits import raise_descriptors
from harness.measure.pauses import Pauses
from harness.measure.plan import VotePlan
from harness.target import Target, load_target
from schemas import load_contract

__all__ = ["Member"]

_LOG = logging.getLogger("roadmap")

_MOST_SOCKETS = 20_000
_MOST_OPENINGS = 200_000
_SPARE_DESCRIPTORS = 512
_RAMP_TICK = 0.25
_TICK = 1.0
_CLOSE_SECONDS = 3.0
_LAST_SECONDS = 1.0
_LINGER = 2.0  # seconds that a complete broadcast stays open for duplicates
_HORIZON = 30.0  # seconds after which a missing delivery is lost
_SAVED_SECONDS = 15.0


class Member:
    """One process's part in one run: number `worker` of the `workers` that were expected."""

    def __init__(self, environment: Any, shape: Shape, settings: Settings, worker: int, workers: int) -> None:
        self.environment, self.runner, self.settings, self.worker = environment, environment.runner, settings, worker
        self.workers, self._shape = workers, shape
        self.over = Event()
        self.state: Any = None  # what the scenario's acts keep between them
        self.status: dict[str, int | float | bool] = {}  # what they tell the conductor with every report
        self.station: Station | None = None
        self.target: Target | None = None
        self._caster: Caster | None = None
        self._saved = Event()
        self._finished = False
        self._loop: Any = None
        self._pauses = Pauses()

    # -- life

    def start(self) -> None:
        """Get ready to open sockets. What goes wrong is reported to the conductor."""
        try:
            descriptors = raise_descriptors(_SPARE_DESCRIPTORS)
            # Where nothing is cast, sockets come and go, and many more are opened than are ever open.
            capacity = min(descriptors, _MOST_SOCKETS) if self._shape.casts else _MOST_OPENINGS
            self.target = target = load_target(self.settings.target)
            timing = Timing(load_contract().benchmark.latency, _LINGER, _HORIZON)
            sessions = target.available_sessions(_MOST_SOCKETS)
            place = (self.worker, self.workers)
            self.station = Station(target, sessions, place=place, capacity=capacity, timing=timing)
            self.station.merges = self._shape.merges
            self._shape.start(self)
        except HarnessError as error:
            self.problem(str(error), error.exit_code)
            return
        self._pauses.watch()
        self._loop = gevent.spawn(self._report_each_second)

    def begin(self, data: dict[str, Any]) -> None:
        """The conductor's plan has come."""
        if self.station is None or self.target is None:
            return
        # What lives by now lives to the end: a full collection of it would stop the reading for tens of milliseconds, again and again.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        planning = self._shape.plan
        plan = planning.read(data["plan"]) if planning else VotePlan.of(data["plan"])
        start = PlanStart(plan, data["epoch"], data["order"].get(str(self.worker), 0), len(data["order"]), data["exclusion"])
        if planning is not None and planning.carry is not None:
            self._caster = planning.carry(self, start)
            return
        self.station.begin(start)
        self._caster = Caster(self.target, self.station, start, self.report_call)

    def act(self, data: dict[str, Any]) -> None:
        """The conductor calls for one of the scenario's own acts."""
        if self.station is None or self._finished:
            return
        try:
            self._shape.acts[data["name"]](self, data["data"])
        except Exception as error:
            _LOG.exception("this process could not do what the scenario asks of it")
            self.problem(f"{data['name']}: {type(error).__name__}: {error}", ExitCode.INVALID)

    def finish(self) -> None:
        """Stop casting, end the connections, and hand over everything that is left."""
        if self._finished:
            return
        self._finished = True
        if self._loop is not None:
            self._loop.kill()
        totals: dict[str, int] = {}
        try:
            totals = self._wind_down()
        except Exception as error:
            _LOG.exception("this process could not hand over all of its evidence")
            self.problem(f"evidence is missing ({type(error).__name__}: {error})", ExitCode.INVALID)
        self._pauses.ignore()
        self._push_stats()
        self.runner.send_message(FLUSHED, {"worker": self.worker, "totals": totals})
        self.over.set()

    def _wind_down(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        if self.station is not None:
            if self._caster is not None:
                self._caster.stop()
                self._await_last_deliveries()
            self._send(final=True)
            self.station.close_all(_CLOSE_SECONDS)
            self._send(final=True)
            totals = self.station.totals()
            self.station.shut()
        return totals

    def problem(self, text: str, code: ExitCode) -> None:
        """Tell the conductor that this process cannot do its part: the run ends."""
        self.runner.send_message(PROBLEM, {"worker": self.worker, "text": text, "code": int(code)})

    def _await_last_deliveries(self) -> None:
        """A run that is stopped in mid-flight still gets what was on its way."""
        deadline = time.monotonic() + _LAST_SECONDS
        while self.station is not None and time.monotonic() < deadline:
            self._send()
            if self.station.settled:
                return
            gevent.sleep(_LAST_SECONDS / 10)

    def saved(self) -> None:
        """The conductor has everything."""
        self._saved.set()

    def wait_saved(self) -> bool:
        """Before the process ends: is the evidence safe?"""
        return bool(self._saved.wait(_SAVED_SECONDS))

    # -- evidence

    def _report_each_second(self) -> None:
        try:
            while True:
                gevent.sleep(_RAMP_TICK if self._caster is None else _TICK)
                self._send()
        except Exception as error:
            _LOG.exception("this process cannot go on measuring")
            self.problem(f"{type(error).__name__}: {error}", ExitCode.INVALID)

    def tick(self) -> None:
        """Fold what was read since the last tick into Locust's statistics (called before each of its reports)."""
        if self.station is not None and not self._finished:
            feed(self.runner.stats, self.station.tick())

    def _send(self, *, final: bool = False) -> None:
        station, caster = self.station, self._caster
        if station is None:
            return
        feed(self.runner.stats, station.tick(final=final))
        pause = self._pauses.take()
        records = station.evidence.take()
        if pause is not None:
            records.append({**pause.record(), "worker": self.worker})
        if caster is not None:
            records += caster.take_records()
        status = {
            "open": station.open,
            "opened": station.evidence.opened,
            "refused": station.evidence.refused,
            "done": caster is not None and caster.done,
            "settled": caster is not None and caster.done and station.settled,  # it looks at every open broadcast: not while they come
            **self.status,
        }
        self.runner.send_message(EVIDENCE, {"worker": self.worker, "records": records, "status": status})

    @property
    def finishing(self) -> bool:
        """Whether this process's part is over: nothing new is to be begun."""
        return self._finished

    def _push_stats(self) -> None:
        """In a worker: a last report of Locust's own statistics, ahead of our last message."""
        if isinstance(self.runner, WorkerRunner):
            data: dict[str, Any] = {}
            self.environment.events.report_to_master.fire(client_id=self.runner.client_id, data=data)
            self.runner.send_message("stats", data)

    def report_call(self, name: str, ms: float, size: int, error: str | None) -> None:
        """Tell Locust of a call; see `caster.Report`."""
        self.environment.events.request.fire(
            request_type="HTTP",
            name=name,
            response_time=ms,
            response_length=size,
            exception=RuntimeError(error) if error else None,
            context={},
        )

    # -- viewers

    def connect(self) -> int | None:
        """Open one viewer's socket, and tell Locust how it went."""
        if self.station is None:
            return None
        began = time.perf_counter()
        slot, problem = None, None
        try:
            slot = self.station.connect()
        except ConnectionError as error:
            problem = error
        except OwnLimit as error:
            self.problem(f"this host could not open another connection ({error})", ExitCode.INVALID)
            return None
        except Exception as error:
            _LOG.exception("a viewer could not be connected, and not because of the target")
            self.problem(f"a viewer could not be connected: {type(error).__name__}: {error}", ExitCode.INVALID)
            return None
        self.environment.events.request.fire(
            request_type="WS",
            name="connect",
            response_time=(time.perf_counter() - began) * 1e3,
            response_length=0,
            exception=problem,
            context={},
        )
        return slot


def listen(runner: Any, member: Member) -> None:
    """Have the conductor's messages reach `member`; it stands for the newest run of this process."""
    runner.custom_messages[PLAN] = (lambda environment, msg, **_: member.begin(msg.data), False)
    runner.custom_messages[ACT] = (lambda environment, msg, **_: member.act(msg.data), True)
    runner.custom_messages[FINISH] = (lambda environment, msg, **_: member.finish(), True)
    runner.custom_messages[SAVED] = (lambda environment, msg, **_: member.saved(), False)
