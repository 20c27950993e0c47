"""The pulse of one cell, fifty times a second: the server's accept queue and CPU, the clients' sockets, and how fit the generator is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import psutil

from harness.load.reconnect.listening import listening
from harness.load.reconnect.notes import Notes
from harness.load.reconnect.swarm import Swarm
from harness.measure.health import HealthSampler, StallMeter
from harness.measure.pauses import Pauses

__all__ = ["Watch"]

_HEALTH_PERIOD = 0.5


class Watch:
    """`address` is the server's; `pid` tells the process that serves now, or None."""

    period = 0.02

    def __init__(self, swarm: Swarm, notes: Notes, address: tuple[str, int], pid: Callable[[], int | None]) -> None:
        self._swarm, self._notes, self._address, self._pid = swarm, notes, address, pid
        now = time.monotonic()
        self._health, self._stalls = HealthSampler(now), StallMeter(now, self.period)
        self._told = now
        self._process: psutil.Process | None = None
        self._pauses = Pauses()

    def tick(self) -> list[dict[str, Any]]:
        """Take the pulse; twice a second there is a record of the generator's own fitness."""
        now = time.monotonic()
        self._stalls.tick(now)
        seen = listening(*self._address)
        self._notes.pulse(
            now,
            listening=None if seen is None else seen.there,
            queue=None if seen is None else seen.queue,
            server_cpu=self._server_cpu(),
            holding=self._swarm.holding,
            sockets=self._swarm.sockets,
        )
        if now - self._told < _HEALTH_PERIOD:
            return []
        self._told = now
        health = self._health.sample(now)
        fit = {"cpu": health.cpu, "host_cpu": health.host_cpu, "descriptors": health.descriptors, "stall": self._stalls.take(now)}
        pause = self._pauses.take()
        collected = [] if pause is None else [{**pause.record(), "worker": 0}]
        return [{"kind": "generator", "t": time.time(), **fit}, *collected]

    def run(self, write: Callable[[dict[str, Any]], None]) -> None:
        """Take the pulse until the greenlet of it is killed."""
        self._pauses.watch()
        try:
            while True:
                for record in self.tick():
                    write(record)
                gevent.sleep(self.period)
        finally:
            self._pauses.ignore()

    def _server_cpu(self) -> float | None:
        """CPU seconds of the server's process since it began."""
        pid = self._pid()
        try:
            if self._process is None or self._process.pid != pid:
                self._process = None if pid is None else psutil.Process(pid)
            if self._process is None:
                return None
            times = self._process.cpu_times()
        except psutil.Error:
            self._process = None
            return None
        return float(times.user + times.system)
