"""What the bundled server can do on this machine: broadcasts a second to 1000 sockets, its CPU per frame, its memory per connection.

    python -m benchmarks.server [--sockets 1000] [--seconds 5] [--json FILE]

The load is a real run of the harness on the same machine, so server and instrument share its cores: a rate is held when nothing is lost
and the p99 from vote to broadcast stays under 100 ms. A rate that the instrument itself could not carry is called so, and not the server's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import BUSY, Load, machine, quiet, wait_for_others, write_json
from harness.analysis.summary import assess
from harness.bundled import BundledServer, ServerSize
from harness.locust_run import LocustRun, scenario_file
from harness.measure.limits import raise_descriptors
from harness.measure.resources import ProcessProbe
from harness.net.handshake import Opened, open_websocket
from harness.target import Target, bundled_profile
from harness.verdict import Validity

__all__ = ["Rate", "connection_bytes", "rate_step"]

_RATES = (50.0, 100.0, 150.0, 200.0, 300.0, 400.0)
_P99_LIMIT = 0.1  # seconds
_FEATURES, _VOTERS, _USERS = 200, 20, 50
_TRIES, _MOST_TRIES = 2, 4  # misses that decide, and tries in all, where others kept the machine busy meanwhile
_STEPS = 10
_SETTLE = 0.3  # seconds after the last handshake of a step, until the server has let go of what the handshakes took
_SPARE = 512
_BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control: no-cache",
    "Pragma: no-cache",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)


@dataclass(frozen=True, slots=True)
class Rate:
    """The server at one rate. `cost`: its CPU seconds per 100,000 frames; p50 and p99: seconds; `fit`: was the instrument fit?"""

    rate: float
    frames: int
    lost: int
    p50: float
    p99: float
    cost: float
    share: float
    fit: bool
    reason: str
    held: bool
    load: dict[str, float]


def rate_step(server: BundledServer, folder: Path, *, sockets: int, rate: float, seconds: float) -> Rate:
    """One run of the broadcast scenario on a running server; `folder` is made."""
    folder.mkdir()
    options: dict[str, object] = {
        "users": sockets,
        "spawn-rate": 200,
        "rate": rate,
        "duration": seconds,
        "warmup": 2.0,
        "features": _FEATURES,
        "voters": _VOTERS,
        "drain": 5.0,
        "reports": folder.parent,
    }
    load = Load()
    with quiet(folder / "locust.log"):
        LocustRun(scenario_file("broadcast"), folder, options, processes=1, web_port=None).execute(str(server.ready))
    assessment = assess(folder)
    run, summary = assessment.run, assessment.summary
    steady = run.broadcasts[run.broadcasts["steady"]]
    lost, frames = int(steady["lost"].sum()), int(steady["delivered"].sum())
    share = _cpu_share(run.target, run.phases.steady_from, run.phases.judged_until)
    headline = summary.latency.headline
    p50, p99 = headline.p50 or float("inf"), headline.p99 or float("inf")
    complete = len(steady) == round(rate * seconds) and int(steady["expected"].sum()) > 0
    return Rate(
        rate=rate,
        frames=frames,
        lost=lost,
        p50=p50,
        p99=p99,
        cost=share * run.phases.steady_seconds / frames * 1e5 if frames else float("inf"),
        share=share,
        fit=summary.validity is Validity.VALID,
        reason=summary.reasons[0].sentence if summary.reasons else "",
        held=complete and lost == 0 and p99 < _P99_LIMIT,
        load=load.take(),
    )


def _cpu_share(samples: Any, begin: float | None, end: float | None) -> float:
    """CPU seconds per second of the server between two moments; NaN where it was not sampled."""
    if begin is None or end is None:
        return float("nan")
    inside = samples[(samples["t"] >= begin) & (samples["t"] <= end)]
    if len(inside) < 2:
        return float("nan")
    first, last = inside.iloc[0], inside.iloc[-1]
    return float((last["cpu"] - first["cpu"]) / (last["t"] - first["t"]))


def connection_bytes(sockets: int, folder: Path) -> tuple[float, list[tuple[int, int]]]:
    """Bytes of resident memory per connection: the slope of a line through (connections, RSS), on a fresh server."""
    raise_descriptors(sockets + _SPARE)
    size = ServerSize(sessions=sockets, users=_USERS, features=_FEATURES, connections=sockets, rate=1.0)
    opened: list[Opened] = []
    points: list[tuple[int, int]] = []
    with BundledServer(size, log=folder / "server.log") as server:
        target, probe = bundled_profile(server.ready), ProcessProbe(server.pid)
        sessions = target.sessions(sockets)
        try:
            for step in range(_STEPS + 1):
                more = sessions[len(opened) : sockets * step // _STEPS]
                opened.extend(_open(target, [*target.handshake_headers(session), *_BROWSER]) for session in more)
                time.sleep(_SETTLE)
                sample = probe.sample(time.time())
                if sample is None or sample.rss is None:
                    raise RuntimeError(f"the server's memory cannot be read: {probe.problem}")
                points.append((len(opened), sample.rss))
        finally:
            for each in opened:
                each.close()
    slope, _ = np.polyfit([count for count, _ in points], [rss for _, rss in points], 1)
    return float(slope), points


def _open(target: Target, headers: list[str]) -> Opened:
    outcome = open_websocket(target.ws_url, headers=headers, origin=target.origin, timeout=10.0, tls=target.tls_context())
    if not isinstance(outcome, Opened):
        raise RuntimeError(f"the server refused a connection: {outcome.problem}")
    return outcome


def _search(options: argparse.Namespace, folder: Path) -> list[Rate]:
    """Every step, of rates tried upwards until one is missed as often as it may be tried."""
    size = ServerSize(options.sockets, _USERS, _FEATURES, options.sockets, max(options.rates))
    steps: list[Rate] = []
    print(f"{'rate':>6} {'frames':>9} {'lost':>8} {'p50 ms':>8} {'p99 ms':>9} {'CPU s/100k':>10} {'CPU':>5}  others' CPU")
    with BundledServer(size, log=folder / "server.log") as server:
        for rate in options.rates:
            misses = 0
            for attempt in range(_MOST_TRIES):
                wait_for_others(options.patience)
                place = folder / f"{rate:g}-{attempt}"
                step = rate_step(server, place, sockets=options.sockets, rate=rate, seconds=options.seconds)
                steps.append(step)
                note = "" if step.held else f"  not held{'' if step.fit else ', and the instrument was not fit: ' + step.reason}"
                print(
                    f"{rate:>6g} {step.frames:>9} {step.lost:>8} {step.p50 * 1e3:>8.1f} {step.p99 * 1e3:>9.1f} {step.cost:>10.3f}"
                    f" {step.share:>5.0%}  {step.load['others']:.0%}{note}",
                    flush=True,
                )
                misses += not step.held and step.load["others"] <= BUSY
                if step.held or misses == _TRIES:
                    break
            if not step.held:
                break
    return steps


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each step")
    parser.add_argument("--rates", type=float, nargs="+", default=list(_RATES), help="broadcasts/s to try, upwards")
    parser.add_argument("--times", type=int, default=3, help="measurements of the memory, of which the median counts")
    parser.add_argument("--patience", type=float, default=20.0, help="most seconds to wait before a step until others are quiet")
    parser.add_argument("--json", type=Path, default=None, help="write the result there too")
    options = parser.parse_args()
    load, here = Load(), machine()
    print(f"bundled server, {options.sockets} sockets; {here['cores']} cores, {here['kernel']}, {here['python']}")
    with tempfile.TemporaryDirectory(prefix="server-benchmark-") as folder:
        memory = [connection_bytes(options.sockets, Path(folder)) for _ in range(options.times)]
        steps = _search(options, Path(folder))
    best = max((step for step in steps if step.held), key=lambda step: step.rate, default=None)
    per_connection = statistics.median(slope for slope, _ in memory)
    print(f"\nbroadcasts/s held               {best.rate if best else 0:>8g}")
    if best is not None:
        print(f"CPU s per 100,000 frames there  {best.cost:>8.3f}")
    print(f"KB of RSS per connection        {per_connection / 1e3:>8.2f}")
    document = {
        "benchmark": "server",
        "machine": here,
        "load": load.take(),
        "sockets": options.sockets,
        "limit": {"lost": 0, "p99_ms": _P99_LIMIT * 1e3},
        "highest_rate": best.rate if best else 0.0,
        "cpu_seconds_per_100k_frames": best.cost if best else None,
        "bytes_per_connection": per_connection,
        "memory": [{"slope": slope, "points": points} for slope, points in memory],
        "steps": [asdict(step) for step in steps],
    }
    write_json(options.json, document)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"benchmarks.server: {error}")
