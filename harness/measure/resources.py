"""What the target uses: memory, CPU, descriptors and threads, by its pid, its Prometheus page or a command.

A probe answers with a Sample, or None when the target is gone or does not answer; it never raises for what the target
does. Figures that a source cannot give are None, never 0.
"""

from __future__ import annotations

import http.client
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import psutil
from prometheus_client.parser import text_string_to_metric_families

from harness.errors import UsageError

__all__ = ["CommandProbe", "ProcessProbe", "PrometheusProbe", "ResourceProbe", "Sample"]

_LARGEST_PAGE = 4 * 1024 * 1024

_N = TypeVar("_N", int, float)


@dataclass(frozen=True, slots=True)
class Sample:
    """A target at time t (as passed in). rss, pss, uss: bytes; cpu: CPU seconds in total; the rest are counts."""

    t: float
    rss: int | None
    pss: int | None
    uss: int | None
    cpu: float | None
    descriptors: int | None
    threads: int | None


class ResourceProbe(Protocol):
    """A source of samples. `problem` says why the last answer was None."""

    problem: str | None

    def sample(self, now: float) -> Sample | None:
        """The target now; None when it is gone or does not answer."""


class ProcessProbe:
    """A process and all its descendants, summed. CPU includes descendants that ended, once their parent took note.

    pss and uss need the right to read the process's memory map; without it they are None.
    """

    def __init__(self, pid: int) -> None:
        self.problem: str | None = None
        self._pid = pid
        try:
            self._root: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._root = None

    def sample(self, now: float) -> Sample | None:
        root = self._root
        # is_running compares start times, so a later process with the same number is not taken for the target.
        if root is None or not root.is_running():
            return self._nothing("has ended")
        try:
            if root.status() == psutil.STATUS_ZOMBIE:
                return self._nothing("has ended")
            sample = _of(root, now)
            children = root.children(recursive=True)
        except psutil.NoSuchProcess:
            return self._nothing("has ended")
        except psutil.AccessDenied:
            return self._nothing("may not be read: run as its user")
        for child in children:
            try:
                sample = _sum(sample, _of(child, now))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self.problem = None
        return sample

    def _nothing(self, why: str) -> Sample | None:
        self.problem = f"process {self._pid} {why}"
        return None


def _of(process: psutil.Process, now: float) -> Sample:
    with process.oneshot():
        rss, times = process.memory_info().rss, process.cpu_times()
        threads = process.num_threads()
    pss: int | None = None
    uss: int | None = None
    try:
        full = process.memory_full_info()
        pss, uss = getattr(full, "pss", None), full.uss
    except psutil.AccessDenied:
        pass
    try:
        descriptors: int | None = process.num_fds()
    except psutil.AccessDenied:
        descriptors = None
    cpu = times.user + times.system + times.children_user + times.children_system
    return Sample(now, rss, pss, uss, cpu, descriptors, threads)


def _sum(one: Sample, other: Sample) -> Sample:
    return Sample(
        t=one.t,
        rss=_plus(one.rss, other.rss),
        pss=_plus(one.pss, other.pss),
        uss=_plus(one.uss, other.uss),
        cpu=_plus(one.cpu, other.cpu),
        descriptors=_plus(one.descriptors, other.descriptors),
        threads=_plus(one.threads, other.threads),
    )


def _plus(a: _N | None, b: _N | None) -> _N | None:
    return None if a is None or b is None else a + b


class PrometheusProbe:
    """A Prometheus text page with the usual `process_...` metrics. Several series of one name (processes) are summed.

    timeout: seconds for one page. The page is asked for directly, whatever proxy the environment names. Raises UsageError
    when the address is not http or https.
    """

    def __init__(self, url: str, timeout: float) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise UsageError("the metrics address is not http or https", url, "give the address of a Prometheus text page")
        self.problem: str | None = None
        self._url = url
        self._timeout = timeout
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def sample(self, now: float) -> Sample | None:
        try:
            with self._opener.open(self._url, timeout=self._timeout) as answer:
                text = answer.read(_LARGEST_PAGE).decode("utf-8")
            metrics = _sums(text)
        except (OSError, http.client.HTTPException) as error:
            self.problem = f"{self._url} does not answer: {error}"
            return None
        except ValueError as error:
            self.problem = f"{self._url} is not Prometheus text: {error}"
            return None
        rss = metrics.get("process_resident_memory_bytes")
        if rss is None:
            self.problem = f"{self._url} has no process_resident_memory_bytes"
            return None
        self.problem = None
        return Sample(
            t=now,
            rss=int(rss),
            pss=None,
            uss=None,
            cpu=metrics.get("process_cpu_seconds_total"),
            descriptors=_whole(metrics.get("process_open_fds")),
            threads=_whole(metrics.get("process_threads")),
        )


def _sums(text: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for metric in family.samples:
            if metric.name.startswith("process_"):
                sums[metric.name] = sums.get(metric.name, 0.0) + metric.value
    return sums


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


class CommandProbe:
    """A command that prints the target's resident memory in bytes, for example through ssh or a container's tool.

    argv: the program and its arguments; no shell is involved. timeout: seconds for one run. Raises UsageError when empty.
    """

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        if not argv:
            raise UsageError("the memory command is empty", "resource probe", "name a program that prints a number of bytes")
        self.problem: str | None = None
        self._argv = list(argv)
        self._timeout = timeout

    def sample(self, now: float) -> Sample | None:
        try:
            done = subprocess.run(self._argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self._timeout, check=True)
            rss = int(done.stdout)
        except subprocess.CalledProcessError as error:
            self.problem = f"{self._argv[0]} failed with status {error.returncode}"
        except subprocess.TimeoutExpired:
            self.problem = f"{self._argv[0]} took longer than {self._timeout:g} s"
        except OSError as error:
            self.problem = f"{self._argv[0]} cannot be run: {error.strerror}"
        except ValueError:
            self.problem = f"{self._argv[0]} must print one whole number of bytes and nothing else"
        else:
            self.problem = None
            return Sample(now, rss, None, None, None, None, None)
        return None
