"""Runs the checks in forks of one process that has loaded everything, in place of a new pytest for each run of the gate."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.conformance.passes import Passed, pytest_arguments, pytest_environment
from harness.conformance.plugin import PROGRESS
from harness.faults.warm import run_checks

__all__ = ["WarmPasses"]

_LAST_LINES = 15


class WarmPasses:
    """Stands for harness.conformance.passes.run_pass. most: seconds that any pass may take. May be called from many threads."""

    def __init__(self, most: float) -> None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a library that starts threads when it is loaded cannot be forked
        self._most = most
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.faults.loaded", "harness.faults.warm", "harness.cli"])
        self._lock = threading.Lock()

    def __call__(
        self, arguments: Sequence[str], paths: Sequence[Path], folder: Path, name: str, seconds: float, progress: Callable[[str], None]
    ) -> Passed:
        """As run_pass, but progress comes when all is over."""
        log = folder / f"pytest-{name}.log"
        words = pytest_arguments(arguments, paths, folder)
        process = self._context.Process(target=run_checks, args=(words, pytest_environment(), str(log)), daemon=True)
        with self._lock:
            process.start()
        process.join(min(seconds, self._most))
        status = process.exitcode
        if process.pid is not None:  # the whole group: what the checks started as well
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.join(10.0)
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        for line in lines:
            if PROGRESS in line:
                progress(line.partition(PROGRESS)[2].strip())
        said = [line.rstrip() for line in lines if line.strip() and PROGRESS not in line]
        return Passed(status, " / ".join(said[-_LAST_LINES:]))
