"""The broadcast source that receivers are measured with: `source.c`, compiled on the spot, or a Python source where there is no C compiler.

What it sends is a vote plan like a run's own, as messages of the contract, so that our receive path validates and matches every frame.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.measure.plan import VotePlan

__all__ = ["MARK", "Sent", "Source", "compile_source", "make_plan", "texts"]

MARK = "@" * 24
"""Stands in a text where the source puts the time of sending, ISO 8601 in UTC with milliseconds."""

_FEATURES, _VOTERS = 100, 20
_LEAD = 1.5  # seconds from the last handshake to the first broadcast: a receiver folds its connections away first
_PATIENCE = 60.0
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Sent:
    """What the source did. `began` and `ended` are ns since the epoch, one a broadcast; `late` is seconds behind the plan, p99.

    `refusals` counts writes that a full socket refused, `most_behind` the most bytes one socket was ever behind, `behind` the sockets
    that were still behind at the end, `passes` the rounds of writing (fewer than
    broadcasts where several were due at once), `cpu` the CPU seconds of sending. `language` is "C" or "Python".
    """

    start: int
    began: NDArray[np.int64]
    ended: NDArray[np.int64]
    late: float
    complete: bool
    refusals: int
    most_behind: int
    behind: int
    passes: int
    cpu: float
    language: str


def make_plan(rate: float, seconds: float) -> VotePlan:
    """The plan of the broadcasts, the same in the source's and in the receivers' processes."""
    return VotePlan(
        features=tuple(f"clxyz{number:09d}" for number in range(_FEATURES)),
        voters=tuple(f"clusr{number:09d}" for number in range(_VOTERS)),
        rate=rate,
        duration=seconds,
        warmup=0.0,
        seed=1,
    )


def texts(plan: VotePlan) -> list[str]:
    """The message of each cast; `voteCount` is the cast's number, so that any receiver can tell which one it got."""
    casts = (plan.cast(n) for n in range(plan.count))
    return [
        json.dumps(
            {
                "type": "VOTE_UPDATE",
                "featureId": cast.feature,
                "voteCount": cast.n,
                "voterId": cast.voter,
                "action": cast.action,
                "timestamp": MARK,
            },
            separators=(",", ":"),
        )
        for cast in casts
    ]


def compile_source(folder: Path) -> list[str]:
    """The command of the source: compiled into `folder`, or the Python one when there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return [sys.executable, "-m", "benchmarks.slow_source"]
    program = folder / "source"
    code = str(resources.files("benchmarks").joinpath("source.c"))
    subprocess.run([compiler, "-O2", "-o", str(program), code], check=True)
    return [str(program)]


class Source:
    """A context manager: one source for `sockets` connections, which sends the plan `make_plan(rate, seconds)`.

    `command` is from `compile_source`. drain: seconds to wait at the end for sockets that lag behind.
    """

    def __init__(self, command: list[str], *, sockets: int, rate: float, seconds: float, drain: float) -> None:
        self._command, self._sockets, self._rate, self._drain = command, sockets, rate, drain
        self._plan = make_plan(rate, seconds)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="broadcast-source-"))
        lines, log = self._folder / "texts", self._folder / "log"
        lines.write_text("".join(text + "\n" for text in texts(self._plan)), "ascii")
        words = [str(self._sockets), repr(self._rate), repr(_LEAD), repr(self._drain), str(lines), str(log)]
        self._process = subprocess.Popen([*self._command, *words], stdout=subprocess.PIPE, text=True)
        self.port = int(self._said("port"))
        return self

    def _said(self, word: str, alive: Callable[[], bool] = lambda: True) -> str:
        output = self._process.stdout
        if output is None:
            raise RuntimeError("the source has no standard output")
        deadline = time.monotonic() + _PATIENCE
        while not select.select([output], [], [], _POLL)[0]:
            if not alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the source waits for {self._sockets} connections and they do not come")
        line = output.readline()
        name, _, value = line.partition(" ")
        if name != word:
            raise RuntimeError(f"the source said {line.strip()!r} where it says {word!r}")
        return value

    def wait_start(self, alive: Callable[[], bool] = lambda: True) -> int:
        """When broadcast 0 is due, ns since the epoch; waits until every socket is connected, and as long as `alive` says yes.

        Raises RuntimeError when they do not come.
        """
        self._start = int(self._said("start", alive))
        return self._start

    def wait_end(self) -> Sent:
        """Waits until everything is sent and closed."""
        output, _ = self._process.communicate(timeout=self._plan.duration + self._drain + _PATIENCE)
        if self._process.returncode:
            raise RuntimeError(f"the source ended with status {self._process.returncode}")
        facts: dict[str, Any] = json.loads(output)
        moments = np.fromfile(self._folder / "log", np.int64).reshape(-1, 2)
        due = self._start + np.arange(len(moments)) / self._rate * 1e9
        return Sent(
            start=self._start,
            began=moments[:, 0],
            ended=moments[:, 1],
            late=float(np.quantile(moments[:, 1] - due, 0.99)) / 1e9,
            complete=facts["bytes"] == facts["bytes_due"] and not facts["gone"],
            refusals=facts["refusals"],
            most_behind=facts["most_behind"],
            behind=facts["behind"],
            passes=facts["passes"],
            cpu=facts["cpu"],
            language="Python" if self._command[0] == sys.executable else "C",
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)
