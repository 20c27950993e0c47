"""Who is handed out: sessions that are good, to one check at a time, whatever earlier runs have used up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conformance.outcome import NotTestable
from harness.conformance.people import People, Person
from harness.target import Session, load_profile

USERS, EACH = 9, 3


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a target that nobody calls: sessions of nine users in turn, as many each."""
    folder = tmp_path_factory.mktemp("people")
    entries = [
        {"value": f"token-{user}-{number}.signature", "userId": f"u{user}", "role": "regular"}
        for number in range(EACH)
        for user in range(USERS)
    ]
    (folder / "sessions.json").write_text(json.dumps(entries))
    path = folder / "target.toml"
    path.write_text('name = "t"\nbase_url = "http://127.0.0.1:9"\n[sessions]\nsource = "cookies-file"\npath = "sessions.json"\n')
    return path


def people(profile: Path, good: Callable[[Session], bool] = lambda _: True) -> People:
    return People(load_profile(profile, {}), 0, 1, good)


def test_what_is_owned_is_nobody_elses_and_comes_back(profile: Path) -> None:
    everyone = people(profile)
    first = everyone.own("regular", 1, retire=False)
    second = everyone.own("regular", 1, retire=True)
    assert first is not second
    everyone.give_back(first)
    everyone.give_back(second)
    assert everyone.own("regular", 1, retire=False) is first
    assert everyone.own("regular", 1, retire=False) is not second


OVER = st.sets(st.integers(0, USERS * EACH - 1))


@given(over=OVER, wanted=st.lists(st.integers(1, EACH), min_size=1, max_size=6))
def test_nobody_is_handed_out_on_a_session_that_is_over(profile: Path, over: set[int], wanted: list[int]) -> None:
    ended = {f"u{number % USERS} {number // USERS}" for number in over}
    asked: list[str] = []

    def good(session: Session) -> bool:
        token = session.token()
        asked.append(token)
        _, user, number = token.split("-")
        return f"u{user} {number}" not in ended

    everyone = people(profile, good)
    alive = {f"u{user}": sum(f"u{user} {number}" not in ended for number in range(EACH)) for user in range(USERS)}
    taken: list[Person] = []
    for count in wanted:
        able = [user for user, left in alive.items() if int(user[1:]) >= 6 and left >= count and user not in {each.key for each in taken}]
        if not able:
            with pytest.raises(NotTestable):
                everyone.own("regular", count, retire=True)
            continue
        person = everyone.own("regular", count, retire=True)
        everyone.give_back(person)
        taken.append(person)
        assert person.key in able
        for session in person.sessions[:count]:
            _, user, number = session.token().split("-")
            assert f"u{user} {number}" not in ended
    shared: list[Person] = []
    for _ in range(sum(alive[f"u{user}"] > 0 for user in range(6))):
        shared.append(everyone.share("regular", shared))
    assert len({each.key for each in shared}) == len(shared)
    with pytest.raises(NotTestable):
        everyone.share("regular", shared)
    assert max(asked.count(token) for token in asked) == 1, "a session is tried once"


@given(over=st.sets(st.integers(0, EACH - 1)))
def test_another_session_is_another_and_good(profile: Path, over: set[int]) -> None:
    everyone = people(profile, lambda session: int(session.token().rpartition("-")[2]) not in over)
    if len(over) == EACH:
        with pytest.raises(NotTestable, match="are over: renew them"):
            everyone.share("regular", ())
        return
    person = everyone.share("regular", ())
    held = [person.sessions[0]]
    for _ in itertools.repeat(None, EACH - len(over) - 1):
        held.append(everyone.another_session(person, held))
    assert len({session.token() for session in held}) == EACH - len(over)
    assert not {int(session.token().rpartition("-")[2]) for session in held} & over
    with pytest.raises(NotTestable):
        everyone.another_session(person, held)
