"""How many broadcasts a second a receiver keeps up with, and at what cost: ours beside two others, on one source, in one run.

    python -m benchmarks.receivers [--sockets 1000] [--seconds 5] [--json FILE]

A rate is held when nothing is lost and the p99 that the receiver reports stays under 100 ms; each rate is tried in turn by all that held
the one before, with a second try for a miss (more when other processes were busy). The CPU per 100,000 frames is compared at a rate that
all hold, and at 100/s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import BUSY, Load, machine, wait_for_others, write_json
from benchmarks.receiver import Received, Spec
from benchmarks.source import Sent, Source, compile_source

__all__ = ["RECEIVERS", "Step", "measure"]

RECEIVERS = {
    "fleet": "benchmarks.receive_fleet",
    "greenlets": "benchmarks.receive_greenlets",
    "picows": "benchmarks.receive_picows",
}
"""Name and module; each module is run as a program."""

_RATES = (10, 15, 25, 50, 100, 200, 300, 400, 500)
_P99_LIMIT = 100.0  # ms
_DRAIN = 5.0
_COMMON, _CONTRACT = 10, 100  # broadcasts/s
_ABLE = 50  # who holds less is not asked for the contract's rate
_TRIES, _MOST_TRIES = 2, 5  # misses that decide, and tries in all, where others kept the machine busy meanwhile


@dataclass(frozen=True, slots=True)
class Step:
    """One receiver at one rate. `cost`: CPU seconds per 100,000 frames; `late`: how far behind its plan the source was, p99, seconds."""

    receiver: str
    rate: float
    received: Received
    cost: float
    held: bool
    late: float
    refusals: int
    load: dict[str, float]

    @property
    def verdict(self) -> str:
        """In words. A source that is late makes every receiver look late: where it is, the limit is not the receiver's alone."""
        if self.held:
            return ""
        return "not held, source late" if self.late * 1e3 > _P99_LIMIT / 2 else "not held"


def measure(name: str, command: list[str], *, sockets: int, rate: float, seconds: float, drain: float = _DRAIN) -> tuple[Step, Sent]:
    """Run one receiver on one source. Raises RuntimeError when either fails."""
    load = Load()
    with Source(command, sockets=sockets, rate=rate, seconds=seconds, drain=drain) as source:
        spec = Spec(source.port, sockets, rate, seconds, drain)
        receiver = subprocess.Popen([sys.executable, "-m", RECEIVERS[name]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if receiver.stdin is None:
                raise RuntimeError("the receiver has no standard input")
            receiver.stdin.write(json.dumps(asdict(spec)) + "\n")
            receiver.stdin.flush()
            said, _ = receiver.communicate(f"{source.wait_start(lambda: receiver.poll() is None)}\n", timeout=spec.longest + 60.0)
        finally:
            if receiver.poll() is None:
                receiver.kill()
                receiver.wait()
        if receiver.returncode or not said.strip():
            raise RuntimeError(f"the receiver {name} ended with status {receiver.returncode}")
        received = Received(**json.loads(said.splitlines()[-1]))
        sent = source.wait_end()
    cost = received.cpu / received.frames * 1e5 if received.frames else float("inf")
    held = received.lost == 0 and received.p99 < _P99_LIMIT
    return Step(name, rate, received, cost, held, sent.late, sent.refusals, load.take()), sent


class _Bench:
    """All steps of a run, printed as they come."""

    def __init__(self, command: list[str], sockets: int, seconds: float, patience: float) -> None:
        self._command, self._sockets, self._seconds, self._patience = command, sockets, seconds, patience
        self.steps: list[Step] = []
        print(
            f"{'receiver':<10} {'rate':>5} {'lost':>9} {'p50 ms':>8} {'p99 ms':>9} {'lag ms':>7} {'CPU s/100k':>10} {'late ms':>8}  others"
        )

    def step(self, name: str, rate: float) -> Step:
        wait_for_others(self._patience)
        step, _ = measure(name, self._command, sockets=self._sockets, rate=rate, seconds=self._seconds)
        self.steps.append(step)
        seen = step.received
        lag = f"{seen.detail['lag_p99']:.1f}" if "lag_p99" in seen.detail else "-"
        print(
            f"{name:<10} {rate:>5g} {seen.lost:>9} {seen.p50:>8.1f} {seen.p99:>9.1f} {lag:>7} {step.cost:>10.3f} {step.late * 1e3:>8.1f}"
            f"  {step.load['others']:.0%}  {step.verdict}",
            flush=True,
        )
        return step

    def search(self, names: Sequence[str], rates: Sequence[float]) -> dict[str, float]:
        """The highest rate that each held, of rates tried upwards until the first miss; 0 where it held none."""
        best, running = dict.fromkeys(names, 0.0), list(names)
        for rate in rates:
            for name in list(running):
                if self._holds(name, rate):
                    best[name] = rate
                else:
                    running.remove(name)
        return best

    def _holds(self, name: str, rate: float) -> bool:
        misses = 0
        for _ in range(_MOST_TRIES):
            step = self.step(name, rate)
            if step.held:
                return True
            misses += step.load["others"] <= BUSY
            if misses == _TRIES:
                break
        return False

    def costs(self, names: Sequence[str], rate: float, times: int) -> dict[str, float]:
        """Median CPU seconds per 100,000 frames, interleaved."""
        steps = [self.step(name, rate) for _ in range(times) for name in names]
        return {name: statistics.median(step.cost for step in steps if step.receiver == name) for name in names}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole comparison as a document."""
    load = Load()
    with tempfile.TemporaryDirectory(prefix="broadcast-source-") as folder:
        command = compile_source(Path(folder))
        language = "Python" if command[0] == sys.executable else "C"
        here = machine()
        print(f"source in {language}, {options.sockets} sockets; {here['cores']} cores, {here['kernel']}, {here['python']}")
        bench = _Bench(command, options.sockets, options.seconds, options.patience)
        best = bench.search(options.receivers, options.rates)
        common = bench.costs(options.receivers, _COMMON, options.times)
        able = [name for name in options.receivers if best[name] >= _ABLE]
        contract = bench.costs(able, _CONTRACT, options.times)
    return {
        "benchmark": "receivers",
        "machine": here,
        "load": load.take(),
        "source": language,
        "sockets": options.sockets,
        "seconds": options.seconds,
        "limit": {"lost": 0, "p99_ms": _P99_LIMIT},
        "highest_rate": best,
        "cpu_seconds_per_100k_frames": {str(_COMMON): common, str(_CONTRACT): contract},
        "steps": [asdict(step) | {"verdict": step.verdict} for step in bench.steps],
    }


def _table(document: dict[str, Any]) -> str:
    best = document["highest_rate"]
    costs = document["cpu_seconds_per_100k_frames"]
    common, contract = costs[str(_COMMON)], costs[str(_CONTRACT)]
    ours = next(iter(best))
    rows = [
        f"\n{'receiver':<10} {'broadcasts/s held':>18} {'ratio':>6} {f'CPU s/100k at {_COMMON}/s':>22} {'ratio':>6} {f'at {_CONTRACT}':>9}"
    ]
    for name, rate in best.items():
        ratio = rate / best[ours] if best[ours] else float("nan")
        dear = common[name] / common[ours]
        full = f"{contract[name]:.3f}" if name in contract else "-"
        rows.append(f"{name:<10} {rate:>18g} {ratio:>6.2f} {common[name]:>22.3f} {dear:>6.2f} {full:>9}")
    return "\n".join(rows)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receivers", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each step")
    parser.add_argument("--rates", type=float, nargs="+", default=[float(rate) for rate in _RATES], help="broadcasts/s to try, upwards")
    parser.add_argument("--receivers", nargs="+", choices=list(RECEIVERS), default=list(RECEIVERS))
    parser.add_argument("--times", type=int, default=3, help="measurements of the CPU cost, of which the median counts")
    parser.add_argument("--patience", type=float, default=20.0, help="most seconds to wait before a step until others are quiet")
    parser.add_argument("--json", type=Path, default=None, help="write the result there too")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    document = run(options)
    print(_table(document))
    write_json(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
