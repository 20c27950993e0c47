"""Starts pytest with the plugin as a process of its own, reads its progress, and ends it when its time is over, whatever it does.

A process apart keeps the caller's pytest, plugins and settings out of the gate, and can always be ended. The rule: whoever ends it, by
Ctrl-C, by a signal or by killing us, it is asked first, and has a few seconds to take back what the checks made on the target.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from harness.child import end_with_parent
from harness.conformance.plugin import PROGRESS, TAKING_BACK

__all__ = ["CHECKS", "Passed", "RunsPass", "pytest_arguments", "pytest_environment", "run_pass"]

CHECKS = Path(__file__).parent / "checks"
_INTERNAL = 3  # pytest's own exit status for an error of its own; 0, 1 and 5 are ends in good order
_UNLOADED = (2, 4)  # collection was interrupted by an error; wrong usage, such as a file that is not there
_LAST_LINES = 15
_LEAVING = 2.0  # seconds to write down what is known and go, beyond those for taking back
_BETWEEN = " / "


class Passed:
    """How one pass ended: pytest's status, None when it was ended by us; `tail` is what it said last."""

    def __init__(self, status: int | None, tail: str) -> None:
        self.status = status
        self.tail = tail

    @property
    def unloaded(self) -> str | None:
        """What kept the checks from being loaded, in pytest's words; None when they were."""
        if self.status not in _UNLOADED:
            return None
        errors = [line.removeprefix("E").strip() for line in self.tail.split(_BETWEEN) if line.startswith("E ")]
        return "; ".join(errors) or self.tail

    @property
    def problem(self) -> str | None:
        """A sentence when the pass itself went wrong; a broken clause is no such thing."""
        if self.status is None:
            return "the checks did not end in time and were stopped; what they had found until then is kept"
        if self.unloaded is not None:
            return f"the checks could not be loaded (pytest status {self.status}): {self.unloaded}"
        if self.status == _INTERNAL or self.status < 0:
            return f"the run of the checks failed (pytest status {self.status}): {self.tail}"
        return None


class RunsPass(Protocol):
    """How a pass is run: `run_pass`, or something with its promises that starts faster."""

    def __call__(
        self, arguments: Sequence[str], paths: Sequence[Path], folder: Path, name: str, seconds: float, progress: Callable[[str], None]
    ) -> Passed: ...


def pytest_arguments(arguments: Sequence[str], paths: Sequence[Path], folder: Path) -> list[str]:
    """What pytest is given: its own settings (written into `folder`), the plugin with its `arguments`, our checks and `paths`."""
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\naddopts =\nmarkers =\n", "utf-8")
    words = [
        "-p",
        "harness.conformance.plugin",
        "-p",
        "xdist",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:unraisableexception",  # it collects garbage several times at the end: a third of a second
        "--import-mode=importlib",
        "-c",
        str(settings),
        "--rootdir",
        str(CHECKS),
    ]
    words += ["-s", "-q", "--tb=short", "--no-header", "--run-folder", str(folder)]
    return [*words, *arguments, str(CHECKS), *map(str, paths)]


def pytest_environment() -> dict[str, str]:
    """The environment that it is run in: no settings and no plugins of the caller's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")} | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_pass(
    arguments: Sequence[str], paths: Sequence[Path], folder: Path, name: str, seconds: float, progress: Callable[[str], None]
) -> Passed:
    """Run pytest over the checks and `paths` with the plugin's `arguments`; at most `seconds`. `progress` gets "PASS HS-01" lines,
    and at first "PLAN checks seconds" where that is known."""
    command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments, paths, folder)]
    lines: list[str] = []
    with (folder / f"pytest-{name}.log").open("w", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=pytest_environment(),
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )

        def relay() -> None:
            for line in process.stdout or ():
                log.write(line)
                before, mark, said = line.partition(PROGRESS)
                if mark:
                    progress(said.strip())
                elif before.strip():
                    lines.append(before.rstrip())

        reader = threading.Thread(target=relay, daemon=True)
        reader.start()
        try:
            status: int | None = _wait(process, seconds)
        finally:
            _end(process)
            reader.join(5.0)
            if process.stdout is not None:
                process.stdout.close()
    return Passed(status, _BETWEEN.join(line for line in lines[-_LAST_LINES:]))


def _wait(process: subprocess.Popen[str], seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(max(0.0, min(1.0, deadline - time.monotonic())))
        if time.monotonic() >= deadline:
            return None


def _end(process: subprocess.Popen[str]) -> None:
    """The whole group, xdist's workers too: asked while it runs, and then killed, whatever it says."""
    try:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(TAKING_BACK + _LEAVING)
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10.0)
