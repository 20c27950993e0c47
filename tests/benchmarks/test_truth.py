"""The instrument against a server whose every mishap is known, in small: the counts must be exact, whatever the machine is doing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.truth import KINDS, Setting, compare, run_truth

_BUSY = 0.1  # seconds by which a busy machine may shift a latency: the server can be interrupted between looking at the clock and writing


@pytest.mark.parametrize(("tls", "processes"), [(False, 1), (True, 2)])
def test_a_run_reports_exactly_what_was_injected(tmp_path: Path, tls: bool, processes: int) -> None:
    setting = Setting(viewers=40, rate=60.0, duration=2.6, warmup=0.4, features=60, voters=10, drain=1.0, processes=processes, tls=tls)

    run, truth = run_truth(tmp_path, setting)

    comparison = compare(run, truth, setting, absolute=_BUSY, relative=0.05)
    assert comparison.faults == ()
    assert comparison.holds, comparison.lines
    injected = {line.what: line.injected for line in comparison.lines}
    assert all(injected[kind] > 0 for kind in KINDS), "a mishap that does not happen proves nothing"
    assert injected["latency p50, ms"] > 10.0

    for each in truth["broadcasts"]:  # and a comparison that cannot fail would prove nothing either: change one thing in each kind
        if each["kind"] is not None:
            each["chosen"] = each["chosen"][1:]
    wrong = {line.what for line in compare(run, truth, setting, absolute=_BUSY, relative=0.05).lines if not line.holds}
    assert wrong >= set(KINDS)
