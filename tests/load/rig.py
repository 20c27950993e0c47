"""Starting the real thing: the bundled server, Locust with a scenario, and reading what the run left behind.

A run's page takes seconds to draw, so it is drawn where a test looks at it (`page=True`) and nowhere else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.bundled import BundledServer, ServerSize
from harness.locust_run import PAGE, free_port, scenario_file

PATIENCE = 90.0
MACHINE_REASONS = {"slip", "lag", "host_cpu", "stall", "casts_missed", "votes_refused", "own_error"}
"""Of an INVALID run: what a machine that is too busy to measure may be the cause of, and nothing else."""
VIEWERS, VOTERS, FEATURES, RATE, WARMUP, DURATION = 30, 5, 20, 20, 1, 3
CASTS = RATE * (WARMUP + DURATION)
OWED = CASTS * (VIEWERS - 1)  # every viewer but the one who holds the voter's own session

SHAPE = {
    "users": VIEWERS,
    "spawn-rate": 100,
    "rate": RATE,
    "duration": DURATION,
    "warmup": WARMUP,
    "features": FEATURES,
    "voters": VOTERS,
    "drain": 5,
}
"""A casting run of seconds, by Locust's names of its options."""


@contextmanager
def server(folder: Path, arguments: list[str] | None = None) -> Iterator[BundledServer]:
    size = ServerSize(sessions=VIEWERS, users=VIEWERS, features=FEATURES, connections=VIEWERS, rate=RATE)
    with BundledServer(size, log=folder / "server.log", arguments=arguments) as running:
        yield running


@dataclass
class Outcome:
    """A finished run: exit code, both outputs, and the journal by kind (empty when no run began)."""

    code: int
    output: str
    folder: Path | None
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] == kind]

    def events(self) -> list[str]:
        return [record["name"] for record in self.of("event")]

    def total(self, column: str) -> int:
        return sum(sum(record[column]) for record in self.of("broadcasts"))

    @property
    def footer(self) -> dict[str, Any]:
        (footer,) = self.of("footer")
        return footer

    def page(self) -> str:
        """The run's page; where it was not drawn, the run's own output is the message."""
        assert self.folder is not None, self.output
        assert (self.folder / "index.html").is_file(), self.output
        return (self.folder / "index.html").read_text("utf-8")

    def verdicts(self) -> dict[str, Any]:
        assert self.folder is not None
        found: dict[str, Any] = json.loads((self.folder / "verdicts.json").read_text())
        return found


def locust_command(
    target: object, reports: Path, *more: str, headless: bool = True, file: Path | None = None, shape: bool = True, **changes: object
) -> list[str]:
    """`shape`: with the options of a small casting run, which `changes` overrides."""
    locustfile = str(file or scenario_file("broadcast"))
    words = [sys.executable, "-m", "locust", "-f", locustfile, "--target", str(target), "--reports", str(reports)]
    for name, value in {**(SHAPE if shape else {}), **{key.replace("_", "-"): value for key, value in changes.items()}}.items():
        words += [f"--{name}", str(value)]
    return [*words, *(["--headless", "--only-summary"] if headless else []), *more]


def processes_of(number: int) -> list[str]:
    """Locust's options for so many worker processes, on a port of their own."""
    port = free_port()
    return ["--processes", str(number), "--master-bind-port", port, "--master-port", port]


def start(
    command: list[str],
    log: Path,
    before: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    page: bool = False,
) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that a test can interrupt it as a terminal would."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before,
            env={**os.environ, "PYTHONUNBUFFERED": "1", PAGE: "yes" if page else "no", **(environment or {})},
        )


def wait(process: subprocess.Popen[bytes], log: Path, reports: Path) -> Outcome:
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"the run did not end:\n{log.read_text()}") from None
    return outcome(code, log, reports)


def outcome(code: int, log: Path, reports: Path) -> Outcome:
    journals = sorted(reports.glob("*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    lines = journals[-1].read_bytes().splitlines(keepends=True) if journals else []
    records = [orjson.loads(line) for line in lines if line.endswith(b"\n")]
    return Outcome(code, log.read_text(), journals[-1].parent if journals else None, records)


def run(
    target: object,
    folder: Path,
    *more: str,
    before: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
    page: bool = False,
    **changes: Any,
) -> Outcome:
    """A headless run from start to end."""
    reports, log = folder / "reports", folder / "locust.log"
    return wait(start(locust_command(target, reports, *more, **changes), log, before, environment, page=page), log, reports)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def casting(reports: Path) -> Callable[[], bool]:
    """Is a run in `reports` in its steady phase, with broadcasts delivered and settled?"""

    def check() -> bool:
        return any(b'"kind":"broadcasts"' in journal.read_bytes() for journal in reports.glob("*/journal.jsonl"))

    return check
