"""On what a benchmark ran, and what else kept the machine busy: figures without these say little."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil

__all__ = ["BUSY", "Load", "machine", "quiet", "wait_for_others", "write_json"]

BUSY = 0.12
"""The share of all cores that others may use before a measurement says more about them than about what is measured."""

_LOOK = 1.5  # seconds


def machine() -> dict[str, Any]:
    """Cores, kernel, interpreter, memory."""
    return {
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "memory_bytes": psutil.virtual_memory().total,
    }


class Load:
    """The share of all cores that was in use between `__init__` and `take`, and which of it was not ours. 0..1."""

    def __init__(self) -> None:
        self._before, self._own = psutil.cpu_times(), self._tree()
        self._at = time.monotonic()

    @staticmethod
    def _tree() -> float:
        own = os.times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def take(self) -> dict[str, float]:
        """`host`: by everybody; `others`: by processes that are not this one or its descendants."""
        now, own = psutil.cpu_times(), self._tree() - self._own
        total = sum(now) - sum(self._before)
        idle = now.idle - self._before.idle + getattr(now, "iowait", 0.0) - getattr(self._before, "iowait", 0.0)
        capacity = (time.monotonic() - self._at) * (os.cpu_count() or 1)
        host = 1.0 - idle / total if total > 0 else 0.0
        return {"host": round(host, 3), "others": round(max(0.0, host - own / capacity), 3)}


def wait_for_others(seconds: float) -> None:
    """Wait, at most so long, until other processes leave the machine alone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and psutil.cpu_percent(_LOOK) > 100 * BUSY:
        pass


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """What our children say goes to a file."""
    kept = [os.dup(stream) for stream in (1, 2)]
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        for stream, old in zip((1, 2), kept, strict=True):
            os.dup2(old, stream)
            os.close(old)


def write_json(path: Path | None, document: dict[str, Any]) -> None:
    """Write a result where it was asked for; what could not be measured (infinite, not a number) is null."""
    if path is not None:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
