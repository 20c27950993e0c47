"""run.py: the journal as frames, phases in time, and the evidence of several workers merged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.run import load_run
from harness.errors import HarnessError
from tests.analysis.builder import T0, Recipe, Record, events, good, of, tear, without, write

RECIPE = Recipe()


def test_a_good_run_is_read_whole(tmp_path: Path, records: list[Record]) -> None:
    run = load_run(write(tmp_path / "a", records))
    assert (run.torn, run.problems, run.phases.loss, run.phases.stopped) == (False, (), None, None)
    assert run.phases.steady_complete
    assert run.phases.steady_seconds == pytest.approx(RECIPE.duration)
    assert len(run.casts) == len(run.broadcasts) == (RECIPE.warmup + RECIPE.duration) * RECIPE.rate
    assert len(run.steady_casts()) == RECIPE.duration * RECIPE.rate
    assert int(run.broadcasts["steady"].sum()) == RECIPE.duration * RECIPE.rate
    assert (run.parameters.viewers, run.parameters.rate) == (RECIPE.viewers, RECIPE.rate)
    assert run.types == {"VOTE_UPDATE": sum(r["frames"] for r in of(records, "second"))}


def test_two_workers_say_what_one_would(tmp_path: Path, records: list[Record]) -> None:
    one = load_run(write(tmp_path / "one", records))
    two = load_run(write(tmp_path / "two", good(Recipe(workers=2))))
    assert len(of(good(Recipe(workers=2)), "broadcasts")) == 2
    pd.testing.assert_frame_equal(one.broadcasts, two.broadcasts)
    pd.testing.assert_frame_equal(one.casts, two.casts)


def test_late_corrections_are_added_to_their_broadcast(tmp_path: Path, records: list[Record]) -> None:
    row = of(records, "broadcasts")[0]
    row["lost"][30], row["delivered"][30] = 2, 58
    late: Record = {"kind": "broadcasts", "worker": 0, "n": [30], "stamped": [None], "first": [None], "last": [None]}
    late |= {"expected": [0], "delivered": [2], "lost": [-2], "duplicated": [0], "reordered": [0], "misdirected": [0]}
    run = load_run(write(tmp_path / "a", [*records[:-1], late, records[-1]]))
    corrected = run.broadcasts.set_index("n").loc[30]
    assert (corrected["expected"], corrected["delivered"], corrected["lost"]) == (60, 60, 0)
    assert corrected["first"] == row["first"][30]


def test_a_crashed_journal_is_read_as_far_as_it_goes(tmp_path: Path, records: list[Record]) -> None:
    folder = write(tmp_path / "a", without(records, "footer"))
    tear(folder)
    run = load_run(folder)
    assert run.torn
    assert run.footer is None
    assert len(run.casts) == 140


def test_a_header_alone_is_a_run_of_nothing(tmp_path: Path, records: list[Record]) -> None:
    run = load_run(write(tmp_path / "a", of(records, "header")))
    assert (len(run.casts), len(run.broadcasts), len(run.seconds), run.phases.last) == (0, 0, 0, T0)
    assert run.phases.steady_seconds == 0.0


def test_no_journal_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no journal"):
        load_run(tmp_path)


def test_a_broadcast_whose_cast_is_gone_is_placed_by_its_number(tmp_path: Path, records: list[Record]) -> None:
    run = load_run(write(tmp_path / "a", without(records, "casts")))
    assert run.broadcasts.set_index("n").loc[40, "due"] == pytest.approx(RECIPE.epoch + 40 / RECIPE.rate)
    assert int(run.broadcasts["steady"].sum()) == 120


@pytest.mark.parametrize("name", ["target_lost", "target_exited"])
def test_a_target_that_goes_after_the_drain_was_sent_home(tmp_path: Path, records: list[Record], name: str) -> None:
    assert load_run(write(tmp_path / "a", events(records, name, RECIPE.drained + 0.1, status=0))).phases.loss is None
    before = load_run(write(tmp_path / "b", events(records, name, RECIPE.drained - 2.0, status=9, reason="reset")))
    assert before.phases.loss is not None
    assert before.phases.loss.t == RECIPE.drained - 2.0


def test_a_target_that_goes_after_the_user_stopped_is_not_lost(tmp_path: Path, records: list[Record]) -> None:
    stopped = events(events(records, "stopped", RECIPE.steady_from + 1), "target_exited", RECIPE.steady_from + 1.5, status=0)
    run = load_run(write(tmp_path / "a", stopped))
    assert run.phases.loss is None
    assert run.phases.steady_seconds == pytest.approx(1.0)
    assert not run.phases.steady_complete
