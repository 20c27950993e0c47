"""How long the report of a long run takes: a run folder of that size, written through the journal's own writer, then analysed and drawn.

    python -m benchmarks.report [--viewers 1000] [--rate 100] [--duration 600] [--workers 1] [--limit 10] [--json FILE]

The folder is what a run of this length leaves: the casts and broadcasts of each second in columns, a histogram of each second's
deliveries, four readings of the target a second. Time is that of the whole command in a process of its own, its start included, as a
user waits for it. Exit code 0 only when it ends within the limit and the page tells every delivery.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from benchmarks.machine import Load, machine, write_json
from harness.journal import Journal
from harness.measure.histogram import Histogram
from harness.run_folder import RunFolder

__all__ = ["Setting", "Timing", "time_report", "write_run"]

_STARTED = 1_795_000_000.0
_WARMUP = 5.0
_RAMP = 10.0
_FEATURES = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """A run. Rate in votes per second, duration in seconds."""

    viewers: int
    rate: float
    duration: float
    workers: int


@dataclass(frozen=True, slots=True)
class Timing:
    """What it took: seconds of the wall and of the CPU, bytes of memory at the most, of the journal and of the page."""

    seconds: float
    cpu: float
    most_memory: int
    journal_bytes: int
    page_bytes: int
    deliveries: int


def write_run(folder: Path, setting: Setting) -> int:
    """Write the journal of a completed run in which nothing was lost. Answers how many deliveries it tells."""
    folder.mkdir(parents=True)
    with Journal(folder) as journal:
        for record in _records(setting):
            journal.write(record)
    return round((_WARMUP + setting.duration) * setting.rate) * setting.viewers


def _records(setting: Setting) -> Iterator[dict[str, Any]]:
    epoch = _STARTED + _RAMP + 1.0
    steady, until = epoch + _WARMUP, epoch + _WARMUP + setting.duration
    parameters = {"viewers": setting.viewers, "rate": setting.rate, "duration": setting.duration, "warmup": _WARMUP, "features": _FEATURES}
    yield {
        "kind": "header",
        "format": 1,
        "run": "20261119T075320Z-broadcast-0001",
        "scenario": "broadcast",
        "started": _STARTED,
        "target": {"name": "long run", "base_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1/api/roadmap/ws"},
        "seed": 1,
        "parameters": parameters,
        "workers": setting.workers,
    }
    yield _event(_STARTED + 0.5, "ramp_started")
    yield _event(_STARTED + 0.5 + _RAMP, "ramp_done")
    yield _event(epoch, "cast_started", start=epoch, steady_from=steady, steady_until=until)
    rng = np.random.default_rng(1)
    rss = 60e6
    for second in range(round(_RAMP + _WARMUP + setting.duration + 2)):
        t = _STARTED + 1.0 + second
        for step in range(4):
            rss += 9e3 * setting.viewers / _RAMP / 4 if second < _RAMP else 0.0
            noise = rng.normal(0.0, 2e4)
            yield {
                "kind": "target",
                "t": t - 1 + step / 4,
                "rss": round(rss + noise),
                "cpu": 0.4 * second,
                "descriptors": 1020,
                "threads": 4,
            }
        yield from _second(setting, rng, t, epoch)
    yield _event(until, "cast_ended")
    yield _event(until + 1.0, "drained")
    yield {"kind": "footer", "ended": until + 1.5, "reason": "completed", "totals": {}}


def _event(t: float, name: str, **detail: float) -> dict[str, Any]:
    return {"kind": "event", "t": t, "worker": 0, "name": name, "detail": detail}


def _second(setting: Setting, rng: np.random.Generator, t: float, epoch: float) -> Iterator[dict[str, Any]]:
    """What the second that ends at `t` left: its casts, their broadcasts, and each worker's record."""
    casts = round((_WARMUP + setting.duration) * setting.rate)
    first, last = (min(casts, max(0, round((end - epoch) * setting.rate))) for end in (t - 1.0, t))
    n = np.arange(first, last)
    due = epoch + n / setting.rate
    called = due + rng.gamma(2.0, 5e-4, len(n))
    took = 0.012 + rng.gamma(2.0, 0.004, len(n))
    here, before = (min(1.0, max(0.0, (end - _STARTED - 0.5) / _RAMP)) for end in (t, t - 1.0))
    if len(n):
        answers = {"answered": called + took / 2, "status": np.full(len(n), 200), "count": n // _FEATURES + 1}
        yield {"kind": "casts", "worker": 0, "n": n, "due": due, "called": called, **answers}
    for worker in range(setting.workers):
        share = setting.viewers * (worker + 1) // setting.workers - setting.viewers * worker // setting.workers
        arrived = took[:, None] + np.sort(rng.gamma(2.0, 0.002, (len(n), share)), axis=1)
        if len(n):
            zeros = np.zeros(len(n), dtype=int)
            yield {
                "kind": "broadcasts",
                "worker": worker,
                "n": n,
                "stamped": called + took / 2,
                "first": due + arrived[:, 0],
                "last": due + arrived[:, -1],
                "expected": zeros + share,
                "delivered": zeros + share,
                **dict.fromkeys(("lost", "duplicated", "reordered", "misdirected"), zeros),
            }
        steady = arrived[due >= epoch + _WARMUP]
        yield {
            "kind": "second",
            "t": t + 0.01 * worker,
            "worker": worker,
            "open": round(share * here),
            "opened": round(share * here) - round(share * before),
            "refused": 0,
            "closed": 0,
            "frames": arrived.size,
            "bytes": arrived.size * 180,
            "reads": arrived.size,
            "shared_reads": arrived.size // 3,
            "parsed": len(n),
            "types": {"VOTE_UPDATE": arrived.size},
            "invalid": 0,
            "latency": _encoded(steady.ravel()),
            "lag": _encoded(rng.gamma(2.0, 0.002, max(1, arrived.size))),
            "slip": _encoded(called - due),
            "cpu": 0.8,
            "host_cpu": 0.7,
            "loop_stall": float(rng.gamma(2.0, 0.004)),
        }


def _encoded(seconds: np.ndarray) -> str:
    histogram = Histogram()
    histogram.record(seconds * 1e6)
    return histogram.encode()


def time_report(folder: Path, deliveries: int) -> Timing:
    """Run `report` on the folder in a process of its own. Raises RuntimeError when it fails or does not tell every delivery."""
    begin = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-m", "harness.cli", "report", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    most, used = 0, 0.0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
            used = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    said, _ = process.communicate()
    seconds = time.monotonic() - begin
    run = RunFolder(folder)
    if process.returncode != 0:
        raise RuntimeError(f"the report ended with status {process.returncode}:\n{said}")
    told = orjson.loads(run.verdicts.read_bytes())["throughput"]["whole"]["delivered"]
    if told != deliveries:
        raise RuntimeError(f"the report told {told:,} of {deliveries:,} deliveries")
    return Timing(seconds, used, most, run.journal.stat().st_size, run.report.stat().st_size, deliveries)


def main() -> int:
    """Build, time, say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="how long the report of a long run takes")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0, help="broadcasts a second")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds of the steady phase")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit", type=float, default=10.0, help="most seconds that it may take")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    setting = Setting(given.viewers, given.rate, given.duration, given.workers)
    with tempfile.TemporaryDirectory(prefix="roadmap-report-") as room:
        folder = Path(room) / "run"
        print(f"writing a run of {setting.duration:g} s, {setting.rate:g} broadcasts/s to {setting.viewers:,} viewers ...", flush=True)
        deliveries = write_run(folder, setting)
        load = Load()
        timing = time_report(folder, deliveries)
        others = load.take()["others"]
    fast = timing.seconds <= given.limit
    print(f"{timing.deliveries:>14,} deliveries, journal {timing.journal_bytes / 1e6:.1f} MB, page {timing.page_bytes / 1e6:.2f} MB")
    print(f"{timing.seconds:>12.2f} s  of {given.limit:g} s allowed ({timing.cpu:.2f} s of CPU, {timing.most_memory / 1e6:.0f} MB)")
    print(f"{others:>12.0%}    of the machine was used by others meanwhile")
    if given.json:
        write_json(given.json, {"machine": machine(), "setting": asdict(setting), "timing": asdict(timing), "others": others})
    if not fast:
        print("too slow" + (": but others kept the machine busy; run it again alone" if others > 0.25 else ""))
    return 0 if fast else 1


if __name__ == "__main__":
    sys.exit(main())
