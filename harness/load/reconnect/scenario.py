"""The study's place in Locust's life, from the command line to the exit code. It runs in one process and says so to the others."""

from __future__ import annotations

import logging
import sys
from typing import Any

import gevent
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from harness.errors import ExitCode, HarnessError, UsageError
from harness.load.interrupt import end_in_order
from harness.load.reconnect.plan import SHAPE, Order, add_arguments
from harness.load.reconnect.study import Study
from harness.load.shape import announce
from harness.load.web import Face
from harness.terminal import Teller

__all__ = ["Client", "install"]

_LOG = logging.getLogger("roadmap")


class Client(User):
    """Stands for one client in Locust's count; what it does is the swarm's."""

    abstract = True

    @task
    def wait(self) -> None:
        gevent.sleep(3600)
        raise StopUser


class _Run:
    """The studies of one Locust process: one at a time, and a new one for each start."""

    def __init__(self) -> None:
        self.study: Study | None = None
        self._leading: Any = None
        self._face: Face | None = None
        self._teller = Teller()

    def on_init(self, environment: Environment, **_: Any) -> None:
        end_in_order()
        if environment.web_ui is not None:
            self._face = Face(environment.web_ui, getattr(environment.parsed_options, "web_base_path", None) or "")

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        runner = environment.runner
        try:
            if isinstance(runner, MasterRunner | WorkerRunner):
                do = "run it without --processes, --master and --worker: one process drives a thousand clients"
                raise UsageError("the reconnect study runs in one process", "locust", do)
            order = Order.of(environment.parsed_options, int(getattr(runner, "target_user_count", 0) or 0))
            self.study = None
            self._leading = gevent.spawn(self._lead, environment, order)
        except HarnessError as error:
            self._refuse(environment, error)

    def _refuse(self, environment: Environment, error: HarnessError) -> None:
        environment.process_exit_code = int(error.exit_code)
        if self._face is not None:
            self._face.refuse(error)
        print(f"roadmap-harness: {error}", file=sys.stderr, flush=True)
        gevent.spawn(_leave, environment)

    def _lead(self, environment: Environment, order: Order) -> None:
        def count(name: str, ms: float, error: str | None) -> None:
            environment.stats.log_request("WS", name, ms, 0)
            if error is not None:
                environment.stats.log_error("WS", name, error)

        try:
            self.study = Study(order, self._teller, count, *([self._face.watch] if self._face is not None else []))
            self.study.run()
            environment.process_exit_code = self.study.exit_code
        except HarnessError as error:
            self._refuse(environment, error)
            return
        except Exception:
            _LOG.exception("the harness itself failed; this run cannot be judged")
            if self.study is not None:
                self.study.finish("problem")
            environment.process_exit_code = int(ExitCode.INVALID)
        _leave(environment)

    def on_end(self, environment: Environment, **_: Any) -> None:
        """The test is being stopped: by us after the last cell, or by somebody else before it."""
        study = self.study
        if study is None or study.finished:
            return
        if self._leading is not None and self._leading is not gevent.getcurrent():
            self._leading.kill()
        self._teller.say("stopping: keeping what was measured")
        study.finish("stopped")
        environment.process_exit_code = study.exit_code


def _leave(environment: Environment) -> None:
    """End the process in a headless run; with the web UI, only the test."""
    runner = environment.runner
    if runner is None:
        return
    if environment.web_ui is None or getattr(environment.parsed_options, "autostart", False):
        runner.quit()
        if environment.web_ui is not None:
            environment.web_ui.stop()
    else:
        runner.stop()


def install() -> None:
    """Make this locustfile the reconnect study. To be called once, when the locustfile is imported."""
    run = _Run()
    announce(SHAPE)
    events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
    events.init.add_listener(run.on_init)
    events.test_start.add_listener(run.on_test_start)
    events.test_stopping.add_listener(run.on_end)
    events.quitting.add_listener(run.on_end)
