"""Writes real journals with known truths: a good run, made of records that a test changes in one place before they are written.

Everything is computed from the parameters; the random part of the latencies is seeded. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.journal import Journal
from harness.measure.histogram import Histogram
from harness.run_folder import RunFolder

__all__ = ["T0", "Recipe", "Record", "events", "good", "of", "second_at", "tear", "without", "write"]

T0 = 1_795_000_000.0
"""When every built run starts."""

Record = dict[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A good run. `latency(n, rng, viewers)` gives the seconds from due to each viewer's arrival of broadcast n."""

    viewers: int = 60
    rate: float = 20.0
    duration: float = 6.0
    warmup: float = 1.0
    workers: int = 1
    seed: int = 7
    slope: float = 9_000.0
    noise: float = 20_000.0
    slip: float = 0.001
    lag: float = 0.002
    ramp: float = 10.0
    latency: Callable[[int, np.random.Generator, int], Floats] | None = None

    @property
    def epoch(self) -> float:
        return T0 + 0.5 + self.ramp + 0.5

    @property
    def steady_from(self) -> float:
        return self.epoch + self.warmup

    @property
    def steady_until(self) -> float:
        return self.steady_from + self.duration

    @property
    def drained(self) -> float:
        return self.steady_until + 1.0


FULL = Recipe(viewers=1000, rate=100.0, duration=60.0, warmup=5.0)
"""The contract's own load."""


def usual(n: int, rng: np.random.Generator, viewers: int) -> Floats:
    """About 20 ms, with a tail, and a fan-out of some milliseconds over the sockets."""
    return 0.015 + rng.gamma(2.0, 0.003) + np.linspace(0.0, 0.004, viewers) + 0.0 * n


def good(recipe: Recipe) -> list[Record]:
    """All records of a completed run without a blemish, footer last."""
    rng = np.random.default_rng(recipe.seed)
    casts = round((recipe.warmup + recipe.duration) * recipe.rate)
    first_steady = round(recipe.warmup * recipe.rate)
    due = recipe.epoch + np.arange(casts) / recipe.rate
    called = due + recipe.slip * rng.uniform(0.2, 1.0, casts)
    shares = [recipe.viewers * (w + 1) // recipe.workers - recipe.viewers * w // recipe.workers for w in range(recipe.workers)]
    latency = recipe.latency or usual
    arrivals = [due[n] + latency(n, rng, recipe.viewers) for n in range(casts)]
    records: list[Record] = [_header(recipe)]
    records += [
        _event(T0 + 0.5, "ramp_started"),
        _event(T0 + 0.5 + recipe.ramp, "ramp_done"),
        _event(
            recipe.epoch - 0.2,
            "cast_started",
            start=recipe.epoch,
            steady_from=recipe.steady_from,
            steady_until=recipe.steady_until,
        ),
        _event(recipe.steady_until, "cast_ended"),
        _event(recipe.drained, "drained"),
    ]
    records.append(
        {
            "kind": "casts",
            "worker": 0,
            "n": list(range(casts)),
            "due": due.tolist(),
            "called": called.tolist(),
            "answered": (called + 0.006).tolist(),
            "status": [200] * casts,
            "count": [1] * casts,
        }
    )
    begin = 0
    for worker, share in enumerate(shares):
        mine = [arrival[begin : begin + share] for arrival in arrivals]
        begin += share
        records.append(_broadcasts(worker, mine, called))
        records += _seconds(recipe, worker, share, mine, called - due, first_steady)
    records += _target(recipe, rng)
    total = casts * recipe.viewers
    records.append(
        {
            "kind": "footer",
            "ended": recipe.drained + 0.5,
            "reason": "completed",
            "totals": {
                "casts": casts,
                "broadcasts": casts,
                "expected": total,
                "delivered": total,
                "frames": total,
                "lost": 0,
                "duplicated": 0,
                "reordered": 0,
                "misdirected": 0,
            },
        }
    )
    return records


def write(folder: Path, records: list[Record]) -> Path:
    """The records as a journal in a new folder; answers the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder) as journal:
        for record in records:
            journal.write(record)
    return folder


def tear(folder: Path) -> None:
    """Leave half a record at the journal's end, as a crash does."""
    with RunFolder(folder).journal.open("ab") as file:
        file.write(b'{"kind":"second","t":17950')


def of(records: list[Record], kind: str) -> list[Record]:
    """The records of one kind; changing them changes the run."""
    return [record for record in records if record["kind"] == kind]


def without(records: list[Record], kind: str, **same: Any) -> list[Record]:
    """All records but those of this kind that have these values."""
    return [r for r in records if r["kind"] != kind or any(r.get(key) != value for key, value in same.items())]


def events(records: list[Record], name: str, t: float, **detail: Any) -> list[Record]:
    """The records with one more event, before the footer if there is one."""
    return [*(r for r in records if r["kind"] != "footer"), _event(t, name, **detail), *of(records, "footer")]


def second_at(records: list[Record], t: float) -> Record:
    """The `second` record that covers the moment t."""
    return next(record for record in of(records, "second") if record["t"] - 1.0 < t <= record["t"])


def _header(recipe: Recipe) -> Record:
    return {
        "kind": "header",
        "format": 1,
        "run": "20261119T075320Z-broadcast-0001",
        "scenario": "broadcast",
        "started": T0,
        "target": {"name": "bundled", "base_url": "http://127.0.0.1:3000", "ws_url": "ws://127.0.0.1:3000/api/roadmap/ws"},
        "seed": recipe.seed,
        "parameters": {
            "viewers": recipe.viewers,
            "rate": recipe.rate,
            "duration": recipe.duration,
            "warmup": recipe.warmup,
            "features": 100,
            "voters": 20,
            "spawn_rate": recipe.viewers / recipe.ramp,
        },
        "versions": {"roadmap-harness": "0.1.0", "python": "3.11.7", "locust": "2.47.0"},
        "machine": {"cores": 2, "memory_bytes": 8_000_000_000, "kernel": "Linux 6.1", "hostname": "bench-1"},
        "git": {"revision": "abc1234", "dirty": False},
        "workers": recipe.workers,
        "readings": {"exclusion": "session", "batch": "coalesce"},
        "exclusive_clock": True,
    }


def _event(t: float, name: str, **detail: Any) -> Record:
    return {"kind": "event", "t": t, "worker": 0, "name": name, "detail": detail}


def _broadcasts(worker: int, mine: list[Floats], called: Floats) -> Record:
    casts, share = len(mine), len(mine[0])
    zeros = [0] * casts
    return {
        "kind": "broadcasts",
        "worker": worker,
        "n": list(range(casts)),
        "stamped": (called + 0.004).tolist(),
        "first": [float(a.min()) for a in mine],
        "last": [float(a.max()) for a in mine],
        "expected": [share] * casts,
        "delivered": [share] * casts,
        "lost": list(zeros),
        "duplicated": list(zeros),
        "reordered": list(zeros),
        "misdirected": list(zeros),
    }


def _histogram(seconds: Floats) -> str:
    histogram = Histogram()
    histogram.record(seconds * 1e6)
    return histogram.encode()


def _seconds(recipe: Recipe, worker: int, share: int, mine: list[Floats], slips: Floats, first_steady: int) -> list[Record]:
    due = recipe.epoch + np.arange(len(mine)) / recipe.rate
    arrived = np.concatenate(mine)
    waited = arrived - np.repeat(due, share)
    steady = np.repeat(np.arange(len(mine)) >= first_steady, share)
    order = np.argsort(arrived, kind="stable")
    ordered = arrived[order]
    records, before = [], 0
    # The ends of a worker's seconds fall a little later than another's.
    shift = 0.05 * worker
    for t in np.arange(T0 + 1.0, max(recipe.drained, ordered[-1]) + 1.0, 1.0) + shift:
        count = round(share * min(1.0, max(0.0, (t - T0 - 0.5) / recipe.ramp)))
        frames = order[np.searchsorted(ordered, t - 1.0, "right") : np.searchsorted(ordered, t, "right")]
        calls = (due > t - 1.0) & (due <= t)
        number = len(frames)
        records.append(
            {
                "kind": "second",
                "t": float(t),
                "worker": worker,
                "open": count,
                "opened": count - before,
                "refused": 0,
                "closed": 0,
                "frames": number,
                "bytes": number * 180,
                "reads": number,
                "shared_reads": 0,
                "parsed": number // max(1, share),
                "types": {"VOTE_UPDATE": number},
                "invalid": 0,
                "latency": _histogram(waited[frames[steady[frames]]]),
                "lag": _histogram(np.full(max(1, number), recipe.lag)),
                "slip": _histogram(slips[calls]),
                "cpu": 0.4,
                "host_cpu": 0.7,
                "loop_stall": 0.004,
            }
        )
        before = count
    return records


def _target(recipe: Recipe, rng: np.random.Generator) -> list[Record]:
    records = []
    for t in np.arange(T0 + 0.25, recipe.drained, 0.25):
        count = recipe.viewers * min(1.0, max(0.0, (t - T0 - 0.5) / recipe.ramp))
        rss = 60e6 + recipe.slope * count + rng.normal(0.0, recipe.noise)
        kept = {"descriptors": 20 + round(count), "threads": 4, "cpu": 0.3 * (t - T0), "pss": None}
        records.append({"kind": "target", "t": float(t), "rss": round(rss), **kept})
    return records
