"""The batcher over any history: nothing final is lost, order holds, the window and the cap hold, no needless delay."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.allowance import Allowance
from server_under_test.batcher import REMEMBERED_DELETIONS, Ballot, Batcher, FeatureEvent, Kind, VoteBatch

LIMITS = load_contract().limits
WINDOW, CAP = LIMITS.batch_window, LIMITS.broadcasts_per_second


def ballot(session: str, action: str = "add") -> Ballot:
    return Ballot(session, f"user of {session}", action)


@dataclass
class History:
    """Drives a batcher as the hub does: after every input, and whenever its deadline comes."""

    batcher: Batcher
    now: float = 0.0
    out: list[tuple[float, VoteBatch | FeatureEvent]] = field(default_factory=list)

    def advance(self, to: float) -> None:
        while (deadline := self.batcher.deadline) is not None and deadline <= to:
            self.now = max(self.now, deadline)
            before = len(self.out)
            self.send()
            assert len(self.out) > before, "a deadline at which nothing is due"
        self.now = to

    def send(self) -> None:
        self.out += [(self.now, item) for item in self.batcher.release(self.now)]

    def drain(self) -> None:
        self.advance(self.now + 1e4)
        assert self.batcher.backlog == 0

    @property
    def batches(self) -> list[tuple[float, VoteBatch]]:
        return [(t, item) for t, item in self.out if isinstance(item, VoteBatch)]


FEATURES = ["a", "b", "c"]
votes = st.tuples(st.just("vote"), st.sampled_from(FEATURES), st.sampled_from(["s", "t", "u"]))
events = st.tuples(st.sampled_from([Kind.UPDATED, Kind.CREATED, Kind.DELETED]), st.sampled_from(FEATURES), st.none())
gaps = st.one_of(st.just(0.0), st.floats(0, 0.03), st.floats(0, 0.5))
histories = st.lists(st.tuples(gaps, st.one_of(votes, votes, votes, votes, events)), max_size=80)


@given(histories, st.sampled_from([2, 5, CAP]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_history(steps: list[tuple[float, tuple[object, str, str | None]]], cap: int, prompt: bool) -> None:
    """`prompt`: whether the outlet runs after every input, or only at deadlines, as when the loop is late."""
    history = History(Batcher(WINDOW, cap))
    waiting: dict[str, list[tuple[int, str]]] = {}  # votes that still have to leave: their count and session
    events: list[FeatureEvent] = []
    deleted: set[str] = set()
    accepted = 0
    for count, (gap, (what, feature, session)) in enumerate(steps):
        history.advance(history.now + gap)
        if what == "vote":
            assert session is not None
            history.batcher.vote(history.now, feature, count, ballot(session))
            if feature not in deleted:
                waiting.setdefault(feature, []).append((count, session))
                accepted += 1
        else:
            assert isinstance(what, Kind)
            event = FeatureEvent(what, feature, {"n": count})
            history.batcher.event(event)
            if feature not in deleted or what is Kind.CREATED:
                events.append(event)
            if what is Kind.DELETED:
                deleted.add(feature)
            elif what is Kind.CREATED:
                deleted.discard(feature)
        assert history.batcher.backlog <= len(FEATURES) + 2 * len(events)
        if prompt:
            history.send()
    history.drain()

    assert [item for _, item in history.out if isinstance(item, FeatureEvent)] == events, "lost or reordered"
    times = [t for t, _ in history.out]
    bound = Allowance.most_in_a_second(cap)
    assert all(sum(1 for t in times[i:] if t < start + 1.0) <= bound for i, start in enumerate(times))
    assert sum(batch.votes for _, batch in history.batches) <= accepted
    for feature in FEATURES:
        mine = [(t, item) for t, item in history.out if item.feature_id == feature]
        check_one_feature(mine, waiting.get(feature, []), feature in deleted or any(e.kind is Kind.DELETED for e in events))


def check_one_feature(
    out: list[tuple[float, VoteBatch | FeatureEvent]], offered: list[tuple[int, str]], votes_may_be_dropped: bool
) -> None:
    gone, at, last_batch = False, 0, None
    for index, (t, item) in enumerate(out):
        if isinstance(item, FeatureEvent):
            assert not gone or item.kind is Kind.CREATED, f"{item} after the deletion"
            gone = item.kind is Kind.DELETED
            continue
        assert not gone, f"{item} after the deletion"
        counts = [count for count, _ in offered]
        end = counts.index(item.vote_count) + 1
        part = offered[end - item.votes : end]
        assert end - item.votes >= at, "a vote twice"
        if not votes_may_be_dropped:
            assert end - item.votes == at, "a vote lost"
        at = end
        assert item.last == ballot(part[-1][1])
        others = [session for _, session in part if session != part[-1][1]]
        assert item.other == (ballot(others[-1]) if others else None)
        next_is_event = index + 1 < len(out) and isinstance(out[index + 1][1], FeatureEvent)
        if last_batch is not None and not next_is_event:
            assert t >= last_batch + WINDOW - 1e-9, "two VOTE_UPDATEs of one feature within a window"
        last_batch = t
    if not votes_may_be_dropped:
        assert at == len(offered), "the final count never left"


def test_a_lone_vote_leaves_at_once() -> None:
    history = History(Batcher(WINDOW, CAP))
    history.batcher.vote(0.0, "a", 1, ballot("s"))
    assert history.batcher.deadline is not None
    assert history.batcher.deadline <= 0.0
    history.send()
    assert history.batches == [(0.0, VoteBatch("a", 1, 1, ballot("s"), None))]
    assert history.batcher.deadline is None


def test_votes_within_the_window_leave_as_one_at_its_end() -> None:
    history = History(Batcher(WINDOW, CAP))
    for n in range(5):
        history.advance(n * WINDOW / 10)
        history.batcher.vote(history.now, "a", n + 1, ballot(f"s{n}", "add" if n % 2 else "remove"))
        history.send()
    history.drain()
    (first, _), (second, batch) = history.batches
    assert (first, second) == (0.0, WINDOW)
    assert batch == VoteBatch("a", 5, 4, ballot("s4", "remove"), ballot("s3", "add"))


@given(st.lists(st.floats(3.0, 30.0), min_size=1, max_size=30))
def test_votes_three_windows_apart_leave_one_by_one_and_at_once(gaps: list[float]) -> None:
    history = History(Batcher(WINDOW, CAP))
    sent = []
    for count, gap in enumerate(gaps):
        history.advance(history.now + gap * WINDOW)
        history.batcher.vote(history.now, "a", count, ballot("s"))
        history.send()
        sent.append((history.now, count))
    assert [(t, batch.vote_count) for t, batch in history.batches] == sent


@given(st.lists(st.floats(1.0, 2.0), min_size=1, max_size=30))
def test_votes_a_window_apart_are_never_merged(gaps: list[float]) -> None:
    history = History(Batcher(WINDOW, CAP))
    for count, gap in enumerate(gaps):
        history.advance(history.now + gap * WINDOW * 1.000001)
        history.batcher.vote(history.now, "a", count, ballot("s"))
        history.send()
    history.drain()
    assert [batch.vote_count for _, batch in history.batches] == list(range(len(gaps)))


def test_spaced_votes_at_exactly_the_cap_are_neither_batched_nor_delayed() -> None:
    history = History(Batcher(WINDOW, CAP))
    for n in range(CAP * 20):
        history.advance(n / CAP + 0.004 * (n % 3))
        history.batcher.vote(history.now, f"f{n % 20}", n, ballot("s"))
        history.send()
        assert history.batches[-1][1].vote_count == n
        assert history.batches[-1][0] == history.now


def test_past_the_cap_votes_coalesce_and_the_backlog_has_one_entry_a_feature() -> None:
    history, features = History(Batcher(WINDOW, CAP)), 300
    for n in range(CAP * 3 * 5):
        history.advance(n / (3 * CAP))
        history.batcher.vote(history.now, f"f{n % features}", n, ballot("s"))
        history.send()
        assert history.batcher.backlog <= features
    took = history.now
    history.drain()
    final = {batch.feature_id: batch.vote_count for _, batch in history.batches}
    assert final == {f"f{n % features}": n for n in range(CAP * 3 * 5)}
    assert sum(batch.votes for _, batch in history.batches) == CAP * 3 * 5
    assert max(t for t, _ in history.batches) <= took + features / CAP + 1


def test_feature_events_leave_before_waiting_votes_and_in_their_own_order() -> None:
    history = History(Batcher(WINDOW, 1))
    for name in "xyz":
        history.batcher.vote(0.0, name, 1, ballot("s"))
    history.batcher.event(FeatureEvent(Kind.UPDATED, "z", {"title": "1"}))
    history.batcher.event(FeatureEvent(Kind.UPDATED, "w", {"title": "2"}))
    history.batcher.vote(0.0, "z", 2, ballot("s"))
    history.drain()
    order = [(item.feature_id, type(item).__name__) for _, item in history.out]
    batch, event = "VoteBatch", "FeatureEvent"
    assert order == [("z", batch), ("z", event), ("w", event), ("x", batch), ("y", batch), ("z", batch)]


def test_a_deletion_drops_waiting_votes_and_later_ones() -> None:
    history = History(Batcher(WINDOW, CAP))
    for count in range(3):
        history.batcher.vote(0.0, "a", count, ballot("s"))
        history.send()
    history.batcher.event(FeatureEvent(Kind.DELETED, "a", {}))
    history.batcher.vote(0.0, "a", 9, ballot("s"))
    history.batcher.event(FeatureEvent(Kind.UPDATED, "a", {"title": "late"}))
    history.drain()
    assert [getattr(item, "kind", None) for _, item in history.out] == [None, Kind.DELETED]


def test_the_memory_of_deletions_is_bounded() -> None:
    history = History(Batcher(WINDOW, CAP))
    for n in range(REMEMBERED_DELETIONS + 1):
        history.batcher.event(FeatureEvent(Kind.DELETED, str(n), {}))
    history.drain()
    history.batcher.vote(history.now, "0", 1, ballot("s"))
    history.batcher.vote(history.now, "1", 1, ballot("s"))
    assert history.batcher.backlog == 1
