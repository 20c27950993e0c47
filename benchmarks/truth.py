"""How truthful the instrument is: a real run against a server whose mishaps and delays are known, and what the run reported of them.

    python -m benchmarks.truth [--viewers 200] [--rate 50] [--duration 20] [--processes 1] [--tls] [--json FILE]

Losses, duplicates, reorderings and misdirections must be reported exactly, for each broadcast, and for each viewer where the report
names them; the p50 and p99 of the headline latency within 1 ms or 5 % of the truth. Exit code 0 only when all of it holds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trustme

from benchmarks.machine import Load, machine, quiet, write_json
from benchmarks.truth_server import feature_ids, user_id
from harness.analysis.latency import latency_figures
from harness.analysis.run import Run, load_run
from harness.locust_run import LocustRun, scenario_file
from harness.measure.plan import VotePlan

__all__ = ["KINDS", "Comparison", "Line", "Setting", "compare", "run_truth"]

KINDS = ("lost", "duplicated", "reordered", "misdirected")
"""What the ledger counts."""

_CAUSE = {
    "lost": "lost",
    "vanished": "lost",
    "duplicated": "duplicated",
    "late duplicate": "duplicated",
    "swapped": "reordered",
    "misdirected": "misdirected",
}
_NAMED = {"lost": (("lost", "vanished"), ()), "duplicated": (("duplicated",), ("late duplicate",)), "misdirected": (("misdirected",), ())}
"""Kinds whose findings name viewers: of what they must, and of what they may. A copy that comes after a broadcast's books were closed is
counted, and not named any more."""
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_SEED = 7
_STALL = (0.4, 0.5)  # begin as a share of the run, and length in seconds


@dataclass(frozen=True, slots=True)
class Setting:
    """One run. Rate in votes per second, lengths in seconds."""

    viewers: int
    rate: float
    duration: float
    warmup: float
    features: int
    voters: int
    drain: float
    processes: int
    tls: bool = False

    @property
    def plan(self) -> VotePlan:
        """The plan that the run makes of it."""
        return VotePlan(
            features=tuple(feature_ids(self.features)),
            voters=tuple(user_id(number) for number in range(self.voters)),
            rate=self.rate,
            duration=self.duration,
            warmup=self.warmup,
            seed=_SEED,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity: what was injected, what was reported, and whether they agree as they must."""

    what: str
    injected: float
    reported: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """All quantities, and in words what disagrees."""

    lines: tuple[Line, ...]
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return all(line.holds for line in self.lines)


@contextlib.contextmanager
def _server(folder: Path, setting: Setting) -> Iterator[None]:
    """The truth server, running inside; truth.json is there afterwards."""
    stall = _STALL[0] * (setting.warmup + setting.duration), min(_STALL[1], 0.2 * setting.plan.feature_period)
    words = [folder, setting.plan.count, setting.viewers, setting.features, _SEED, setting.plan.feature_period, *stall]
    words += _certificate(folder) if setting.tls else []
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.truth_server", *map(str, words)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (folder / "ready.json").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the truth server did not start")
            time.sleep(0.02)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _certificate(folder: Path) -> list[Path]:
    """A certificate with its key for 127.0.0.1, and the authority that vouches for it."""
    authority, certificate = folder / "authority.pem", folder / "certificate.pem"
    ours = trustme.CA()
    ours.cert_pem.write_to_path(str(authority))
    ours.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    return [certificate, authority]


def run_truth(folder: Path, setting: Setting) -> tuple[Run, dict[str, Any]]:
    """Do the run in `folder` and return it as the analysis reads it, and what really happened."""
    options: dict[str, object] = {
        "users": setting.viewers,
        "spawn-rate": 100,
        "rate": setting.rate,
        "duration": setting.duration,
        "warmup": setting.warmup,
        "features": setting.features,
        "voters": setting.voters,
        "drain": setting.drain,
        "seed": _SEED,
        "reports": folder,
    }
    place = folder / "run"
    place.mkdir()
    with _server(folder, setting):
        locust = LocustRun(scenario_file("broadcast"), place, options, processes=setting.processes, web_port=None)
        with quiet(folder / "locust.log"):
            locust.execute(str(folder / "ready.json"))
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_bytes())
    return load_run(place), truth


def _number(plan: VotePlan, each: Mapping[str, Any]) -> int:
    """The cast of a broadcast: its feature comes once a cycle."""
    first = plan.by_feature(plan.features[each["feature"]], 0.0, early=len(plan.features) / plan.rate - 0.5 / plan.rate)
    if first is None:
        raise RuntimeError("the server was asked for a feature that is not in the plan")
    n: int = first + each["occurrence"] * len(plan.features)
    cast = plan.cast(n)
    if (cast.voter, cast.action) != (user_id(each["voter"]), each["action"]):
        raise RuntimeError(f"cast {n} of the plan is not what the server was asked for")
    return n


def _injected(plan: VotePlan, truth: Mapping[str, Any]) -> tuple[dict[str, Counter[int]], dict[str, Counter[tuple[int, int]]]]:
    """By kind: deliveries per cast; and by what was done: (cast, session)."""
    per_cast: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    per_viewer: dict[str, Counter[tuple[int, int]]] = {what: Counter() for what in _CAUSE}
    for each in truth["broadcasts"]:
        if each["kind"] is not None:
            n = _number(plan, each)
            per_cast[_CAUSE[each["kind"]]][n] += len(each["chosen"])
            per_viewer[each["kind"]].update((n, session) for session in each["chosen"])
    return per_cast, per_viewer


def _named(run: Run, kind: str, processes: int) -> tuple[Counter[tuple[int, int]], set[int]]:
    """(cast, session) of the findings of a kind, and the casts whose findings do not name everybody."""
    named: Counter[tuple[int, int]] = Counter()
    cut: set[int] = set()
    for finding in run.findings:
        if finding["what"] == kind and finding["n"] is not None:
            viewers = finding["viewers"]
            for viewer in viewers:
                worker, _, slot = viewer.removeprefix("w").partition("-")
                named[finding["n"], int(slot) * processes + int(worker)] += 1
            if finding["total"] > len(viewers):
                cut.add(finding["n"])
    return _uncut(named, cut), cut


def _uncut(pairs: Counter[tuple[int, int]], cut: set[int]) -> Counter[tuple[int, int]]:
    return Counter({key: times for key, times in pairs.items() if key[0] not in cut})


def _latencies(run: Run, plan: VotePlan, truth: Mapping[str, Any]) -> np.ndarray:
    """Of every delivery in the steady phase: written less due, seconds."""
    epoch = run.phases.epoch
    if epoch is None:
        raise RuntimeError("the run ended before the first vote")
    parts = [
        np.array(each["moments"], np.float64) / 1e9 - (epoch + plan.offset(n))
        for each in truth["broadcasts"]
        if (n := _number(plan, each)) >= plan.steady_from
    ]
    return np.concatenate(parts)


def compare(run: Run, truth: Mapping[str, Any], setting: Setting, *, absolute: float, relative: float) -> Comparison:
    """What was injected beside what the run says. Latencies may differ by `absolute` seconds or by a share `relative`."""
    plan = setting.plan
    lines, faults = [], []
    casts = len(truth["broadcasts"])
    lines.append(Line("broadcasts", plan.count, casts, casts == plan.count and not truth["stray"]))
    written = sum(len(each["sockets"]) for each in truth["broadcasts"])
    frames = run.types.get("VOTE_UPDATE", 0)
    lines.append(Line("deliveries", written, frames, frames == written))
    per_cast, per_viewer = _injected(plan, truth)
    for kind in KINDS:
        told = {int(n): int(count) for n, count in zip(run.broadcasts["n"], run.broadcasts[kind], strict=True) if count}
        wrong = {n: (per_cast[kind][n], told.get(n, 0)) for n in per_cast[kind] | Counter(told) if per_cast[kind][n] != told.get(n, 0)}
        lines.append(Line(kind, per_cast[kind].total(), sum(told.values()), not wrong))
        faults += [f"cast {n}: {want} {kind}, {got} reported" for n, (want, got) in sorted(wrong.items())]
        if kind in _NAMED:
            named, cut = _named(run, kind, setting.processes)
            must, may = (_uncut(sum((per_viewer[what] for what in causes), Counter()), cut) for causes in _NAMED[kind])
            missing, extra = must - named, named - must - may
            found = (named & must) + extra
            lines.append(Line(f"{kind}, by viewer", must.total(), found.total(), not missing and not extra))
            faults += [f"cast {n}: {kind} at session {session} is not named" for n, session in missing]
            faults += [f"cast {n}: {kind} at session {session} is named" for n, session in extra]
    real, figures = _latencies(run, plan, truth), latency_figures(run).headline
    for name, share, seen in (("p50", 0.5, figures.p50), ("p99", 0.99, figures.p99)):
        want = float(np.quantile(real, share, method="inverted_cdf"))
        got = float("nan") if seen is None else seen
        lines.append(Line(f"latency {name}, ms", want * 1e3, got * 1e3, abs(got - want) <= max(absolute, relative * want)))
    return Comparison(tuple(lines), tuple(faults))


def _table(comparison: Comparison) -> str:
    rows = [f"\n{'':<26} {'injected':>10} {'reported':>10} {'difference':>10}"]
    for line in comparison.lines:
        form = ".3f" if "latency" in line.what else ".0f"
        mark = "" if line.holds else "  WRONG"
        rows.append(f"{line.what:<26} {line.injected:>10{form}} {line.reported:>10{form}} {line.reported - line.injected:>+10{form}}{mark}")
    return "\n".join([*rows, *comparison.faults[:20]])


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--processes", type=int, default=1, help="Locust worker processes")
    parser.add_argument("--tls", action="store_true", help="over TLS, where arrivals are Python's, not the kernel's")
    parser.add_argument("--json", type=Path, default=None, help="write the result there too")
    options = parser.parse_args()
    setting = Setting(
        options.viewers, options.rate, options.duration, 2.0, round(options.rate * 6), 20, 6.0, options.processes, options.tls
    )
    load, here = Load(), machine()
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        run, truth = run_truth(Path(folder), setting)
        comparison = compare(run, truth, setting, absolute=0.001, relative=0.05)
        how = f"{options.viewers} viewers, {options.processes} process(es)" + (", TLS" if options.tls else "")
        print(f"{here['cores']} cores, {here['kernel']}, {here['python']}; {how}")
        print(_table(comparison))
    document = {
        "benchmark": "truth",
        "machine": here,
        "load": load.take(),
        "setting": asdict(setting),
        "lines": [asdict(line) for line in comparison.lines],
        "faults": comparison.faults,
        "holds": comparison.holds,
    }
    write_json(options.json, document)
    return 0 if comparison.holds else 1


if __name__ == "__main__":
    sys.exit(main())
