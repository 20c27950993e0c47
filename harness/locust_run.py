"""Runs a scenario in Locust, as a process of its own: gevent's patched world stays there."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from harness.child import forward_signals, start_child
from harness.config import environment_name
from harness.errors import RunInvalid, UsageError
from harness.terminal import QUIET

__all__ = ["PAGE", "LocustRun", "free_port", "scenario_file", "scenario_names"]

PAGE = environment_name("report", "page")
"""The variable by which a run is told whether to draw its page: an option of `report`, which each run calls at its end."""


def _folder() -> Path:
    return Path(str(resources.files("scenarios")))


def scenario_names() -> list[str]:
    """The scenarios that there are."""
    return sorted(path.stem for path in _folder().glob("*.py") if path.stem != "__init__")


def scenario_file(name: str) -> Path:
    """The locustfile of a scenario. Raises UsageError naming those there are."""
    known = scenario_names()
    if name.replace("-", "_") not in known:
        raise UsageError(f"there is no scenario {name!r}", "bench", f"use one of: {', '.join(known)}")
    return _folder() / f"{name.replace('-', '_')}.py"


def free_port() -> str:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


class LocustRun:
    """One run of a locustfile. `options` are long options without their dashes; `web_port` opens the web UI instead of starting; `quiet`:
    nothing is said of what passes; `silent`: nothing goes to standard output, what would goes to standard error; without
    `page` the run is judged and nothing is drawn.
    """

    def __init__(
        self, file: Path, folder: Path, options: Mapping[str, object], *, processes: int, web_port: int | None,
        quiet: bool = False, silent: bool = False, page: bool = True,
    ) -> None:  # fmt: skip
        self._file, self._folder, self._options, self._processes, self._web_port = file, folder, options, processes, web_port
        self._environment = {**({QUIET: "1"} if quiet else {}), **({} if page else {PAGE: "no"})}
        self._silent = silent

    def _command(self) -> list[str]:
        words = [sys.executable, "-m", "locust", "-f", str(self._file), "--loglevel", "WARNING"]
        for name, value in self._options.items():
            words += [f"--{name}", str(value)]
        if self._processes > 1:
            port = free_port()  # Locust's usual one may be taken by another run on this machine
            words += ["--processes", str(self._processes), "--master-bind-port", port, "--master-port", port]
        if self._web_port is not None:
            return [*words, "--web-host", "127.0.0.1", "--web-port", str(self._web_port)]
        json_file = str(self._folder / "locust")
        return [*words, "--headless", "--only-summary", "--json-file", json_file, "--run-folder", str(self._folder)]

    def execute(self, target: str) -> int:
        """Run to the end and return Locust's exit code, which is the run's. Ctrl-C is passed on, and we wait for it to finish.

        Raises RunInvalid when Locust was killed: it cannot tell then what it saw, but the journal can.
        """
        environment = {**os.environ, "ROADMAP_TARGET": target, **self._environment}
        process = start_child(self._command(), output=sys.stderr.buffer if self._silent else None, environment=environment)
        restore = forward_signals(process)
        try:
            code = process.wait()
        finally:
            restore()
        if code < 0:
            what = f"Locust was killed by signal {-code} ({signal.Signals(-code).name}) in the middle of the run"
            do = f"what it had measured is kept: roadmap-harness report {self._folder}"
            raise RunInvalid(what, str(self._folder), do)
        return code
