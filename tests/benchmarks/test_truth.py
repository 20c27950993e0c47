"""The instrument against servers whose every mishap is known, in small: the counts must be exact, whatever the machine is doing.

Each kind of truth is also held against a lie about it, because a comparison that cannot fail proves nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.truth.delay import Delay, compare_delay, run_delay
from benchmarks.truth.deliveries import KINDS, compare, run_deliveries
from benchmarks.truth.leak import Ramp, compare_leak, run_leaky
from benchmarks.truth.lines import Part, table, within
from benchmarks.truth.place import Setting
from benchmarks.truth.slow import Neglect, compare_slow, run_slow
from tests.load.rig import MACHINE_REASONS

_BUSY = 0.15  # seconds by which a busy machine may shift a moment: anybody can be interrupted between looking at the clock and acting


def _wrong(part: Part) -> set[str]:
    return {line.what for line in part.lines if not line.holds}


def test_deliveries_are_reported_exactly_as_injected_over_tls_and_four_processes(tmp_path: Path) -> None:
    # Two votes on a feature are two seconds apart: answers as late as that would make a vanished broadcast look like a merged one.
    setting = Setting(viewers=40, rate=30.0, duration=5.6, warmup=0.4, features=60, voters=10, drain=1.0, processes=4, tls=True)

    run, truth = run_deliveries(tmp_path, setting)

    part = compare(run, truth, setting, absolute=_BUSY, relative=0.05)
    assert part.faults == ()
    assert part.holds, table([("", part)])
    injected = {line.what: line.injected for line in part.lines}
    assert all(injected[kind] > 0 for kind in KINDS), "a mishap that does not happen proves nothing"
    assert injected["latency p50, ms"] > 10.0

    for each in truth["broadcasts"]:  # a lie: change one thing in each kind
        if each["kind"] is not None:
            each["chosen"] = each["chosen"][1:]
    assert _wrong(compare(run, truth, setting, absolute=_BUSY, relative=0.05)) >= set(KINDS)


def test_a_servers_delay_and_its_stall_are_told_with_their_time_and_length(tmp_path: Path) -> None:
    setting = Setting(viewers=30, rate=40.0, duration=3.0, warmup=0.5, features=40, voters=5, drain=3.0, processes=1)
    told = Delay(each=0.6, begin=1.3, length=1.0)

    assessment, truth = run_delay(tmp_path, setting, told)

    part = compare_delay(assessment, truth, setting, told, busy=_BUSY)
    assert set(part.invalid) <= MACHINE_REASONS
    assert part.holds, table([("", part)])
    assert assessment.summary.throughput.whole.lost == 0, "what comes late is not lost"

    lie = compare_delay(assessment, truth, setting, replace(told, each=2 * told.each, length=2 * told.length), busy=_BUSY)
    assert _wrong(lie) >= {
        "delay: vote to broadcast p50, ms",
        "delay: the contract's own metric p50, ms",
        "stall: as long as was told, s",
    }


def test_a_leak_of_known_size_is_stated_to_within_its_error(tmp_path: Path) -> None:
    ramp, bytes_each = Ramp(viewers=60, steps=2, cycles=3, hold=1.5), 30_000

    leaky = run_leaky(tmp_path, bytes_each, ramp, tls=False, processes=1)

    part = compare_leak(None, leaky, bytes_each)
    assert set(part.invalid) <= MACHINE_REASONS
    assert part.holds, table([("", part)])
    assert _wrong(compare_leak(None, leaky, 3 * bytes_each)) >= {line.what for line in part.lines if "bytes" in line.what}


def test_a_server_that_cuts_nobody_off_is_told_by_the_viewers_it_keeps(tmp_path: Path) -> None:
    setting = Setting(viewers=20, rate=100.0, duration=8.0, warmup=0.5, features=60, voters=3, drain=3.0, processes=1)
    told = Neglect(every=5, calm=1.5, cut_bytes=20_000, heartbeat_interval=0.8, heartbeat_timeout=1.2)

    assessment, truth = run_slow(tmp_path, setting, told)

    part = compare_slow(assessment, truth, setting, told, busy=1.0)
    assert set(part.invalid) <= MACHINE_REASONS
    assert part.holds, table([("", part)])
    assert len(truth["cut"]) == 2

    for session in list(truth["cut"]):  # a lie: nobody was cut off
        del truth["cut"][session]
    assert "slow: answering, cut off" in _wrong(compare_slow(assessment, truth, setting, told, busy=1.0))


def test_a_line_holds_within_its_error_and_never_without_a_figure() -> None:
    assert within("x", 10.0, 11.0, 1.0).holds
    assert not within("x", 10.0, 11.1, 1.0).holds
    assert not within("x", 10.0, None, 100.0).holds
