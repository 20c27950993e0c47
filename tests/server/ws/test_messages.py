"""Reading whatever clients send, and the frames the server builds, against the contract's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.messages import (
    ID_CHARACTERS,
    Composer,
    Pong,
    Subscribe,
    Unreadable,
    Unsubscribe,
    iso_timestamp,
    read_message,
)

CONTRACT = load_contract()
NOW = 1_761_000_000_123


def body(frame: bytes) -> dict[str, object]:
    """The JSON of a text frame of fewer than 64 KiB."""
    assert frame[0] == 0x81
    value = json.loads(frame[2:] if frame[1] < 126 else frame[4:])
    assert isinstance(value, dict)
    return value


def test_the_three_messages_of_a_client() -> None:
    assert read_message('{"type":"PONG"}') == Pong()
    assert read_message('{"type":"SUBSCRIBE","featureIds":["a","b","a"]}') == Subscribe(frozenset("ab"))
    assert read_message('{"type":"UNSUBSCRIBE","featureIds":[]}') == Unsubscribe(frozenset())
    assert read_message('{"type":"SUBSCRIBE","featureIds":["a"],"more":1}') == Subscribe(frozenset("a"))
    assert {kind.__name__.upper() for kind in (Pong, Subscribe, Unsubscribe)} == set(CONTRACT.messages.client)


UNREADABLE = [
    "",
    "hello",
    "[]",
    "1",
    "null",
    '"PONG"',
    "{}",
    '{"type":1}',
    '{"type":null}',
    '{"type":["PONG"]}',
    '{"type":"pong"}',
    '{"type":"NEWS"}',
    '{"type":"SUBSCRIBE"}',
    '{"type":"SUBSCRIBE","featureIds":"a"}',
    '{"type":"SUBSCRIBE","featureIds":{"a":1}}',
    '{"type":"SUBSCRIBE","featureIds":[1]}',
    '{"type":"SUBSCRIBE","featureIds":["a",null]}',
    '{"type":"SUBSCRIBE","featureIds":[""]}',
    '{"type":"UNSUBSCRIBE","featureIds":[["a"]]}',
    json.dumps({"type": "SUBSCRIBE", "featureIds": ["x" * (ID_CHARACTERS + 1)]}),
    '{"type":"SUBSCRIBE","featureIds":["\\ud800"]}',
    '{"type":"PONG"',
    '{"type":NaN}',
    "[" * 60_000,
    '{"type":' + "[" * 20_000 + "]" * 20_000 + "}",
    '{"type":' + "9" * 50_000 + "}",
    '{"type":1e999999}',
    "\x00",
    "\ufeff{}",
    *(json.dumps({"type": kind, "featureId": "a", "voteCount": 1}) for kind in CONTRACT.messages.server),
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:40].encode("unicode_escape").decode())
def test_whatever_else_is_unreadable_and_says_why(text: str) -> None:
    message = read_message(text)
    assert isinstance(message, Unreadable)
    assert message.problem.endswith(".")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "featureIds", "x"]), inner),
    max_leaves=10,
)


@given(st.one_of(st.text(), json_values.map(json.dumps)))
def test_reading_never_raises(text: str) -> None:
    message = read_message(text)
    if not isinstance(message, Unreadable):
        assert json.loads(text)["type"] in CONTRACT.messages.client


@given(st.integers(0, 4_102_444_800_000))
def test_timestamps_are_utc_with_milliseconds(milliseconds: int) -> None:
    text = iso_timestamp(milliseconds)
    assert len(text) == len("2025-10-20T15:30:45.123Z")
    assert text.endswith("Z")
    parsed = datetime.fromisoformat(text)
    assert parsed.tzinfo == UTC
    assert round(parsed.timestamp() * 1000) == milliseconds


@given(st.lists(st.integers(0, 10**13), min_size=1))
def test_timestamps_never_fall(clock: list[int]) -> None:
    composer = Composer()
    stamps = [composer.timestamp(now) for now in clock]
    assert stamps == sorted(stamps)
    assert stamps[-1] == iso_timestamp(max(clock))


def test_every_frame_has_exactly_the_fields_of_the_contract() -> None:
    composer, stamp = Composer(), iso_timestamp(NOW)
    feature = {"id": "f", "title": "Ünï", "createdBy": {"name": "Jane"}}
    expected: list[tuple[bytes, dict[str, object]]] = [
        (composer.ping(), {"type": "PING"}),
        (
            composer.vote_update(NOW, "f", 3, "u", "add"),
            {"featureId": "f", "voteCount": 3, "voterId": "u", "action": "add", "timestamp": stamp},
        ),
        (
            composer.feature_updated(NOW, "f", {"title": "x"}),
            {"featureId": "f", "changes": {"title": "x"}, "timestamp": stamp},
        ),
        (composer.feature_created(NOW, feature), {"feature": feature, "timestamp": stamp}),
        (composer.feature_deleted(NOW, "f"), {"featureId": "f", "timestamp": stamp}),
        (composer.error(NOW, "C", "m"), {"code": "C", "message": "m", "timestamp": stamp}),
    ]
    for (frame, fields), kind in zip(expected, CONTRACT.messages.server, strict=True):
        assert body(frame) == {"type": kind, **fields}
    assert body(composer.error(NOW, "C", "m", {"limit": 1}))["context"] == {"limit": 1}
