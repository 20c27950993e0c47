"""What every receiver has in common: how it is told what to expect, and what it hands back. Each one is a process of its own.

One line of JSON on standard input says where to connect; a second line, when everybody is connected, when broadcast 0 is due. The
answer is one line of JSON. Latency is what that receiver would report: from the plan's time of a broadcast to its arrival as the receiver
knows it, which is when Python has it, or, for ours, when the kernel had it.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

__all__ = ["Received", "Spec", "answer", "of_samples", "read_spec", "read_start"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One measurement: `sockets` connections to a source on `port` that sends `rate` broadcasts/s for `seconds`, then waits `drain`."""

    port: int
    sockets: int
    rate: float
    seconds: float
    drain: float

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def expected(self) -> int:
        """Frames on all sockets together."""
        return round(self.rate * self.seconds) * self.sockets

    @property
    def longest(self) -> float:
        """Seconds from the start after which a receiver gives up on what is still missing."""
        return self.seconds + self.drain + 2.0


@dataclass(frozen=True, slots=True)
class Received:
    """What a receiver got. Milliseconds; `cpu` in seconds from the start to the last frame; `detail` is the receiver's own."""

    frames: int
    lost: int
    cpu: float
    p50: float
    p99: float
    longest: float
    detail: Mapping[str, float] = field(default_factory=dict)


def read_spec() -> Spec:
    """The first line."""
    return Spec(**json.loads(sys.stdin.readline()))


def read_start() -> int:
    """The second line: when broadcast 0 is due, ns since the epoch. Waits for it."""
    return int(sys.stdin.readline())


def answer(received: Received) -> None:
    """Hand the result back."""
    print(json.dumps(asdict(received)), flush=True)


def of_samples(spec: Spec, latency: array[int], cpu: float) -> Received:
    """From one latency a frame, ns."""
    p50, p99, longest = (float(value) / 1e6 for value in np.quantile(np.array(latency or [0]), (0.5, 0.99, 1.0)))
    return Received(len(latency), spec.expected - len(latency), cpu, p50, p99, longest)
