"""wire.py and words.visible: what is left out is counted, nothing costs more than it was given, nothing stays unseen."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from harness import words
from harness.report.gate_file import Frame
from harness.report.wire import cost, logs, shares

FRAMES = st.lists(
    st.builds(
        Frame,
        connection=st.sampled_from(["a", "b", "c"]),
        at=st.floats(0, 900),
        direction=st.sampled_from(["in", "out", "end"]),
        opcode=st.sampled_from([-1, 0, 1, 2, 8, 9, 10, 3]),
        text=st.text(max_size=40),
        own=st.booleans(),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000), max_size=8), max_size=5), st.integers(0, 5000))
def test_shares_never_exceed_the_budget_and_serve_the_first_group_first(demands: list[list[int]], budget: int) -> None:
    given_ = shares(demands, budget)
    assert sum(map(sum, given_)) <= budget
    for group, got in zip(demands, given_, strict=True):
        assert all(0 <= share <= demand for share, demand in zip(got, group, strict=True))
        short = [share for share, demand in zip(got, group, strict=True) if share < demand]
        if short:  # nobody who was served has more than one who was not, but for what does not divide
            assert max(got) <= min(short) + 1
    if sum(map(sum, demands)) <= budget:
        assert given_ == demands
    unserved = [index for index, (group, got) in enumerate(zip(demands, given_, strict=True)) if sum(got) < sum(group)]
    if unserved:
        assert sum(map(sum, given_)) == budget
        assert not any(sum(got) for got in given_[unserved[0] + 1 :])


@settings(deadline=None)
@given(FRAMES, st.integers(0, 6000), st.integers(1, 50))
def test_a_log_costs_no_more_than_allowed_and_counts_what_it_leaves_out(frames: list[Frame], allowance: int, limit: int) -> None:
    found = logs(frames, allowance, limit)
    assert [log.connection for log in found] == list(dict.fromkeys(frame.connection for frame in frames))
    for log in found:
        assert len(log.rows) + log.left_out == sum(frame.connection == log.connection for frame in frames)
    if not any(log.left_out for log in found):
        assert sum(cost(frame, limit) for frame in frames) <= allowance
    # A frame that another check caused is never shown where one of the check's own was left out.
    own = sum(frame.own for frame in frames)
    shown = [row.own for log in found for row in log.rows]
    assert sum(shown) == own or all(shown)
    everything = logs(frames, 10**9, limit)
    assert sum(len(log.rows) for log in everything) == len(frames)
    cheapest = [cost(frame, limit) for frame in frames]
    assert len(shown) * min(cheapest, default=0) <= allowance


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_visible_leaves_nothing_that_hides_or_reorders(text: str) -> None:
    seen = words.visible(text)
    seen.encode("utf-8")
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\n" for letter in seen)
    assert not any(unicodedata.bidirectional(letter) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI") for letter in seen)
    assert words.visible(seen) == seen


def test_visible_keeps_what_can_be_read() -> None:
    for text in ('{"type":"PING"}', "Größe 日本 🙂 12\u202fms\n\tnext", ""):
        assert words.visible(text) == text
    assert words.visible("a\x1b[2J\u202eb\r") == "a\\u001b[2J\\u202eb\\u000d"
