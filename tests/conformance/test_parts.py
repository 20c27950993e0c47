"""The small parts of the gate, each by itself: windows, pace, pool, baseline file, outcomes, and what the observer makes of frames."""

from __future__ import annotations

import datetime
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from harness.conformance.baseline import Entry, read_baseline, updated, write_baseline
from harness.conformance.messages import Secrets, unpack
from harness.conformance.observer import OBSERVED, Observer
from harness.conformance.outcome import Broken, Inconclusive, NotTestable, Recorded, ending_of, verdict_of
from harness.conformance.pace import Pace
from harness.conformance.pool import Job, Pool
from harness.conformance.window import window
from harness.errors import UsageError
from harness.net.frames import Opcode, WireFrame, close_payload
from harness.net.handshake import Headers
from harness.net.transcript import Frame, Transcript
from harness.target.model import Tolerance
from harness.target.session import Session
from harness.verdict import Verdict
from schemas import Level, load_clauses

TODAY = datetime.date(2026, 1, 15)
SECONDS = st.floats(0.01, 1000)
CLAUSES = load_clauses()


@given(SECONDS, st.floats(0, 10))
def test_a_window_holds_its_moment_and_catches_half_and_twice_of_it(moment: float, seconds: float) -> None:
    found = window(moment, moment, Tolerance(seconds, 1.0, 2.0))
    assert moment in found
    assert moment * 0.49 not in found
    assert found.latest <= moment + max(0.5, 0.2 * moment) + 1e-9
    assert found.latest - moment <= seconds + 1e-9


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 2)), min_size=1), st.floats(1, 100))
def test_pace_never_lets_more_happen_than_its_rate(asked: list[tuple[int, float]], rate: float) -> None:
    pace, now, before, events = Pace(rate), 0.0, None, 0
    for count, later in asked:
        now += later
        start = pace.reserve(count, now)
        assert start >= now
        if before is not None:
            assert start >= before[0] + before[1] / rate - 1e-6
        before, events = (start, count), events + count


def test_the_pool_starts_the_longest_first_and_gives_up_what_hangs() -> None:
    order: list[str] = []
    never, seen = threading.Event(), threading.Event()

    def work(name: str) -> None:
        order.append(name)

    pool = Pool(quick=1, patient=1, long=5.0)
    pool.start(
        [
            Job("short", 6.0, 30.0, lambda: work("short")),
            Job("hangs", 1.0, 0.2, lambda: seen.set() or never.wait()),  # type: ignore[func-returns-value, arg-type]
            Job("long", 600.0, 30.0, lambda: work("long")),
            Job("after", 0.0, 30.0, lambda: work("after")),
        ]
    )
    assert pool.wait("short")
    assert order[:2] == ["long", "short"] or order[0] == "after"
    assert order.index("long") < order.index("short")
    assert pool.wait("after")  # on a thread that took the place of the hanging one
    assert seen.is_set()
    assert not pool.wait("hangs")
    never.set()


REASONS = st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable())
ENTRIES = st.lists(
    st.builds(Entry, st.sampled_from(list(load_clauses())), REASONS, st.dates()), unique_by=lambda entry: entry.clause, max_size=5
)


@given(ENTRIES)
def test_a_baseline_reads_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("baseline") / "known.toml"
    write_baseline(path, entries)
    assert list(read_baseline(path).values()) == entries


@pytest.mark.parametrize(
    "text",
    [
        "known = 3",
        "[[other]]\n",
        '[[known]]\nclause = "HS-01"\nreason = "x"\n',
        '[[known]]\nclause = "HS-99"\nreason = "x"\nexpires = 2026-01-01\n',
        '[[known]]\nclause = "HS-01"\nreason = " "\nexpires = 2026-01-01\n',
        '[[known]]\nclause = "HS-01"\nreason = "x"\nexpires = "2026-01-01"\n',
        '[[known]]\nclause = "HS-01"\nreason = "x"\nexpires = 2026-01-01\n' * 2,
        "[[known\n",
    ],
)
def test_a_bad_baseline_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"known\.toml"):
        read_baseline(path)


def test_updating_takes_out_what_is_kept_and_never_renews_what_expired() -> None:
    old = Entry("HS-02", "late", TODAY - datetime.timedelta(days=3))
    entries = {"HS-01": Entry("HS-01", "mended", TODAY), "HS-02": old, "HS-03": Entry("HS-03", "not seen today", TODAY)}
    verdicts = {"HS-01": Verdict.PASS, "HS-02": Verdict.FAIL, "HS-05": Verdict.FAIL, "HS-06": Verdict.WARN}
    fresh = {entry.clause: entry for entry in updated(entries, verdicts, TODAY)}
    assert list(fresh) == ["HS-02", "HS-03", "HS-05"]
    assert fresh["HS-02"] is old
    assert not fresh["HS-05"].expired(TODAY)


@pytest.mark.parametrize("level", list(Level))
def test_only_a_broken_must_fails(level: Level) -> None:
    for ending in (None, Recorded("x"), NotTestable("x"), Inconclusive("x"), Broken("a", "b"), Broken("a", "b", soft=True)):
        fails = verdict_of(ending, level) is Verdict.FAIL
        assert fails == (isinstance(ending, Broken) and not ending.soft and level is Level.MUST)
    assert verdict_of(Broken("a", "b"), Level.INFO) is Verdict.INFO


def test_an_exception_of_ours_is_never_the_targets() -> None:
    def raised(error: BaseException) -> BaseException:
        try:
            raise error
        except BaseException as caught:
            return caught

    assert isinstance(ending_of(raised(TimeoutError("slow")), __file__), Inconclusive)
    assert isinstance(ending_of(raised(AssertionError("no")), __file__), Broken)
    assert isinstance(ending_of(raised(AssertionError("no")), "elsewhere.py"), Inconclusive)


# ---- the observer

VOTE = {"type": "VOTE_UPDATE", "featureId": "f1", "voteCount": 3, "voterId": "u1", "action": "add", "timestamp": "2026-01-15T10:00:00.000Z"}
WALL = datetime.datetime(2026, 1, 15, 10, tzinfo=datetime.UTC).timestamp()
ERROR = {"type": "ERROR", "code": "INVALID_MESSAGE", "message": "No.", "timestamp": "2026-01-15T10:00:00.000Z"}
CREATED: dict[str, Any] = {
    "type": "FEATURE_CREATED",
    "feature": {
        "id": "f1", "title": "t", "description": "d", "status": "TODO", "voteCount": 0,
        "createdById": "u9", "createdBy": {"name": "Ada Example"},
        "createdAt": "2026-01-15T10:00:00.000Z", "updatedAt": "2026-01-15T10:00:00.000Z",
    },
    "timestamp": "2026-01-15T10:00:00.000Z",
}  # fmt: skip


def look(
    *sent: Any,
    role: str = "regular",
    readings: dict[str, str] | None = None,
    wall: float = WALL,
    closed_by_us: bool = False,
    error_codes: tuple[str, ...] = (),
    answered: tuple[Headers, bytes] = (Headers(), b""),
) -> dict[str, Verdict]:
    """The observer's verdicts on one connection on which the server sent these: messages, bytes, or (opcode, payload)."""
    secrets = Secrets()
    secrets.add(Session("c", SecretStr("sometoken1234.signature"), "regular"))
    observer = Observer(readings or {}, 4.0, secrets, lambda: {"Ada Example"}, error_codes)
    observer.answered("socket", *answered)
    watch = observer.watch("socket", role, 0.0)
    transcript = Transcript(100, 10_000_000, 1_000_000)
    transcript.observe(watch)
    if closed_by_us:
        transcript.record("out", WireFrame(Opcode.CLOSE, True, 0, True, close_payload(1000)), 0.0, wall)
    for each in sent:
        opcode, payload = each if isinstance(each, tuple) else (Opcode.TEXT, each if isinstance(each, bytes) else json.dumps(each).encode())
        transcript.record("in", WireFrame(opcode, True, 0, False, payload), 0.0, wall)
    assert not transcript.observer_errors
    given_readings = readings or {}
    shape = given_readings.get("batch_shape", "coalesce")
    observed = {id_: CLAUSES[id_] for id_ in OBSERVED}
    records = observer.records(lambda: given_readings.get("admin_events", "admins"), lambda: shape, observed)
    return {record.clause: record.verdict for record in records}


def broken(*sent: Any, **how: Any) -> set[str]:
    return {id_ for id_, verdict in look(*sent, **how).items() if verdict in (Verdict.FAIL, Verdict.WARN)}


def test_nothing_seen_is_no_verdict() -> None:
    assert look() == {}
    assert "GEN-05" not in look({"type": "PING"})
    assert "CLS-06" not in look(VOTE)


def test_good_messages_break_nothing() -> None:
    assert broken(VOTE, ERROR, {"type": "PING"}) == set()
    assert broken(CREATED, role="admin") == set()


@pytest.mark.parametrize(
    ("sent", "clauses"),
    [
        ((Opcode.BINARY, b"{}"), {"GEN-01"}),
        (b"\xff\xfe", {"GEN-01"}),
        (b'{"type":', {"GEN-01"}),
        (b'"PING"', {"GEN-01"}),
        ({"type": "WELCOME"}, {"GEN-02"}),
        ({"no": "type"}, {"GEN-02"}),
        ({**VOTE, "action": "toggle"}, {"GEN-03"}),
        ({key: value for key, value in VOTE.items() if key != "timestamp"}, {"GEN-03"}),
        ({**VOTE, "extra": 1}, {"GEN-04"}),
        ({**VOTE, "timestamp": "yesterday"}, {"GEN-05"}),
        ({**VOTE, "timestamp": "2026-01-15T11:00:00.000+01:00"}, {"GEN-05"}),
        ({**VOTE, "timestamp": "2026-01-15T10:00:00Z"}, {"GEN-05"}),
        ({**VOTE, "timestamp": "2026-01-15T09:00:00.000Z"}, {"GEN-06"}),
        ({**VOTE, "featureId": ""}, {"GEN-07"}),
        ({**VOTE, "featureId": "sometoken1234"}, {"GEN-09"}),
        ({**VOTE, "voteCount": -1}, {"VOTE-14"}),
        ({**VOTE, "voteCount": "3"}, {"VOTE-14", "GEN-03"}),
        ({**ERROR, "code": "TEAPOT"}, {"ERR-02"}),
        ({**ERROR, "context": "none"}, {"ERR-01", "GEN-03"}),
        ({**ERROR, "message": "mail ada@example.org"}, {"SEC-08"}),
        ({**VOTE, "voterId": "Ada Example"}, {"SEC-08"}),
        ({**ERROR, "message": "from 10.1.2.3"}, {"SEC-08"}),
        (CREATED, {"SEC-06"}),
        ((Opcode.CLOSE, close_payload(4000)), {"CLS-06"}),
        ((Opcode.CLOSE, b""), {"CLS-06"}),
        ((Opcode.CLOSE, close_payload(1001, "goodbye sometoken1234")), {"GEN-09"}),
    ],
)
def test_each_break_belongs_to_its_own_clause(sent: Any, clauses: set[str]) -> None:
    assert broken(sent) == clauses


def test_what_depends_on_order() -> None:
    earlier = {**VOTE, "timestamp": "2026-01-15T09:59:59.000Z"}
    assert broken(VOTE, earlier) == {"VOTE-16"}
    assert broken(VOTE, {**earlier, "featureId": "f2"}) == set()
    assert broken(VOTE, earlier, readings={"ordering": "convergent"}) == set()
    close = (Opcode.CLOSE, close_payload(1001))
    assert broken(close, VOTE) == {"CLS-07"}
    assert broken((Opcode.CLOSE, close_payload(4000)), closed_by_us=True) == set()


def test_readings_excuse_what_they_permit() -> None:
    assert broken(CREATED, readings={"admin_events": "everyone"}) == set()
    assert broken([VOTE], readings={"batch_shape": "array"}) == set()
    assert broken([VOTE]) == {"GEN-01"}
    assert broken([{**VOTE, "voteCount": -1}], readings={"batch_shape": "array"}) == {"VOTE-14"}
    assert broken({"type": "BATCH", "events": [VOTE]}, readings={"batch_shape": "envelope"}) == set()
    assert broken({"type": "BATCH", "events": [VOTE]}) == {"GEN-02"}
    assert broken({**VOTE, "timestamp": "2026-01-15T10:00:00Z"}, readings={"timestamp": "any_zone"}) == set()
    assert broken({**VOTE, "extra": 1}, readings={"extra_properties": "open"}) == set()
    assert broken({**ERROR, "code": "TEAPOT"}, readings={"error_codes": "extended"}, error_codes=("TEAPOT",)) == set()
    assert broken({**ERROR, "code": "KETTLE"}, readings={"error_codes": "extended"}, error_codes=("TEAPOT",)) == {"ERR-02"}


@pytest.mark.parametrize(
    ("answered", "clauses"),
    [
        ((Headers([("X-Session", "sometoken1234")]), b""), {"GEN-09"}),
        ((Headers([("Location", "/login?of=sometoken1234.signature")]), b""), {"GEN-09"}),
        ((Headers(), b"no such session: sometoken1234"), {"GEN-09"}),
        ((Headers([("Set-Cookie", "c=sometoken1234.signature; Path=/")]), b"sign in first"), set()),
    ],
)
def test_the_answer_to_a_handshake_shows_no_session(answered: tuple[Headers, bytes], clauses: set[str]) -> None:
    assert broken(answered=answered) == clauses


def frame(value: Any) -> Frame:
    transcript = Transcript(10, 10_000, 10_000)
    return transcript.record("in", WireFrame(Opcode.TEXT, True, 0, False, json.dumps(value).encode()), time.monotonic(), time.time())


@pytest.mark.parametrize("value", [VOTE, [VOTE], {"type": "BATCH", "events": [VOTE]}])
def test_a_message_is_found_in_every_batch_shape(value: Any) -> None:
    assert unpack(frame(value)) == [VOTE]


@pytest.mark.parametrize("value", [3, None, "x", [1, 2]])
def test_what_holds_no_message_has_none(value: Any) -> None:
    assert unpack(frame(value)) == []
