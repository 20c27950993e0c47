"""ramp.py and judge_ramp.py: costs and leaks that were put in come out, within the error that is stated, and each verdict by its cause."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.ramp import RampStudy
from harness.analysis.summary import Summary, assess
from harness.verdict import Verdict
from tests.analysis.builder import T0, Record, write

_VIEWERS, _STEPS, _HOLD = 200, 4, 4.0
_JUDGED = ["ramp_connections", "ramp_memory", "ramp_leak", "ramp_descriptors", "ramp_handshakes"]


def _records(
    *, cycles: int = 5, cost: float = 9_000.0, leak: float = 0.0, noise: float = 5_000.0, seed: int = 1, **more: Any
) -> list[Record]:
    """A ramp with a known cost of a connection and a known rest of each that left; descriptors leak by `descriptors` each; an
    allocator keeps up to `settles` bytes as it fills its pools.
    """
    rng = np.random.default_rng(seed)
    records: list[Record] = [
        {"kind": "header", "format": 1, "run": "r", "scenario": "ramp", "started": T0, "judged": _JUDGED, "workers": 1,
         "parameters": {"viewers": _VIEWERS, "rate": 0, "spawn_rate": 500.0}, "target": {"base_url": "http://127.0.0.1:1"}},
    ]  # fmt: skip
    t, came, number = T0 + 1.0, 0, 0

    def event(name: str, **detail: Any) -> None:
        records.append({"kind": "event", "t": t, "worker": 0, "name": name, "detail": detail})

    def plateau(cycle: int, asked: int, held: int) -> None:
        nonlocal t
        begin = t
        for at in np.arange(begin, begin + _HOLD, 0.25):
            settled = more.get("settles", 0.0) * (1 - math.exp(-came / _VIEWERS))
            rss = 50e6 + cost * held + leak * came + settled + rng.normal(0.0, noise)
            descriptors = 20 + held + round(more.get("descriptors", 0.0) * came)
            records.append(
                {"kind": "target", "t": float(at), "rss": rss, "pss": None, "cpu": 1.0, "descriptors": descriptors, "threads": 4}
            )
            records.append({"kind": "second", "t": float(at), "worker": 0, "open": held, "opened": 0, "refused": 0})
        t = begin + _HOLD
        event("plateau", cycle=cycle, asked=asked, open=held, begin=begin, until=t)

    event("measure_started")
    plateau(0, 0, 0)
    for cycle in range(cycles):
        for step in range(1, _STEPS + 1):
            number += 1
            asked = _VIEWERS * step // _STEPS
            held = min(asked, more.get("most", _VIEWERS))
            event("step", cycle=cycle, number=number, count=_VIEWERS // _STEPS)
            due = [t + n / 500 for n in range(_VIEWERS // _STEPS)]
            records.append({"kind": "handshakes", "worker": 0, "step": [number] * len(due), "due": due, "began": due,
                            "done": [at + 0.01 for at in due], "opened": [True] * len(due)})  # fmt: skip
            plateau(cycle, asked, held)
        came += held
        plateau(cycle, 0, 0)
    event("measure_ended")
    return [*records, {"kind": "footer", "ended": t + 1.0, "reason": "completed", "totals": {}}]


def _judged(folder: Path, **given: Any) -> Summary:
    return assess(write(folder / f"run-{len(list(folder.iterdir()))}", _records(**given))).summary


@settings(max_examples=12, deadline=None)
@given(cost=st.floats(1_000, 40_000), leak=st.floats(0, 20_000), seed=st.integers(0, 999))
def test_cost_and_leak_come_out_as_they_were_put_in(tmp_path_factory: pytest.TempPathFactory, cost: float, leak: float, seed: int) -> None:
    study = _judged(tmp_path_factory.mktemp("ramp"), cost=cost, leak=leak, seed=seed).study
    assert isinstance(study, RampStudy)
    assert study.cost is not None
    assert study.leak is not None
    assert study.cost.slope == pytest.approx(cost, abs=150)
    assert study.leak.each == pytest.approx(leak, abs=30)
    assert study.leak.low <= study.leak.each <= study.leak.high
    assert study.leak.low - 20 <= leak <= study.leak.high + 20


def test_a_good_ramp_is_judged_by_what_it_showed(tmp_path: Path) -> None:
    summary = _judged(tmp_path)
    assert not summary.reasons
    verdicts = {benchmark.id: benchmark.verdict for benchmark in summary.benchmarks}
    assert verdicts == {
        "ramp_connections": Verdict.INFO,  # 200 are not the contract's 1000
        "ramp_memory": Verdict.PASS,
        "ramp_leak": Verdict.PASS,
        "ramp_descriptors": Verdict.PASS,
        "ramp_handshakes": Verdict.INFO,
    }
    assert summary.study.handshake.p99 == pytest.approx(0.01)
    assert summary.study.peaks == (_VIEWERS,) * 5


@pytest.mark.parametrize(
    ("given", "name", "verdict"),
    [
        ({"leak": 5_000.0}, "ramp_leak", Verdict.FAIL),
        ({"settles": 3e6}, "ramp_leak", Verdict.INCONCLUSIVE),
        ({"settles": 3e6, "leak": 10_000.0, "cycles": 8}, "ramp_leak", Verdict.FAIL),
        ({"settles": 3e6, "cycles": 16}, "ramp_leak", Verdict.PASS),
        ({"descriptors": 0.5}, "ramp_descriptors", Verdict.FAIL),
        ({"cost": 30_000.0}, "ramp_memory", Verdict.WARN),
        ({"cost": 10_000.0, "noise": 400_000.0}, "ramp_memory", Verdict.INCONCLUSIVE),
        ({"noise": 2_000_000.0}, "ramp_leak", Verdict.INCONCLUSIVE),
        ({"most": 150}, "ramp_connections", Verdict.FAIL),
    ],
)
def test_each_defect_has_its_verdict(tmp_path: Path, given: dict[str, Any], name: str, verdict: Verdict) -> None:
    benchmark = _judged(tmp_path, **given).benchmark(name)
    assert benchmark.verdict is verdict, benchmark.detail


def test_without_readings_of_the_process_nothing_is_said_of_memory(tmp_path: Path) -> None:
    records = [record for record in _records() if record["kind"] != "target"]
    summary = assess(write(tmp_path / "run", records)).summary
    assert {summary.benchmark(name).verdict for name in ("ramp_memory", "ramp_leak", "ramp_descriptors")} == {Verdict.NOT_TESTABLE}
