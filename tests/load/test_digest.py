"""What a payload means: numbered once, validated, matched to its cast, and never fatal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.digest import PING, Digest
from harness.load.matching import VoteMatcher
from harness.measure.ledger import Audience, Ledger
from harness.measure.plan import VotePlan

_EPOCH = 1_700_000_000_000_000_000
_PLAN = VotePlan(features=("f0", "f1", "f2"), voters=("ann", "bob"), rate=10.0, duration=10.0, warmup=0.0, seed=1)


class Rig:
    def __init__(self, plan: VotePlan | None = _PLAN) -> None:
        self.now = _EPOCH
        self.ledger = Ledger(slots=1, features=3, due=lambda n: 0, audience=lambda n: Audience(), patience=0, linger=0, horizon=0)
        self.digest = Digest(self.ledger, VoteMatcher(plan) if plan else None, _EPOCH, lambda: self.now)

    def n_of(self, payload: bytes) -> int:
        number = self.digest(payload)
        return int(self.ledger.deliver(np.zeros(1, np.int32), np.array([number], np.int32), np.array([self.now]))[0])


def vote(**changes: object) -> bytes:
    message: dict[str, object] = {"type": "VOTE_UPDATE", "featureId": "f0", "voteCount": 1, "action": "add", "voterId": "ann"}
    message["timestamp"] = "2023-11-14T22:13:20.000Z"
    return json.dumps({**message, **changes}).encode()


@given(st.integers(0, _PLAN.count - 1), st.floats(0.001, 0.25), st.booleans())
def test_a_broadcast_finds_the_cast_that_caused_it(n: int, delay: float, named: bool) -> None:
    rig, cast = Rig(), _PLAN.cast(n)
    rig.now = _EPOCH + round((_PLAN.offset(n) + delay) * 1e9)
    message = vote(featureId=cast.feature, action=cast.action, voterId=cast.voter)
    if not named:
        data = json.loads(message)
        del data["voterId"]
        message = json.dumps(data).encode()
    assert rig.n_of(message) == n


def test_a_payload_is_learned_once() -> None:
    rig = Rig()
    rig.now += 10_000_000_000
    assert rig.digest(vote()) == rig.digest(vote())
    assert rig.digest(vote()) != rig.digest(vote(voteCount=2))


def test_ping_has_its_own_number_whatever_its_spacing() -> None:
    rig = Rig()
    assert rig.digest(b'{"type":"PING"}') == rig.digest(b'{ "type": "PING" }') == PING


def test_somebody_elses_vote_is_unmatched_and_shown() -> None:
    rig = Rig()
    rig.now += 5_000_000_000
    assert rig.n_of(vote(voterId="stranger")) == -1
    assert "stranger" in rig.digest.unmatched


def test_a_vote_seen_before_any_cast_could_have_caused_it_is_unmatched() -> None:
    rig = Rig()
    rig.now = _EPOCH - 1_000_000_000
    assert rig.n_of(vote()) == -1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"not json", ""),
        (b"\xff\xfe", ""),
        (b"[]", ""),
        (b'{"type":"WELCOME"}', "WELCOME"),
        (vote(voteCount=-1), "voteCount"),
        (vote(timestamp="yesterday"), "timestamp"),
        (vote(action="toggle"), "action"),
    ],
)
def test_what_breaks_the_schema_is_counted_and_named(payload: bytes, said: str) -> None:
    rig = Rig()
    rig.now += 1_000_000_000
    number = rig.digest(payload)
    messages = np.array([number, number], np.int32)
    assert rig.digest.bad(messages).tolist() == [True, True]
    assert rig.digest.count(messages) == {"(invalid)": 2}
    assert said in rig.digest.invalid[0].text
    assert len(rig.digest.invalid) == 1


@given(st.binary(max_size=200))
def test_no_payload_is_fatal(payload: bytes) -> None:
    assert Rig().digest(payload) >= 0


def test_without_a_plan_broadcasts_are_counted_by_type_only() -> None:
    rig = Rig(plan=None)
    messages = np.array([rig.digest(vote()), PING], np.int32)
    assert rig.digest.count(messages) == {"VOTE_UPDATE": 1, "PING": 1}
    assert rig.digest.explained(messages).tolist() == [True, False]
    assert rig.digest.unmatched == ""
