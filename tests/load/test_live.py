"""What the live page is told: the sums of all workers' records, whichever way they come, and bounded whatever the run's length."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.load.web.live import Live
from harness.measure.histogram import Histogram
from harness.thresholds import Threshold, Thresholds
from harness.words import percent
from schemas import load_contract

START = 1_000_000.0
CONTRACT = load_contract()


def header(**changes: Any) -> dict[str, Any]:
    target = {"ws_url": "ws://127.0.0.1:1/api/roadmap/ws"}
    parameters = {"viewers": 10}
    return {"kind": "header", "run": "r", "scenario": "broadcast", "started": START, "target": target, "parameters": parameters, **changes}


def histogram(*us: float) -> str:
    made = Histogram()
    made.record(np.array(us, np.float64))
    return made.encode()


def second(worker: int, t: float, **changes: Any) -> dict[str, Any]:
    given = {
        "open": 5,
        "frames": 100,
        "invalid": 0,
        "refused": 0,
        "host_cpu": 0.5,
        "latency": histogram(),
        "lag": histogram(),
        "slip": histogram(),
    }
    return {"kind": "second", "worker": worker, "t": START + t, **given, **changes}


def settled(worker: int, t: float, **changes: Any) -> dict[str, Any]:
    counts = {"expected": [9], "delivered": [9], "lost": [0], "duplicated": [0], "reordered": [0], "misdirected": [0]}
    times = {"n": [0], "stamped": [START + t], "first": [START + t], "last": [START + t]}
    return {"kind": "broadcasts", "worker": worker, **times, **counts, **changes}


def live(*records: dict[str, Any]) -> Live:
    made = Live(CONTRACT)
    for record in (header(), *records):
        made.see(record)
    return made


def stands(made: Live) -> dict[str, str]:
    return {each.id: each.state for each in made.view().standings}


def test_before_a_run_there_is_nothing_to_show() -> None:
    view = Live(CONTRACT).view()
    assert (view.phase, view.standings, view.series["t"]) == ("waiting", (), [])


def test_the_workers_records_of_a_second_are_one_point() -> None:
    made = live(second(1, 3.1, latency=histogram(1_000)), second(2, 3.9, latency=histogram(9_000)), settled(1, 3.2), settled(2, 3.2))
    series = made.view().series
    assert series["t"] == [3.0]
    assert (series["open"], series["deliveries"], series["broadcasts"]) == ([10], [200], [1])
    assert series["max"] == [Histogram.decode(histogram(9_000)).max / 1e3]  # type: ignore[operator]


def test_latency_is_drawn_by_each_of_its_definitions() -> None:
    """A broadcast of two workers: its span is from the first arrival at one to the last at the other, its vote is counted once."""
    called = {"kind": "casts", "worker": 1, "n": [0, 1], "called": [START + 3.1, START + 3.2]}
    made = live(
        second(1, 3.9),
        second(2, 3.9),
        called,
        settled(1, 3.2, stamped=[START + 3.125], last=[START + 3.25]),
        settled(2, 3.21, stamped=[START + 3.125], last=[START + 3.3]),
    )
    series = made.view().series
    assert [round(value or 0, 3) for value in series["stamped_p99"]] == [25.0]
    assert [round(value or 0, 3) for value in series["spread_p99"]] == [100.0]
    assert live(second(1, 3.9), settled(1, 3.2)).view().series["stamped_p99"] == [None], "nobody knows when the vote was called"


def test_votes_that_never_come_back_are_not_kept_for_ever() -> None:
    made = live({"kind": "casts", "worker": 0, "n": list(range(25_000)), "called": [START] * 25_000})
    assert len(made._called) <= 20_000


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 50), st.lists(st.integers(1, 10**7), max_size=5)), max_size=25)
)
def test_the_totals_are_those_of_all_records(rows: list[tuple[int, int, int, list[int]]]) -> None:
    made = live(*(second(worker, t, frames=frames, latency=histogram(*us)) for worker, t, frames, us in rows))
    view, whole = made.view(), Histogram.decode(histogram(*(each for *_, us in rows for each in us)))
    assert sum(value or 0 for value in view.series["deliveries"]) == sum(frames for _, _, frames, _ in rows)
    (latency,) = (each for each in view.standings if each.id == "latency")
    assert latency.samples == whole.count
    p99 = whole.quantile(0.99)
    assert latency.measured == ("nothing yet" if p99 is None else f"{p99 / 1e3:,.1f} ms")


def test_a_limit_passed_is_outside_and_what_was_not_seen_is_open() -> None:
    assert stands(live())["latency"] == stands(live())["delivery"] == "open"
    late = CONTRACT.benchmark.latency * 1.1e6
    assert stands(live(second(0, 1, latency=histogram(late))))["latency"] == "outside"
    assert stands(live(second(0, 1, latency=histogram(1_000))))["latency"] == "within"


def test_each_kind_of_harm_stands_outside_and_nothing_else_does() -> None:
    harms = {
        "delivery": settled(0, 1, delivered=[8], lost=[1]),
        "duplicated": settled(0, 1, duplicated=[1]),
        "reordered": settled(0, 1, reordered=[1]),
        "misdirected": settled(0, 1, misdirected=[1]),
        "invalid_frames": second(0, 1, invalid=1),
        "closes": {"kind": "closed", "t": START + 1},
        "unmatched": {"kind": "unmatched", "t": START + 1, "frames": 3},
        "connections": second(0, 1, refused=1),
    }
    for name, record in harms.items():
        outside = {each for each, state in stands(live(second(0, 1), settled(0, 1), record)).items() if state == "outside"}
        assert outside == {name}


def test_a_share_that_is_short_of_all_is_not_shown_as_all() -> None:
    short = settled(0, 1, expected=[10**7], delivered=[10**7 - 1], lost=[1])
    (delivery,) = (each for each in live(short).view().standings if each.id == "delivery")
    assert delivery.measured == f"{percent(1 - 1e-7)}, 1 lost"
    assert not delivery.measured.startswith("100")
    made = Live(CONTRACT, Thresholds(False, (Threshold("delivery.ratio >= 1", "delivery.ratio", ">=", 1.0, ""),)))
    for record in (header(), short):
        made.see(record)
    assert made.view().standings[0].measured == percent(1 - 1e-7)


def test_only_what_judges_the_run_is_shown() -> None:
    made = Live(CONTRACT)
    made.see(header(judged=["latency"]))
    assert list(stands(made)) == ["latency"]


def test_a_run_of_hours_keeps_its_totals_and_not_its_seconds() -> None:
    made = live(*(second(0, t, frames=1) for t in range(5_000)))
    view = made.view()
    assert len(view.series["t"]) <= 900
    assert view.series["t"][-1] == 4_999
    assert len(made._recent) <= 10, "histograms are large: only those of seconds that may still grow are kept"
    assert stands(made)["closes"] == "within"


def test_phases_events_and_the_end() -> None:
    made = live(
        {"kind": "event", "t": START + 1, "name": "ramp_started", "detail": {}},
        {
            "kind": "event",
            "t": START + 2,
            "name": "cast_started",
            "detail": {"start": START + 3, "steady_from": START + 4, "steady_until": START + 64},
        },
        second(0, 24),
        {"kind": "event", "t": START + 25, "name": "clock_step", "detail": {"seconds": 2.0}},
    )
    view = made.view()
    assert (view.phase, view.elapsed, view.remaining) == ("casting", 25.0, 39.0)
    assert [name for _, name, _ in view.events] == ["clock_step"]
    made.see({"kind": "footer", "reason": "stopped", "ended": START + 30, "totals": {}})
    assert (made.view().phase, made.view().reason, made.view().remaining) == ("ended", "stopped", None)
