"""Runs every truth over TCP and TLS, in one load process and in two, and prints one table of what was injected and what was reported.

    python -m benchmarks.truth [--part NAME ...] [--json FILE]
    python -m benchmarks.truth --part NAME --transport tls --processes 2

Exit code 0 only when every line holds. What depends on time runs alone; what only counts or weighs runs side by side.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from benchmarks.machine import Load, machine, write_json
from benchmarks.truth.delay import delay
from benchmarks.truth.deliveries import deliveries
from benchmarks.truth.leak import leak
from benchmarks.truth.lines import Line, Part, table
from benchmarks.truth.slow import slow

PARTS: Mapping[str, Callable[..., Part]] = {"deliveries": deliveries, "delay": delay, "leak": leak, "slow": slow}
_ALONE = ("deliveries", "delay")
_AT_ONCE = 3
_TRANSPORTS, _PROCESSES = ("tcp", "tls"), (1, 2)

_Job = tuple[str, str, int]


def _named(job: _Job) -> str:
    part, transport, processes = job
    return f"{part}, {transport.upper()}, {processes} process{'es' if processes > 1 else ''}"


def _do(job: _Job) -> Part:
    part, transport, processes = job
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        return PARTS[part](Path(folder), tls=transport == "tls", processes=processes)


def _apart(job: _Job) -> Part:
    """In a process of its own: a run takes over the signals and the output of the process that it is started from."""
    part, transport, processes = job
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        result = Path(folder) / "result.json"
        words = ["--part", part, "--transport", transport, "--processes", str(processes), "--json", str(result)]
        done = subprocess.run([sys.executable, "-m", "benchmarks.truth", *words], check=False, capture_output=True, text=True)
        if not result.exists():
            said = done.stderr.strip().splitlines()
            return Part((Line("it ran", 1, 0, 0, False),), (said[-1] if said else f"ended with status {done.returncode}",))
        (told,) = orjson.loads(result.read_bytes())["parts"]
    print(f"  {_named(job)}: {'as injected' if told['holds'] else 'WRONG'}", file=sys.stderr, flush=True)
    lines = tuple(Line(**line) for line in told["lines"])
    return Part(lines, tuple(told["faults"]), tuple(told["invalid"]))


def _all(jobs: Sequence[_Job]) -> list[tuple[str, Part]]:
    """First those that need the machine for themselves."""
    done = {job: _apart(job) for job in jobs if job[0] in _ALONE}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        rest = [job for job in jobs if job not in done]
        done.update(zip(rest, pool.map(_apart, rest), strict=True))
    return [(_named(job), done[job]) for job in jobs]


def _document(parts: Sequence[tuple[str, Part]], here: Mapping[str, Any], load: Load) -> dict[str, Any]:
    told = [{"name": name, **asdict(part), "holds": part.holds} for name, part in parts]
    return {"benchmark": "truth", "machine": here, "load": load.take(), "parts": told, "holds": all(part.holds for _, part in parts)}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="only these")
    parser.add_argument("--transport", nargs="+", choices=_TRANSPORTS, default=list(_TRANSPORTS))
    parser.add_argument("--processes", nargs="+", type=int, default=list(_PROCESSES), help="of load, each in turn")
    parser.add_argument("--json", type=Path, default=None, help="write the result there too")
    options = parser.parse_args()
    load, here = Load(), machine()
    jobs = list(itertools.product(options.part, options.transport, options.processes))
    parts = [(_named(jobs[0]), _do(jobs[0]))] if len(jobs) == 1 else _all(jobs)
    print(f"{here['cores']} cores, {here['kernel']}, {here['python']}")
    print(table(parts))
    wrong = sum(not line.holds for _, part in parts for line in part.lines)
    total = sum(len(part.lines) for _, part in parts)
    print(f"{total - wrong} of {total} quantities as injected" + (f", {wrong} WRONG" if wrong else ""))
    write_json(options.json, _document(parts, here, load))
    return 0 if not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
