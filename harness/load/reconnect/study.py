"""Leads the study through its cells, one after the other, and writes the journal.

Of each cell: the stage is set, the clients connect, the blow falls, the outage ends, and it goes on until every client is back or has
given up for good. Whatever ends the study early goes through the same `finish`; what our own side cannot do ends it as a problem.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import get_hub, monkey

from harness.errors import HarnessError, JournalFull, RunInvalid, UsageError
from harness.figure_names import study_figures
from harness.journal import Journal
from harness.load.reconnect.blows import Blow, blow_for
from harness.load.reconnect.dialer import Route
from harness.load.reconnect.ground import Ground, HookGround, OwnGround
from harness.load.reconnect.notes import Notes
from harness.load.reconnect.opening import check_machine, deal_sessions, header
from harness.load.reconnect.plan import Cell, Order, scaled_rules
from harness.load.reconnect.resync import Resync
from harness.load.reconnect.sitting import Sitter
from harness.load.reconnect.swarm import Page, Swarm
from harness.load.reconnect.watch import Watch
from harness.measure.backoff import ReconnectingClient, client_model, rng_of
from harness.measure.clock import ClockWatch, read_clocks
from harness.run_folder import RunFolder, forget_unbegun, new_run_folder
from harness.target import Session, reach
from harness.terminal import Teller
from harness.thresholds import keep_thresholds, read_thresholds
from schemas import load_contract

__all__ = ["Study", "Watcher"]

Watcher = Callable[[Mapping[str, Any]], None]

_IDLE = 0.05
_POLL = 0.02
_ARRIVALS_PER_SECOND = 500.0
_STAGE_SECONDS = 30.0
_QUIET = 0.3  # seconds between the last client's connection and the blow, and between two cells
_LINGER = 1.0  # seconds that a settled cell is watched on
_ENOUGH = 0.99  # of the clients have to be connected when the blow falls
_FLUSH_PERIOD = 1.0
_CLOCK_TOLERANCE = 0.05


class Study:
    """One run. `teller` speaks to the user; `count` is told of each dial for Locust's statistics: name, milliseconds, error.

    `watch` is given the run folder, and answers what is to see each record as it is written, for a view of the run while it goes on.
    """

    def __init__(
        self,
        order: Order,
        teller: Teller,
        count: Callable[[str, float, str | None], None],
        watch: Callable[[Path], Watcher] = lambda _: _nobody,
    ) -> None:
        self.order, self._teller, self._count = order, teller, count
        self.folder = RunFolder(order.folder or new_run_folder(order.reports, "reconnect", time.time()))
        try:
            self._begin(watch)
        except HarnessError as error:
            if order.target or isinstance(error, UsageError):  # else our server's log is there, and the error names it
                forget_unbegun(self.folder.path)
            raise

    def _begin(self, watch: Callable[[Path], Watcher]) -> None:
        order, tell = self.order, self._teller.say
        if order.thresholds is not None:
            read_thresholds(order.thresholds).check(study_figures(order.causes, order.models))
            keep_thresholds(order.thresholds, self.folder.path)
        self._contract, self._cells = load_contract(), sum(1 for _ in order.cells())
        check_machine(order, self.folder.path, tell)
        self._ground: Ground = HookGround(order) if order.target else OwnGround(order, self.folder.server_log)
        self._greenlets: list[Any] = []
        self._failure: BaseException | None = None
        self._present: Swarm | None = None
        self._writing: HarnessError | None = None
        self._offset = time.time() - time.monotonic()
        self._clock = ClockWatch(read_clocks(), _CLOCK_TOLERANCE)
        self.exit_code: int | None = None
        self.finished = False
        try:
            reach(self._ground.target)
            self._sessions = deal_sessions(self._ground.target, order)
            self._journal, self._watcher = Journal(self.folder.path), watch(self.folder.path)
            self._write(header(order, self._ground, self.folder.path.name))
        except BaseException:
            self._ground.close()
            raise

    # -- the cells

    def run(self) -> None:
        """All cells. Never raises for what the target, the disk or this machine does."""
        try:
            for cell in self.order.cells():
                self._cell(cell)
                if self._writing is not None:
                    break
        except HarnessError as error:
            self._teller.insist(str(error))
            self._event("problem", {"text": str(error)})
            self.finish("problem")
        else:
            self.finish("problem" if self._writing is not None else "completed")

    def _cell(self, cell: Cell) -> None:
        described = {"number": cell.number, "cause": cell.cause, "outage": cell.outage, "model": cell.model}
        reason = self._ground.cannot(cell.cause)
        spend = self._sessions.spent[self.order.models.index(cell.model)]
        if reason is None and cell.cause == "expired" and not spend:
            reason = "the profile has no sessions to spare: revoking uses them up"
        if reason is not None:
            self._write({"kind": "skipped", "t": time.time(), **described, "reason": reason})
            return
        self._teller.say(f"{cell.number + 1} of {self._cells}: {cell.name}")
        self._write({"kind": "cell", "t": time.time(), **described, "clients": self.order.clients})
        blow = blow_for(cell, self._ground, self._sessions.shared, spend, self.folder.server_log, self._sit)
        notes = Notes(cell.number, self._wall)
        swarm: Swarm | None = None
        watch: Watch | None = None
        try:
            try:
                route = blow.set_stage()
            except RunInvalid as error:  # this cause cannot be tried; the others can
                self._event("unready", {"cell": cell.number, "why": error.what})
                return
            swarm = self._swarm(self._models(cell), route, blow.sessions, notes, cell.number)
            watch = Watch(swarm, notes, self._route_address(), lambda: self._ground.pid)
            self._spawn(watch.run, self._write)
            self._spawn(Resync(self._ground.target, swarm, blow.sessions, notes).run)
            self._present = swarm
            self._play(cell, blow, swarm, notes)
        finally:
            self._present = None
            self._end_cell(swarm, notes)
            blow.clear()
        gevent.sleep(_QUIET)

    def _end_cell(self, swarm: Swarm | None, notes: Notes) -> None:
        gevent.killall(self._greenlets)
        self._greenlets.clear()
        if swarm is not None:
            swarm.shut()
        self._flush(notes)

    def _play(self, cell: Cell, blow: Blow, swarm: Swarm, notes: Notes) -> None:
        clients, number = self.order.clients, cell.number
        spread = clients / _ARRIVALS_PER_SECOND
        if not blow.arrives:
            swarm.arrive(_evenly(time.monotonic(), spread, clients))
            self._until(lambda: swarm.holding == clients or swarm.idle, spread + _STAGE_SECONDS, notes)
            gevent.sleep(_QUIET)
            if swarm.holding < _ENOUGH * clients:
                self._event("unready", {"cell": number, "holding": swarm.holding, "clients": clients})
                return
        swarm.loyal = True
        struck = time.monotonic()
        self._event("struck", {"cell": number, "at": self._wall(struck), "holding": swarm.holding})
        if blow.arrives:
            swarm.arrive(_evenly(struck, spread, clients))
        blow.strike()
        healed = None
        if cell.outage is not None:
            self._until(lambda: False, struck + cell.outage - time.monotonic(), notes)
            healed = blow.heal()
        self._event("healed", {"cell": number, "at": None if healed is None else self._wall(healed)})
        settled = self._until(lambda: (blow.arrives or swarm.bereft) and swarm.resolved, self._patience(cell), notes)
        self._until(lambda: False, _LINGER * min(1.0, self._ground.scale) + _QUIET, notes)
        self._event("settled", {"cell": number, "complete": settled, "holding": swarm.holding, "sockets": swarm.sockets})

    def _patience(self, cell: Cell) -> float:
        """Seconds after which a cell that has not settled is left as it is: twice what the slowest client may take."""
        rules = scaled_rules(self._contract.client, self._ground.scale)
        seconds = 2 * sum(min(rules.reconnect_base * 2**n, rules.reconnect_cap) for n in range(rules.reconnect_attempts))
        seconds += self._page().patience
        if cell.cause == "silent":
            seconds += rules.unsolicited_pong_every
        if cell.cause == "expired":
            seconds += self._ground.target.limits.revalidate_every
        return seconds

    # -- the clients

    def _page(self) -> Page:
        scale = self._ground.scale
        return Page(scaled_rules(self._contract.client, scale).unsolicited_pong_every, self._contract.benchmark.reconnect_latest * scale)

    def _models(self, cell: Cell) -> list[ReconnectingClient]:
        rules, normal = scaled_rules(self._contract.client, self._ground.scale), self._contract.close.normal
        made = (rng_of(self.order.seed, cell.number, n) for n in range(self.order.clients))
        return [client_model(cell.model, rules, normal, rng) for rng in made]

    def _sit(self, count: int, route: Route) -> Swarm:
        """Sockets that only take places."""
        swarm = self._swarm([Sitter()] * count, route, self._sessions.shared, Notes(-1, self._wall), -1)
        swarm.arrive(_evenly(time.monotonic(), count / _ARRIVALS_PER_SECOND, count))
        return swarm

    def _swarm(
        self, clients: Sequence[ReconnectingClient], route: Route, sessions: Sequence[Session], notes: Notes, cell: int
    ) -> Swarm:  # fmt: skip
        target = self._ground.target
        plain = monkey.get_original("socket", "socket")
        swarm = Swarm(
            clients,
            [route.request(target.handshake_headers(session), target.origin) for session in sessions],
            route,
            self._page(),
            make_poll=monkey.get_original("select", "epoll"),
            make_socket=lambda family: plain(family, socket.SOCK_STREAM),
            clock_ns=time.monotonic_ns,
            notes=notes,
            rng=random.Random(f"{self.order.seed}/{cell}"),
        )
        self._spawn(_drive, swarm)
        return swarm

    def _spawn(self, what: Callable[..., None], *arguments: Any) -> None:
        greenlet = gevent.spawn(what, *arguments)
        greenlet.link_exception(self._fail)
        self._greenlets.append(greenlet)

    def _fail(self, greenlet: Any) -> None:
        self._failure = greenlet.exception

    # -- waiting

    def _until(self, condition: Callable[[], bool], seconds: float, notes: Notes) -> bool:
        """Wait until the condition holds, at most so long; what was noted meanwhile is written. Raises RuntimeError when a loop died."""
        deadline = time.monotonic() + seconds
        flush = 0.0
        while not condition():
            now = time.monotonic()
            if self._failure is not None:
                raise RuntimeError("a loop of the study has died") from self._failure
            if now >= flush:
                flush = now + _FLUSH_PERIOD
                self._flush(notes)
                if self._present is not None:
                    self._teller.passing(f"{self._present.holding} of {self.order.clients} clients connected")
                step = self._clock.check(read_clocks())
                if step is not None:
                    self._event("clock_step", {"seconds": step})
            if now >= deadline:
                return False
            gevent.sleep(max(0.0, min(_POLL, deadline - now)))
        return True

    # -- the journal

    def _wall(self, at: float) -> float:
        return round(at + self._offset, 6)

    def _event(self, name: str, detail: dict[str, Any] | None = None) -> None:
        self._write({"kind": "event", "t": time.time(), "worker": 0, "name": name, "detail": detail or {}})

    def _flush(self, notes: Notes) -> None:
        for record in notes.take():
            self._write(record)
            if record["kind"] == "attempts":
                rows = zip(record["started"], record["ended"], record["outcome"], record["status"], strict=True)
                for started, ended, outcome, status in rows:
                    self._count("handshake", (ended - started) * 1e3, None if outcome == "opened" else f"{status or outcome}")

    def _write(self, record: dict[str, Any]) -> None:
        self._watcher(record)
        try:
            self._journal.write(record)
        except JournalFull as error:
            self._writing = self._writing or error

    def finish(self, reason: str) -> None:
        """End the server, close the journal, have it judged and reported. A second call does nothing."""
        if self.finished:
            return
        self.finished = True
        gevent.killall(self._greenlets)
        if reason == "stopped":
            self._event("stopped")
        self._ground.close()
        footer = {"kind": "footer", "ended": time.time(), "reason": reason, "totals": {}}
        self._watcher(footer)
        try:
            self._journal.close(footer)
        except JournalFull as error:
            self._writing = self._writing or error
        self._teller.clear()
        # Analysis and report in a process of their own: they read the run folder and nothing else.
        done = subprocess.run([sys.executable, "-m", "harness.cli", "report", str(self.folder.path)], check=False, stdin=subprocess.DEVNULL)
        self.exit_code = int(self._writing.exit_code) if self._writing is not None else done.returncode
        if self._writing is not None:
            self._teller.insist(str(self._writing))

    def _route_address(self) -> tuple[str, int]:
        address = urlsplit(self._ground.target.ws_url)
        return address.hostname or "", address.port or (443 if address.scheme == "wss" else 80)


def _nobody(_: Mapping[str, Any]) -> None:
    pass


def _evenly(start: float, seconds: float, count: int) -> list[float]:
    return [start + seconds * n / count for n in range(count)]


def _drive(swarm: Swarm) -> None:
    """Gevent's loop wakes the swarm when a socket is ready or something is due."""
    hub = get_hub()
    readable = hub.loop.io(swarm.fileno(), 1)
    try:
        while True:
            swarm.step(time.monotonic())
            deadline = swarm.deadline()
            wait = _IDLE if deadline is None else min(_IDLE, deadline - time.monotonic())
            if wait <= 0:
                gevent.sleep(0)
                continue
            with gevent.Timeout(wait, False):
                hub.wait(readable)
    finally:
        readable.close()
