"""Runs the checks in forks of one process that has loaded everything, in place of a new pytest for each run of the gate."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from harness.conformance.passes import Passed, pytest_arguments, pytest_environment
from harness.conformance.plugin import PROGRESS
from harness.faults.warm import run_checks

__all__ = ["WarmPasses"]

_LAST_LINES = 15
_LEAVING = 10.0  # seconds


class WarmPasses:
    """Stands for harness.conformance.passes.run_pass. most: seconds that any pass may take. May be called from many threads."""

    def __init__(self, most: float) -> None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a library that starts threads when it is loaded cannot be forked
        self._most = most
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.faults.loaded", "harness.faults.warm", "harness.cli"])
        self._lock = threading.Lock()
        self._running: set[ForkServerProcess] = set()
        self._over = False

    def __call__(
        self, arguments: Sequence[str], paths: Sequence[Path], folder: Path, name: str, seconds: float, progress: Callable[[str], None]
    ) -> Passed:
        """As run_pass, but progress comes when all is over."""
        log = folder / f"pytest-{name}.log"
        words = pytest_arguments(arguments, paths, folder)
        process = self._context.Process(target=run_checks, args=(words, pytest_environment(), str(log)), daemon=True)
        with self._lock:
            if self._over:
                return Passed(None, "")
            process.start()
            self._running.add(process)
        process.join(min(seconds, self._most))
        with self._lock:
            self._running.discard(process)
            status = process.exitcode
            _end(process)
        process.join(_LEAVING)
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        for line in lines:
            if PROGRESS in line:
                progress(line.partition(PROGRESS)[2].strip())
        said = [line.rstrip() for line in lines if line.strip() and PROGRESS not in line]
        return Passed(status, " / ".join(said[-_LAST_LINES:]))

    def stop(self) -> None:
        """End all passes, so that those who wait for them go on; from now on none is begun."""
        with self._lock:
            self._over = True
            for process in self._running:
                _end(process)


def _end(process: ForkServerProcess) -> None:
    """The whole group: what the checks started as well."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
