"""Runs checks side by side in threads, for most of their time is spent waiting: the longest first, the active ones a few at a time.

A check that runs over its bound is given up and left behind in its daemon thread; another thread takes its place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

__all__ = ["Job", "Pool"]

_LOOK = 0.25  # seconds between two looks for jobs that ran over


class Job:
    """One check to be run. `waits`: seconds that it waits by design; `bound`: seconds after which it is given up. `work` must not raise."""

    def __init__(self, key: str, waits: float, bound: float, work: Callable[[], None]) -> None:
        self.key, self.waits, self.bound, self.work = key, waits, bound, work
        self.began: float | None = None
        self.given_up = False
        self.done = threading.Event()

    def over(self, now: float) -> bool:
        """Whether it has been running for longer than it may."""
        return self.began is not None and not self.done.is_set() and now > self.began + self.bound

    def run(self) -> None:
        self.began = time.monotonic()
        try:
            self.work()
        finally:
            self.done.set()


class Pool:
    """quick: threads for checks that hardly wait; patient: threads for those that wait at least `long` seconds."""

    def __init__(self, quick: int, patient: int, long: float) -> None:
        self._threads = {"quick": quick, "patient": patient}
        self._long = long
        self._jobs: dict[str, Job] = {}
        self._queues: dict[str, deque[Job]] = {"quick": deque(), "patient": deque()}

    def start(self, jobs: Sequence[Job]) -> None:
        """Start all; returns at once."""
        for job in sorted(jobs, key=lambda job: -job.waits):
            self._jobs[job.key] = job
            self._queues[self._queue(job)].append(job)
        for name, count in self._threads.items():
            for _ in range(min(count, len(self._queues[name]))):
                self._thread(name)

    def __contains__(self, key: str) -> bool:
        return key in self._jobs

    def wait(self, key: str) -> bool:
        """Wait until the job has ended; False when it was given up. Ends, because no job may run longer than its bound."""
        job = self._jobs[key]
        while not job.done.wait(_LOOK):
            self._replace(time.monotonic())
            if job.given_up:
                return False
        return True

    def _queue(self, job: Job) -> str:
        return "patient" if job.waits >= self._long else "quick"

    def _replace(self, now: float) -> None:
        for job in self._jobs.values():
            if not job.given_up and job.over(now):
                job.given_up = True
                self._thread(self._queue(job))

    def _thread(self, name: str) -> None:
        threading.Thread(target=_drain, args=(self._queues[name],), name=f"{name} checks", daemon=True).start()


def _drain(queue: deque[Job]) -> None:
    while True:
        try:
            job = queue.popleft()
        except IndexError:
            return
        job.run()
