"""The drawings: what is marked on the axis of time, where labels go, and that each drawing tells in words what it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.health import health_timeline
from harness.analysis.run import Event, load_run
from harness.analysis.summary import Assessment, assess
from harness.analysis.validity import Fitness
from harness.report import figures
from harness.report.figures.drawing import apart
from harness.report.figures.times import Times, marks_of, stretches, times_of
from tests.analysis.builder import T0, Recipe, events, good, of, write
from tests.report.parsed import HOSTILE

RECIPE = Recipe()
FITNESS = Fitness.of(3.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return assess(write(tmp_path_factory.mktemp("figures") / "a", good(RECIPE)))


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), st.floats(0.1, 50))
def test_labels_are_moved_apart_and_no_further(wanted: list[float], gap: float) -> None:
    wanted = sorted(wanted, reverse=True)
    places = apart(wanted, gap)
    assert all(above - below >= gap - 1e-6 for above, below in pairwise(places))
    if all(above - below >= gap for above, below in pairwise(wanted)):
        assert places == pytest.approx(wanted)
    assert sum(places) == pytest.approx(sum(wanted), abs=1e-3)  # moved about their own middle


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["problem", "restart", "ramp_done", HOSTILE]), st.floats(0, 100)), max_size=40))
def test_every_event_is_in_a_mark_and_no_foreign_text_is(happened: list[tuple[str, float]]) -> None:
    marks = marks_of([Event(t, 0, name, {}) for name, t in sorted(happened, key=lambda each: each[1])], 0.0, 100.0)
    assert sum(mark.times for mark in marks) == sum(name != "ramp_done" for name, _ in happened)
    assert {mark.text for mark in marks} <= {"problem", "restart", "event"}
    for text in ("problem", "restart", "event"):
        same = [mark.at for mark in marks if mark.text == text]
        assert all(after - before > 2.0 for before, after in pairwise(same))


def test_the_strip_says_when_the_generator_was_late() -> None:
    line = pd.DataFrame({"at": np.arange(10.0), "slip": 0.0, "lag": 0.001, "stall": 0.0, "host_cpu": 0.5})
    line.loc[3, "lag"] = FITNESS.lag_p99 * 1.1
    line.loc[[6, 7], "slip"] = FITNESS.slip_max * 0.6
    found = stretches(line, FITNESS)
    assert [(each.begin, each.end, each.level) for each in found] == [(0, 3, 0), (3, 4, 2), (4, 6, 0), (6, 8, 1), (8, 10, 0)]
    # A second without a record between two that have one is a seam; a silence is not covered over.
    assert [(e.begin, e.end) for e in stretches(line[line["at"] != 5.0], FITNESS)][2] == (4, 6)
    silent = stretches(line[(line["at"] < 4) | (line["at"] > 8)], FITNESS)
    assert [(each.begin, each.end) for each in silent] == [(0, 3), (3, 4), (9, 10)]


def test_the_axis_begins_with_the_first_vote_and_covers_the_run(whole: Assessment) -> None:
    times = times_of(whole.run, health_timeline(whole.run), whole.fitness)
    assert times.origin == RECIPE.epoch
    assert times.first == pytest.approx(T0 - RECIPE.epoch)
    assert times.steady == pytest.approx((RECIPE.warmup, RECIPE.warmup + RECIPE.duration))
    assert times.context == "The generator was fit in every second."


def test_what_happened_is_marked_by_name_and_said() -> None:
    told = ((1.0, "gc"), (1.1, "gc"), (7.0, "gc"), (8.0, "worker_lost"), (9.0, "<b>"))
    marks = marks_of([Event(10.0 + at, 0, name, {}) for at, name in told], 10.0, 20.0)
    assert [(mark.text, mark.times, mark.bad) for mark in marks] == [
        ("GC", 2, False), ("GC", 1, False), ("worker lost", 1, True), ("event", 1, False)
    ]  # fmt: skip
    times = Times(10.0, "", 0.0, 20.0, None, marks, ())
    marked = "Marked: GC ×2 at 1 s, GC at 7 s, worker lost at 8 s, event at 9 s (GC: garbage collection of the generator)."
    assert times.context == f"The generator was not read. {marked}"


def test_deliveries_by_second_are_the_account(tmp_path: Path) -> None:
    records = good(RECIPE)
    lost = of(records, "broadcasts")[0]
    lost["lost"][50], lost["delivered"][50] = 7, lost["delivered"][50] - 7
    run = load_run(write(tmp_path / "a", records))
    times = times_of(run, health_timeline(run), FITNESS)
    line = figures.deliveries_by_second(run, times)
    assert line.loc[line["lost"] > 0, "at"].tolist() == [2.0]  # cast 50 at 20 a second
    assert line["expected"].sum() == run.broadcasts["expected"].sum() == line["delivered"].sum() + 7
    drawing = figures.deliveries(line, times)
    assert drawing is not None
    assert "7 lost" in drawing.says
    assert [row[4] for row in drawing.rows].count("7") == 1


def test_events_are_drawn_and_what_came_from_outside_is_not(tmp_path: Path) -> None:
    records = good(RECIPE)
    for at in (1.0, 1.05, 4.0):
        records = events(records, "problem", RECIPE.steady_from + at, text="again")
    records = events(records, HOSTILE, RECIPE.steady_from + 2.0)
    found = assess(write(tmp_path / "a", records))
    times = times_of(found.run, health_timeline(found.run), found.fitness)
    drawing = figures.deliveries(figures.deliveries_by_second(found.run, times), times)
    assert drawing is not None
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", str(drawing.svg))
    assert {"problem ×2", "problem", "event", "steady phase"} <= set(texts)
    assert "alert" not in drawing.svg


@pytest.mark.parametrize("viewers", [1, 60])
def test_each_drawing_tells_its_numbers(tmp_path: Path, viewers: int) -> None:
    from harness.analysis.connections import open_over_time
    from harness.analysis.heat import latency_grid, reach

    found = assess(write(tmp_path / "a", good(replace(RECIPE, viewers=viewers))))
    run, summary = found.run, found.summary
    times = times_of(run, health_timeline(run), found.fitness)
    made = [
        figures.percentiles(summary.latency, 3.0),
        figures.heat(latency_grid(run), times, 3.0),
        figures.fan_out(reach(run)),
        figures.deliveries(figures.deliveries_by_second(run, times), times),
        figures.connections(open_over_time(run), run.target, times, viewers),
        figures.health(health_timeline(run), times, found.fitness),
    ]
    for drawing in made:
        assert drawing is not None
        assert re.search(r"\d", drawing.says)
        assert drawing.rows
        assert all(len(row) == len(drawing.columns) for row in drawing.rows)
        assert len(drawing.svg) < 200_000
        assert not re.search(r"#[0-9a-f]{6}\b", str(drawing.svg)), "a colour that is not the page's"
