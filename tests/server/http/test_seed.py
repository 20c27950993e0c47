"""Seeding: the same roadmap everywhere, secrets nowhere twice, and sessions dealt out fairly and kept over restarts."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.auth import CookieJar
from server_under_test.passwords import verify_password
from server_under_test.seed import prepare
from server_under_test.settings import PREFIX, read_settings
from server_under_test.state import StateDir
from server_under_test.store import Store

CONTRACT = load_contract()
JAR = CookieJar(CONTRACT.cookie, "a secret of the tests", secure=False)


@dataclass(frozen=True)
class Seeded:
    strong: bool
    features: list[dict[str, object]]
    accounts: list[dict[str, Any]]
    sessions: list[dict[str, str]]
    hashes: dict[str, str]


def seeded(directory: Path, *flags: str, **environment: str) -> Seeded:
    """What a start leaves in `directory`."""
    chosen = read_settings(flags, environment, CONTRACT.limits)
    with StateDir(directory) as state:
        store = Store(directory / "test.db", busy_timeout=1.0)
        try:
            strong = prepare(store, state, chosen, JAR)
            return Seeded(
                strong,
                store.features(""),
                json.loads(state.accounts.read_text()),
                json.loads(state.sessions.read_text()),
                {each.email: each.password_hash for each in store.accounts()},
            )
        finally:
            store.close()


def test_two_databases_show_the_same_roadmap_with_secrets_of_their_own(tmp_path: Path) -> None:
    first, second = seeded(tmp_path / "1"), seeded(tmp_path / "2")
    times = {"createdAt": None, "updatedAt": None}
    assert [each | times for each in first.features] == [each | times for each in second.features]
    assert [each["title"] for each in first.features] == list(dict.fromkeys(each["title"] for each in first.features))
    secretless = [[{**each, "password": None} for each in one.accounts] for one in (first, second)]
    assert secretless[0] == secretless[1]
    for name, rows in (("password", "accounts"), ("value", "sessions"), ("sessionId", "sessions")):
        values = [{each[name] for each in getattr(one, rows)} for one in (first, second)]
        assert not values[0] & values[1]


def test_the_listed_password_is_the_one_that_verifies(tmp_path: Path) -> None:
    made = seeded(tmp_path, "--users=3", "--admins=1")
    assert made.strong
    assert Counter(each["role"] for each in made.accounts) == {"regular": 3, "admin": 1}
    passwords = {each["role"]: each["password"] for each in made.accounts}
    assert passwords["regular"] != passwords["admin"]
    for each in (made.accounts[0], made.accounts[-1]):
        assert verify_password(each["password"], made.hashes[each["email"]])


def test_a_chosen_password_is_used_and_not_written_down(tmp_path: Path) -> None:
    made = seeded(tmp_path, "--users=1", "--admins=0", **{PREFIX + "PASSWORD": "changeme"})
    assert not made.strong
    assert all("password" not in each for each in made.accounts)
    assert verify_password("changeme", made.hashes[made.accounts[0]["email"]])
    assert made.features[0]["createdById"] == made.accounts[0]["userId"]
    assert not seeded(tmp_path).strong


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(0, 3), st.lists(st.integers(0, 25), min_size=1, max_size=3))
def test_sessions_are_dealt_out_evenly_and_kept(users: int, admins: int, rounds: list[int]) -> None:
    known: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as directory:
        for count in rounds:
            made = seeded(Path(directory), f"--users={users}", f"--admins={admins}", f"--sessions={count}")
            assert len({each["value"] for each in made.sessions}) == count
            share = Counter(each["userId"] for each in made.sessions)
            assert max(share.values(), default=0) - (min(share.values()) if len(share) == users + admins else 0) <= 1
            for number, each in enumerate(made.sessions):
                assert known.setdefault(number, each["value"]) == each["value"]
                assert JAR.verify(each["value"]) is not None


def test_without_a_number_everybody_gets_two_and_the_first_three_serve_every_check(tmp_path: Path) -> None:
    sessions = seeded(tmp_path, "--users=4", "--admins=2").sessions
    assert set(Counter(each["userId"] for each in sessions).values()) == {2}
    assert [each["role"] for each in sessions[:3]] == ["regular", "regular", "admin"]
    assert sessions[0]["userId"] != sessions[1]["userId"]
