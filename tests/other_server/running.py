"""Starts this server as a process for a test, and ends it; also after it was stopped and started again by its own hooks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["again", "running", "until"]

_ROOT = Path(__file__).resolve().parents[2]
_WAIT = 60.0  # seconds; generous, for the machine may be busy


def until(what: str, holds: Callable[[], bool], seconds: float = _WAIT) -> None:
    """Poll until it holds. Raises AssertionError with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def _spawn(argv: list[str], ready: Path) -> subprocess.Popen[bytes]:
    with ready.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.other_server", *argv],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert process.poll() is None, ready.with_suffix(".log").read_text()
        return ready.exists()

    try:
        until("the server is ready", is_up)
    except AssertionError:
        process.kill()
        process.wait()
        raise
    return process


@contextlib.contextmanager
def running(folder: Path, *flags: str, time_scale: float = 0.1) -> Iterator[Path]:
    """The path of ready.json, whose server keeps its state in `folder`; whichever process serves at the end is ended."""
    ready = folder / "ready.json"
    argv = ["--ready", str(ready), "--state", str(folder / "state.json"), "--time-scale", str(time_scale), *flags]
    process = _spawn(argv, ready)
    try:
        yield ready
    finally:
        with contextlib.suppress(OSError, ValueError):
            heir = int(ready.with_suffix(".pid").read_text())
            if heir != process.pid:
                os.kill(heir, signal.SIGTERM)
        process.terminate()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def again(facts: dict[str, Any], ready: Path) -> None:
    """Start the server once more as it was: same ports, same sessions. For the hook `start`, from a process of its own."""
    until("the server before has ended", lambda: not ready.with_suffix(".pid").exists())
    _spawn(facts["argv"], ready).returncode = 0  # it outlives us on purpose: nobody is to warn that it still runs


if __name__ == "__main__":
    again(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
