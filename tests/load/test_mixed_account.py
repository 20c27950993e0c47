"""Who is owed which message of a day: by session, by role, by what is watched, and by what may still be on its way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from pydantic import SecretStr

from harness.load.evidence import Evidence
from harness.load.mixed.account import Account
from harness.load.mixed.matching import DayMatcher
from harness.load.station import PlanStart
from harness.measure.day import DayPlan, Deed
from harness.target import Session
from tests.measure.test_day import day

_SECOND = 1_000_000_000
_EPOCH = 1_000 * _SECOND
_LONG_AGO = 10 * _SECOND
_SETTLE = 3 * _SECOND


def session(name: str, role: str = "regular") -> Session:
    return Session("cookie", SecretStr(f"{name}.signature"), role, name.partition("-")[0])


_PEOPLE = (session("v0"), session("v0-second"), session("v1"), session("u9"), session("a0", "admin"), session("a1", "admin"))
_VOTER, _SECOND_SESSION, _OTHER, _VIEWER, _AUTHOR, _ADMIN = range(len(_PEOPLE))


class Rig:
    """Six people who are there from the beginning, and one free slot."""

    def __init__(self, exclusion: str = "session", **readings: str) -> None:
        self.plan: DayPlan = day(edits=240.0)
        start = PlanStart(self.plan, _EPOCH, 0, 1, exclusion, DayMatcher(self.plan))
        self.evidence = Evidence(0)
        voters = {"v0": _PEOPLE[_VOTER], **{f"v{n}": session(f"v{n}") for n in range(1, 7)}}
        self.account = Account(
            start, self.plan, len(_PEOPLE) + 1, readings, voters, _PEOPLE[_AUTHOR],
            patience=3 * _SECOND, settle=_SETTLE, evidence=self.evidence,
        )  # fmt: skip
        for slot, held in enumerate(_PEOPLE):
            self.account.join(slot, held, _LONG_AGO)

    def deed(self, what: str, voter: str = "") -> Deed:
        """One late enough that much can come before it."""
        return next(each for each in self.plan.deeds if each.what == what and each.voter == voter and each.at > 15.0)

    def due(self, deed: Deed) -> int:
        return _EPOCH + round(deed.at * _SECOND)

    def told(self, deed: Deed, last: float = 0.0) -> tuple[set[int], set[int]]:
        """(who must not get it, of whom nothing is asked), when it last arrived so many seconds after it was due."""
        audience = self.account.audience(deed.n, self.due(deed) + round(last * _SECOND) if last else 0)
        return set(audience.excluded.tolist()), set(audience.optional.tolist())

    def feature(self, deed: Deed) -> int:
        return self.plan.features.index(deed.feature)


@pytest.mark.parametrize(
    ("exclusion", "expected"),
    [("session", ({_VOTER}, set())), ("user", ({_VOTER, _SECOND_SESSION}, set())), ("connection", (set(), {_VOTER, _SECOND_SESSION}))],
)
def test_a_vote_is_for_everybody_but_the_voter(exclusion: str, expected: tuple[set[int], set[int]]) -> None:
    rig = Rig(exclusion)
    assert rig.told(rig.deed("add", "v0")) == expected


@pytest.mark.parametrize(
    ("readings", "excluded"),
    [({}, {_VOTER, _SECOND_SESSION, _OTHER, _VIEWER}), ({"admin_events": "everyone"}, set())],
)
def test_a_created_feature_is_for_administrators_and_its_author_may_be_told(readings: Mapping[str, str], excluded: set[int]) -> None:
    rig = Rig(**readings)
    for what in ("create", "delete"):
        assert rig.told(rig.deed(what)) == (excluded, {_AUTHOR})
    assert rig.told(rig.deed("update")) == (set(), {_AUTHOR})


@pytest.mark.parametrize("ago", [0.0, 1.0, 2.9])
def test_a_subscribe_that_may_not_act_yet_leaves_it_open(ago: float) -> None:
    rig = Rig()
    deed = rig.deed("add", "v0")
    rig.account.watch(_VIEWER, rig.feature(deed) + 1, rig.due(deed) - round(ago * _SECOND))
    assert rig.told(deed) == ({_VOTER}, {_VIEWER})


def test_in_a_detail_view_only_its_own_feature_is_due() -> None:
    rig = Rig()
    deed = rig.deed("add", "v0")
    before = rig.due(deed) - _SETTLE - _SECOND
    rig.account.watch(_OTHER, rig.feature(deed), before)
    rig.account.watch(_VIEWER, rig.feature(deed) + 1, before)
    assert rig.told(deed) == ({_VOTER, _VIEWER}, set())
    rig.account.closing(deed.n, np.array([0, 1, 1, 2, 1, 1, 0], np.uint16), rig.due(deed) + 1)
    (record,) = rig.evidence.take()
    assert (record["other"], record["other_of"], record["own"], record["own_of"]) == (2, 1, 0, 1)


def test_who_goes_back_before_it_arrives_anywhere_may_get_it_and_who_goes_back_after_may_not() -> None:
    rig = Rig()
    deed = rig.deed("add", "v0")
    rig.account.watch(_VIEWER, rig.feature(deed) + 1, rig.due(deed) - _SETTLE - _SECOND)
    rig.account.unwatch(_VIEWER, rig.due(deed) + _SECOND)
    assert rig.told(deed, last=0.5) == ({_VOTER, _VIEWER}, set())
    assert rig.told(deed, last=1.5) == ({_VOTER}, {_VIEWER})


def test_after_the_last_unsubscribe_nothing_is_asked_and_what_comes_is_counted() -> None:
    rig = Rig()
    deed = rig.deed("add", "v0")
    rig.account.watch(_VIEWER, 0, _EPOCH)
    assert rig.account.unwatch(_VIEWER, _EPOCH + _SECOND) == 0
    assert rig.told(deed) == ({_VOTER}, {_VIEWER})
    rig.account.closing(deed.n, np.array([0, 1, 1, 1, 1, 1, 0], np.uint16), rig.due(deed))
    (record,) = rig.evidence.take()
    assert (record["back"], record["back_of"]) == (1, 1)


def test_where_subscriptions_are_without_effect_everybody_is_owed_everything() -> None:
    rig = Rig(subscriptions="ignored")
    deed = rig.deed("add", "v0")
    rig.account.watch(_VIEWER, rig.feature(deed) + 1, _EPOCH)
    assert rig.told(deed) == ({_VOTER}, set())


def test_who_has_just_come_or_just_left_is_owed_nothing_for_sure() -> None:
    rig = Rig()
    deed = rig.deed("add", "v0")
    rig.account.join(len(_PEOPLE), session("u8"), rig.due(deed) - _SECOND)
    rig.account.leave(_OTHER, rig.due(deed) + _SECOND)
    assert rig.told(deed) == ({_VOTER}, {len(_PEOPLE), _OTHER})


def test_created_features_are_known_by_their_titles() -> None:
    rig = Rig()
    created = rig.deed("create")
    deleted = next(each for each in rig.plan.deeds if each.what == "delete" and each.feature == created.feature)
    matcher = DayMatcher(rig.plan)
    gone = {"type": "FEATURE_DELETED", "featureId": "new1"}
    assert matcher(gone, deleted.at + 0.1) == (None, -1)
    assert matcher.id_of(created.feature) is None
    made = {"type": "FEATURE_CREATED", "feature": {"id": "new1", "title": created.feature}}
    assert matcher(made, created.at + 0.1) == (created.n, -1)
    assert matcher(made, created.at - 1.0) == (None, -1), "nothing was created yet that could have caused it"
    assert matcher(gone, deleted.at + 0.1) == (deleted.n, -1)
    assert matcher.id_of(created.feature) == "new1"


def test_votes_and_updates_of_one_feature_are_two_lines() -> None:
    rig = Rig()
    vote, update = rig.deed("add", "v0"), rig.deed("update")
    matcher = DayMatcher(rig.plan)
    voted = {"type": "VOTE_UPDATE", "featureId": vote.feature, "voterId": "v0", "action": "add"}
    assert matcher(voted, vote.at + 0.1) == (vote.n, rig.feature(vote))
    changed = {"type": "FEATURE_UPDATE", "featureId": update.feature, "changes": {"status": update.status}}
    assert matcher(changed, update.at + 0.1) == (update.n, rig.feature(update) + len(rig.plan.features))
    assert matcher({**changed, "changes": {}}, update.at + 0.1)[0] == update.n
    assert matcher({"type": "PING"}, 1.0) == (None, -1)
    assert max(rig.feature(vote), matcher.lines - 1) == matcher.lines - 1
