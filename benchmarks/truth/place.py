"""Where a truth is tried: a server of ours with what it is known to do, and a real scenario run against it by the real Locust.

Everything lies in one folder: the order, what the server says of itself, the run. Nothing here looks at what the run found.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trustme

from benchmarks.machine import quiet
from benchmarks.truth.order import Order
from benchmarks.truth.server import feature_ids, user_id
from harness.locust_run import LocustRun, scenario_file
from harness.measure.plan import VotePlan

__all__ = ["SEED", "Setting", "certificate", "run_casting", "run_scenario", "serving"]

SEED = 7
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One casting run. Rate in votes per second, lengths in seconds."""

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
            seed=SEED,
        )

    @property
    def order(self) -> Order:
        """What a truth server has to know of it: an order without any mishap yet."""
        return Order(self.plan.count, self.viewers, self.features, SEED, self.plan.feature_period, mishaps=False)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate with its key for 127.0.0.1, and the authority that vouches for it."""
    own, authority = folder / "certificate.pem", folder / "authority.pem"
    ours = trustme.CA()
    ours.cert_pem.write_to_path(str(authority))
    ours.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(own))
    return own, authority


@contextlib.contextmanager
def serving(command: Sequence[str], ready: Path, log: Path) -> Iterator[None]:
    """A server of ours, running inside: `command` is a module of this project and its words; it writes `ready` when it listens."""
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log.read_text('utf-8', 'replace')[-300:]}")
            time.sleep(0.02)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run_scenario(folder: Path, name: str, ready: Path, options: dict[str, object], processes: int) -> Path:
    """Run a scenario against the server of `ready`; returns its run folder. Raises RuntimeError when there is nothing in it."""
    place = folder / "run"
    place.mkdir()
    locust = LocustRun(scenario_file(name), place, {**options, "reports": folder}, processes=processes, web_port=None, page=False)
    log = folder / "locust.log"
    with quiet(log):
        locust.execute(str(ready))
    if not (place / "journal.jsonl").exists():
        raise RuntimeError(f"the run did not begin: {log.read_text('utf-8', 'replace')[-300:]}")
    return place


def run_casting(
    folder: Path, setting: Setting, order: Order, *, scenario: str = "broadcast", **more: object
) -> tuple[Path, dict[str, Any]]:
    """Run a scenario that casts votes against a truth server with that order: the run folder, and what really happened."""
    if setting.tls:
        own, authority = certificate(folder)
        order = replace(order, certificate=str(own), authority=str(authority))
    order.write(folder)
    options: dict[str, object] = {
        "users": setting.viewers,
        "spawn-rate": 100,
        "rate": setting.rate,
        "duration": setting.duration,
        "warmup": setting.warmup,
        "features": setting.features,
        "voters": setting.voters,
        "drain": setting.drain,
        "seed": SEED,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    ready = folder / "ready.json"
    with serving(["benchmarks.truth.server", str(folder)], ready, folder / "server.log"):
        place = run_scenario(folder, scenario, ready, options, setting.processes)
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_bytes())
    return place, truth
