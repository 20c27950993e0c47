"""Our own receive path with everything switched on, as a load process runs it: `Station` with its fleet, schema validation, kernel
stamps, delivery ledger and histograms, the fold of every second into Locust's statistics, and the journal on a disk.

Latency is what the harness itself reports: arrived - due, by the kernel's stamps. How far behind the kernel Python was (seen - arrived)
is `lag_p99` in the detail, milliseconds.
"""

from gevent import monkey

monkey.patch_all()

import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
from locust.stats import RequestStats  # noqa: E402
from pydantic import SecretStr  # noqa: E402

from benchmarks.receiver import Received, Spec, answer, read_spec, read_start  # noqa: E402
from benchmarks.source import make_plan  # noqa: E402
from harness.journal import Journal  # noqa: E402
from harness.load.station import PlanStart, Station, Timing  # noqa: E402
from harness.load.stats import feed  # noqa: E402
from harness.measure.histogram import Histogram  # noqa: E402
from harness.target import Session, load_profile  # noqa: E402
from schemas import load_contract  # noqa: E402

__all__ = ["main"]

_LINGER, _HORIZON = 2.0, 30.0
_PROFILE = """
name = "broadcast source"
base_url = "http://127.0.0.1:{port}"
ws_path = "/"
[sessions]
source = "cookies-file"
path = "none.json"
"""


class _Evidence:
    """What a station says each second, written to a journal as in a run, and summed."""

    def __init__(self, station: Station, folder: Path) -> None:
        self._station, self._stats, self._journal = station, RequestStats(), Journal(folder)
        self.latency, self.lag = Histogram(), Histogram()
        self.sums = dict.fromkeys(("frames", "reads", "parsed", "shared_reads", "invalid"), 0)
        self.stall = 0.0

    def tick(self, *, final: bool = False) -> None:
        feed(self._stats, self._station.tick(final=final))
        for record in self._station.evidence.take():
            self._journal.write(record)
            if record["kind"] == "second":
                self.latency.merge(Histogram.decode(record["latency"]))
                self.lag.merge(Histogram.decode(record["lag"]))
                self.stall = max(self.stall, record["loop_stall"])
                for name in self.sums:
                    self.sums[name] += record[name]
        self._journal.sync(time.monotonic())


def _receive(spec: Spec, folder: Path) -> Received:
    profile = folder / "profile.toml"
    profile.write_text(_PROFILE.format(port=spec.port), "utf-8")
    contract = load_contract()
    sessions = [Session(contract.cookie, SecretStr(f"viewer-{number}"), "regular", f"viewer-{number}") for number in range(spec.sockets)]
    timing = Timing(contract.benchmark.latency, _LINGER, _HORIZON)
    station = Station(load_profile(profile), sessions, place=(0, 1), capacity=spec.sockets, timing=timing)
    for _ in range(spec.sockets):
        station.connect()
    start = PlanStart(make_plan(spec.rate, spec.seconds), read_start(), 0, 1, "session")
    station.begin(start)
    evidence = _Evidence(station, folder)
    before, until = time.process_time(), start.epoch / 1e9 + spec.longest
    while station.open and time.time() < until:
        gevent.sleep(1.0)
        evidence.tick()
    evidence.tick(final=True)
    cpu, totals = time.process_time() - before, station.totals()
    station.shut()
    p50, p99, longest = ((evidence.latency.quantile(q) or 0.0) / 1e3 for q in (0.5, 0.99, 1.0))
    wrong = {name: totals[name] for name in ("duplicated", "reordered", "misdirected", "unmatched")}
    lag = (evidence.lag.quantile(0.99) or 0.0) / 1e3
    detail = {**wrong, **evidence.sums, "lost": totals["lost"], "lag_p99": lag, "loop_stall": evidence.stall}
    # Counted here and not by the ledger alone: the source closes at once, and a socket that left early is owed nothing.
    got = evidence.sums["frames"] - sum(wrong.values())
    return Received(evidence.sums["frames"], spec.expected - got, cpu, p50, p99, longest, detail)


def main() -> None:
    """Receive one run."""
    spec = read_spec()
    with tempfile.TemporaryDirectory(prefix="receive-fleet-") as folder:
        answer(_receive(spec, Path(folder)))


if __name__ == "__main__":
    main()
