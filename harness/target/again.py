"""Stops the bundled server in order, and starts it again as it was: what the hooks `stop` and `start` of its profile run.

A program of its own that knows the server by its ready.json only, and needs nothing but the standard library, so that it is quick.
After a stop and a start the target is as it was found: the same address, accounts, sessions and features, in a new process. That
process ends, as the first one would, when whoever started the first one is gone (where the system can tell), or by SIGTERM to the
pid in ready.json.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

_ENDED_WITHIN = 15.0  # seconds for the one before, whose time to say goodbye began with the stop
_UP_WITHIN = 40.0  # seconds for the next to listen
_POLL = 0.02
_NOBODY = 1  # the parent of those whose parent is gone


def main(arguments: list[str]) -> int:
    """`again.py stop|start READY`; 0 when it was done, else 1 and a sentence."""
    os.umask(0o077)
    what, ready = arguments[0], Path(arguments[1])
    try:
        (_stop if what == "stop" else _start)(ready)
    except (OSError, ValueError, KeyError) as error:
        print(f"{what} failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _kept(ready: Path) -> Path:
    """Where ready.json is remembered while the server is down."""
    return ready.with_name("stopped.json")


def _stop(ready: Path) -> None:
    text = ready.read_text("utf-8")
    kept = _kept(ready)
    kept.touch(mode=0o600)
    kept.write_text(text, "utf-8")
    os.kill(json.loads(text)["pid"], signal.SIGTERM)


def _start(ready: Path) -> None:
    """Raises OSError or ValueError when it cannot be started, TimeoutError when it takes too long."""
    facts = json.loads((_kept(ready) if _kept(ready).exists() else ready).read_text("utf-8"))
    _await_end(ready.with_name("lock"))
    deadline = time.monotonic() + _UP_WITHIN
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ROADMAP_SERVER_")}
    with ready.with_name("server.log").open("ab") as log:
        process = subprocess.Popen(
            [*facts["command"], *_lifeline(facts)],
            cwd=facts["directory"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not _is_up(ready, process.pid):
        if process.poll() is not None:
            raise ValueError(f"it ended with {process.returncode}: see {log.name}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise TimeoutError(f"it did not listen within {_UP_WITHIN:g} s: see {log.name}")
        time.sleep(_POLL)
    _kept(ready).unlink(missing_ok=True)
    process.returncode = 0  # it outlives us on purpose: nobody is to warn that it still runs


def _await_end(lock: Path) -> None:
    """The one before holds its state directory until it has ended. Raises TimeoutError."""
    deadline = time.monotonic() + _ENDED_WITHIN
    with lock.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the server before still runs after {_ENDED_WITHIN:g} s") from None
                time.sleep(_POLL)
            else:
                return


def _is_up(ready: Path, pid: int) -> bool:
    try:
        found: dict[str, Any] = json.loads(ready.read_text("utf-8"))
    except FileNotFoundError:
        return False
    return bool(found["pid"] == pid)


def _lifeline(facts: dict[str, Any]) -> list[str]:
    """The flag that ends the server with whoever started the first one, unless that one is gone already and it ran on regardless."""
    parent = facts["parent"]
    try:
        words = Path(f"/proc/{parent}/stat").read_text("utf-8").rpartition(")")[2].split()
        booted = next(line for line in Path("/proc/stat").read_text("utf-8").splitlines() if line.startswith("btime"))
    except (OSError, StopIteration):
        return []
    began = float(booted.split()[1]) + int(words[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime, in ticks since the boot
    return [] if parent == _NOBODY or began > facts["started"] + 1.0 else [f"--end-with={parent}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
