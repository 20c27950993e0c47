"""The truth of memory: the bundled server, keeping a known number of bytes of each connection for ever, under the scenario ramp.

The same server without the leak is run first: what it costs and leaves by itself is no part of what was injected. What is added must show
as bytes left behind by each connection and as bytes that a connection costs, to within the confidence intervals of the two runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.truth.lines import Line, Part, within
from benchmarks.truth.place import certificate, run_scenario, serving
from harness.analysis.memory import Slope
from harness.analysis.ramp import Leak, RampStudy
from harness.analysis.summary import Summary, assess
from harness.verdict import Verdict

__all__ = ["Ramp", "compare_leak", "leak", "run_leaky"]

_USERS = 20
_OVERHEAD = 48  # bytes that the interpreter and its allocator add to an object of this size
_LEFT, _COST = 600.0, 1_700.0  # bytes: what the bundled server leaves in its first cycles, and what a connection costs it
_PAGE = 0.02  # of what was injected: memory is resident by the page


@dataclass(frozen=True, slots=True)
class Ramp:
    """One run of the scenario: viewers come in `steps`, `cycles` times over, and hold for so many seconds."""

    viewers: int
    steps: int
    cycles: int
    hold: float


def leak(folder: Path, *, tls: bool, processes: int) -> Part:
    """The part as the benchmark runs it."""
    # TLS handshakes leave room free for smaller blocks, which then add nothing to what is resident; these have pages of their own.
    ramp, bytes_each = Ramp(200, 2, 6 if tls else 4, 1.5), 163_000 if tls else 16_000
    sound, leaky = (run_leaky(folder, each, ramp, tls=tls, processes=processes) for each in (0, bytes_each))
    return compare_leak(sound, leaky, bytes_each, cost=not tls)


def run_leaky(folder: Path, bytes_each: int, ramp: Ramp, *, tls: bool, processes: int) -> Summary:
    """What the analysis makes of a ramp against a server that keeps so many bytes of each connection."""
    place = folder / f"keeps-{bytes_each}"
    state = place / "state"
    place.mkdir()
    words = [str(bytes_each), "--port", "0", "--state-dir", str(state), "--sessions", str(ramp.viewers), "--users", str(_USERS)]
    ready, more = state / "ready.json", {}
    if tls:
        own, authority = certificate(place)
        words += ["--tls-cert", str(own), "--tls-key", str(own)]
        more = {"ca_file": str(authority)}
    options: dict[str, object] = {"users": ramp.viewers, "spawn-rate": 200, "steps": ramp.steps, "cycles": ramp.cycles, "hold": ramp.hold}
    with serving(["benchmarks.truth.leaky_server", *words], ready, place / "server.log"):
        target = place / "target.json"
        target.write_text(json.dumps({**json.loads(ready.read_text("utf-8")), **more}), "utf-8")
        return assess(run_scenario(place, "ramp", target, options, processes)).summary


def compare_leak(sound: Summary | None, leaky: Summary, bytes_each: int, *, cost: bool = True) -> Part:
    """What was injected beside the difference of the two runs; without the sound one, beside what its server may cost and leave.

    cost: whether the cost while it is there is compared. Over TLS it is not the sum of two parts: of the 48 KB that a first connection
    adds, 32 are what handshakes left free, and how much of that stays resident differs between two runs by more than either knows.
    """
    injected = float(bytes_each + _OVERHEAD)
    before, after = None if sound is None else _study(sound), _study(leaky)
    left, own_cost = (_Own(0.0, _LEFT), _Own(_COST, _COST)) if before is None else (_own(before.leak), _own(before.cost))
    lines = [_line("leak: left behind by each, bytes", injected, left, _own(after.leak))]
    if cost:
        lines.append(_line("leak: each costs more while it is there, bytes", injected, own_cost, _own(after.cost)))
    runs = [summary for summary in (sound, leaky) if summary is not None]
    reasons = tuple(reason.code for summary in runs for reason in summary.reasons)
    if not reasons:
        verdicts = [summary.benchmark("ramp_leak").verdict for summary in runs]
        right = verdicts[-1] is Verdict.FAIL and Verdict.FAIL not in verdicts[:-1]
        lines.append(Line("leak: convicted of it, and without it not", 1, verdicts.count(Verdict.FAIL), None, right))
    return Part(tuple(lines), invalid=reasons)


@dataclass(frozen=True, slots=True)
class _Own:
    """A figure with half the width of its interval, bytes."""

    middle: float
    reach: float


def _own(found: Leak | Slope | None) -> _Own | None:
    if found is None:
        return None
    return _Own(found.each if isinstance(found, Leak) else found.slope, (found.high - found.low) / 2)


def _line(what: str, injected: float, without: _Own | None, having: _Own | None) -> Line:
    if without is None or having is None:
        return within(what, injected, None, 0.0)
    return within(what, injected, having.middle - without.middle, without.reach + having.reach + _PAGE * injected)


def _study(summary: Summary) -> RampStudy:
    if not isinstance(summary.study, RampStudy):
        raise RuntimeError("the run of ramp has no study")
    return summary.study
