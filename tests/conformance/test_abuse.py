"""How long abuse went on is measured on what was sent: the longest time in which every window was full."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.conformance.checks.abuse import longest_row


@given(st.lists(st.floats(0, 100), max_size=60).map(sorted), st.integers(1, 8), st.floats(0.1, 20))
def test_every_window_inside_the_row_is_full(sent: list[float], count: int, window: float) -> None:
    longest = longest_row(sent, count, window)
    rows = [
        later - sooner
        for number, sooner in enumerate(sent)
        for later in sent[number + count :]
        if all(
            sent[each + count] - sent[each] <= window
            for each in range(number, len(sent) - count)
            if sent[each + count] <= later and sent[each] >= sooner
        )
    ]
    assert longest <= max(rows, default=0.0) or math.isclose(longest, max(rows, default=0.0))
    assert longest <= (sent[-1] - sent[0] if sent else 0.0)


def test_a_pause_begins_a_new_row() -> None:
    steady = [n / 10 for n in range(60)]
    assert math.isclose(longest_row(steady, 9, 1.0), 5.9)
    assert longest_row(steady, 11, 1.0) == 0.0
    late = [moment + (1.0 if moment > 2.95 else 0.0) for moment in steady]
    assert math.isclose(longest_row(late, 9, 1.0), 2.9)
