"""What every scenario shares: its place in Locust's life, from the command line to the exit code.

A scenario file calls `install(shape)` once and defines its users with `Viewer`. Our listeners are registered when the scenario is
imported, that is before Locust registers its own: what we fold into its statistics is in each report that a worker sends.
"""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import gevent
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from harness.errors import ExitCode, HarnessError
from harness.load import messages
from harness.load.conductor import Conductor
from harness.load.interrupt import end_in_order
from harness.load.member import Member, listen
from harness.load.prepare import prepare
from harness.load.settings import Settings, add_arguments
from harness.load.shape import Shape, announce
from harness.load.web import Face
from harness.measure.resources import CommandProbe, ProcessProbe, PrometheusProbe, ResourceProbe
from harness.target import Target
from harness.terminal import Teller

__all__ = ["Viewer", "install"]

_PROBE_SECONDS = 2.0
_LOG = logging.getLogger("roadmap")


class Scenario:
    """The runs of one Locust process: at most one at a time, and a new one for each start."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.environment: Environment | None = None
        self.member: Member | None = None
        self.conductor: Conductor | None = None
        self.face: Face | None = None
        self._leading: Any = None
        self._teller = Teller()

    # -- Locust's events, in the order in which they come

    def on_init(self, environment: Environment, **_: Any) -> None:
        self.environment = environment
        end_in_order()
        runner = environment.runner
        if isinstance(runner, WorkerRunner):
            environment.process_exit_code = int(ExitCode.PASS)  # the master's code is the run's
            return
        if environment.web_ui is not None:
            self.face = Face(environment.web_ui, getattr(environment.parsed_options, "web_base_path", None) or "")
        for name, act in (
            (messages.EVIDENCE, lambda conductor, data: conductor.on_evidence(data)),
            (messages.FLUSHED, lambda conductor, data: conductor.on_flushed(data)),
            (messages.PROBLEM, lambda conductor, data: conductor.on_problem(data)),
        ):
            runner.register_message(name, self._pass_on(act))

    def _pass_on(self, act: Any) -> Any:
        def listener(environment: Environment, msg: Any, **_: Any) -> None:
            if self.conductor is not None:
                act(self.conductor, msg.data)

        return listener

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        runner, options = environment.runner, environment.parsed_options
        self.member = self.conductor = None
        try:
            viewers, spawn_rate = _asked(environment)
            settings = Settings.of(self.shape, options, viewers, spawn_rate)
            if not isinstance(runner, WorkerRunner):
                self._lead(environment, settings)
        except HarnessError as error:
            self._refuse(environment, error)
            return
        if not isinstance(runner, MasterRunner):
            self.member = Member(environment, self.shape, settings, *_place(runner, options))
            listen(runner, self.member)
            self.member.start()
        if self.conductor is not None:
            self._leading = gevent.spawn(self._run, environment, self.conductor)

    def _lead(self, environment: Environment, settings: Settings) -> None:
        runner = environment.runner
        expected = runner.worker_count if isinstance(runner, MasterRunner) else 1
        prepared = prepare(self.shape, settings, expected, _on_this_host(runner))
        for hint in prepared.hints:
            self._teller.say(hint)

        def missing() -> int:
            return expected - runner.worker_count if isinstance(runner, MasterRunner) else 0

        self.conductor = Conductor(
            self.shape,
            settings,
            prepared,
            runner=runner,
            expected=expected,
            missing=missing,
            probe=_probe(prepared.target),
            teller=self._teller,
            watch=self.face.watch(prepared.folder) if self.face is not None else None,
        )

    def _refuse(self, environment: Environment, error: HarnessError) -> None:
        """The run cannot begin: say why, and end (the web UI stays up for another try, and says it too)."""
        environment.process_exit_code = int(error.exit_code)
        if self.face is not None:
            self.face.refuse(error)
        print(f"roadmap-harness: {error}", file=sys.stderr, flush=True)
        gevent.spawn(_leave, environment)

    def _run(self, environment: Environment, conductor: Conductor) -> None:
        try:
            conductor.run()
            environment.process_exit_code = conductor.exit_code
        except Exception:  # our own failure: nothing may be left waiting for a run that nobody leads, and nobody is judged
            _LOG.exception("the harness itself failed; this run was not judged")
            environment.process_exit_code = int(ExitCode.INVALID)
        _leave(environment)

    def on_report(self, **_: Any) -> None:
        """A worker is about to report to the master: what was read until now belongs to it."""
        if self.member is not None:
            self.member.tick()

    def on_stopping(self, environment: Environment, **_: Any) -> None:
        """The test is being stopped: by us after the last phase, or by somebody else before it."""
        self._end_early(environment)
        if self.member is not None and isinstance(environment.runner, WorkerRunner):
            self.member.finish()

    def on_quitting(self, environment: Environment, **_: Any) -> None:
        self._end_early(environment)
        if self.member is not None and isinstance(environment.runner, WorkerRunner):
            self.member.finish()
            if not self.member.wait_saved():
                _LOG.warning("the master did not say that this worker's last evidence is saved")

    def _end_early(self, environment: Environment) -> None:
        conductor = self.conductor
        if conductor is None or conductor.finished or isinstance(environment.runner, WorkerRunner):
            return
        if self._leading is not None and self._leading is not gevent.getcurrent():
            self._leading.kill()
        self._teller.say("stopping: keeping what was measured")
        conductor.finish("stopped")
        environment.process_exit_code = conductor.exit_code


def _on_this_host(runner: Any) -> int:
    """How many of the processes that carry load share this host's ports: a worker's name begins with that of its host."""
    if not isinstance(runner, MasterRunner):
        return 1
    return sum(1 for client in list(runner.clients) if str(client).rpartition("_")[0] == socket.gethostname())


def _place(runner: Any, options: Any) -> tuple[int, int]:
    """(number of this process, how many were expected to carry load)."""
    if not isinstance(runner, WorkerRunner):
        return 0, 1
    worker = max(0, runner.worker_index)
    return worker, max(worker + 1, int(getattr(options, "expect_workers", 1) or 1))


def _asked(environment: Environment) -> tuple[int, float]:
    """Users and spawn rate of this start: the web UI's form wins over the command line."""
    options, runner = environment.parsed_options, environment.runner
    users = getattr(runner, "target_user_count", 0) or getattr(options, "num_users", None) or 1
    return int(users), float(getattr(runner, "spawn_rate", None) or getattr(options, "spawn_rate", None) or 1)


def _leave(environment: Environment) -> None:
    """End the process in a headless run; with the web UI, only the test."""
    runner, options = environment.runner, environment.parsed_options
    if runner is None:
        return
    if environment.web_ui is None or getattr(options, "autostart", False):
        runner.quit()
        if environment.web_ui is not None:
            environment.web_ui.stop()
    else:
        runner.stop()


def _probe(target: Target) -> ResourceProbe | None:
    resources, pid = target.resources, target.resources.find_pid()
    if pid is not None:
        return ProcessProbe(pid)
    if resources.metrics_url is not None:
        return PrometheusProbe(resources.metrics_url, _PROBE_SECONDS)
    return CommandProbe(resources.command, _PROBE_SECONDS) if resources.command else None


_scenario: Scenario | None = None


def _guarded(environment_of: Any, listener: Any) -> Any:
    """Locust logs what a listener raises and goes on; a run whose bookkeeping failed must end, and must not be judged."""

    def guarded(**arguments: Any) -> None:
        try:
            listener(**arguments)
        except Exception:
            _LOG.exception("the harness itself failed; this run cannot be judged")
            environment = arguments.get("environment") or environment_of()
            if environment is not None:
                environment.process_exit_code = int(ExitCode.INVALID)
                gevent.spawn(_leave, environment)

    return guarded


def install(shape: Shape) -> Scenario:
    """Make this locustfile the scenario of that shape. To be called once, when the locustfile is imported."""
    global _scenario
    announce(shape)
    _scenario = scenario = Scenario(shape)
    events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser, shape))
    for event, listener in (
        (events.init, scenario.on_init),
        (events.test_start, scenario.on_test_start),
        (events.report_to_master, scenario.on_report),
        (events.test_stopping, scenario.on_stopping),
        (events.quitting, scenario.on_quitting),
    ):
        event.add_listener(_guarded(lambda: scenario.environment, listener))
    return scenario


class Viewer(User):
    """One person who has the roadmap open: a socket, held until the run is over.

    `connects` is False in a scenario whose sockets are opened by the member itself; then a user only holds the place.
    """

    abstract = True
    connects = True
    _member: Member | None = None
    _slot: int | None = None  # also of one who is stopped before it has begun

    def on_start(self) -> None:
        self._member = _scenario.member if _scenario is not None else None
        self._slot = self._member.connect() if self._member is not None and self.connects else None

    @task
    def watch(self) -> None:
        """The fleet reads for all viewers; this greenlet only holds the place."""
        if self._member is not None and (self._slot is not None or not self.connects):
            self._member.over.wait()
        raise StopUser

    def on_stop(self) -> None:
        if self._member is not None and self._member.station is not None and self._slot is not None:
            self._member.station.disconnect(self._slot)
