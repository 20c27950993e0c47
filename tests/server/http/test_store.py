"""The store against a model, and against what disks and other processes do to it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server_under_test.identity import Identity
from server_under_test.store import (
    Account,
    SessionRow,
    Store,
    StoreError,
    UnknownFeatureError,
    UnknownUserError,
    VoteConflictError,
    iso_time,
)

USERS = ("u0", "u1", "u2")
FEATURES = ("f0", "f1", "f2", "missing")
BUSY = 0.01


def filled(path: Path) -> Store:
    store = Store(path, busy_timeout=BUSY)
    store.add_users(Account(each, each.upper(), f"{each}@x.test", each == "u0", "hash") for each in USERS)
    store.add_features([(each, "Title", "Text", "TODO") for each in FEATURES[:3]], creator_id="u0", now=0.0)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = filled(tmp_path / "test.db")
    yield store
    store.close()


class Votes(RuleBasedStateMachine):
    """Counts follow the votes, whatever the order of votes, removals, deletions and refusals."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.store = filled(Path(self.directory.name) / "test.db")
        self.model: dict[str, set[str]] = {each: set() for each in FEATURES[:3]}

    @rule(feature=st.sampled_from(FEATURES), user=st.sampled_from(USERS))
    def vote(self, feature: str, user: str) -> None:
        if feature not in self.model:
            with pytest.raises(UnknownFeatureError):
                self.store.add_vote(feature, user)
        elif user in self.model[feature]:
            with pytest.raises(VoteConflictError):
                self.store.add_vote(feature, user)
        else:
            self.model[feature].add(user)
            assert self.store.add_vote(feature, user) == len(self.model[feature])

    @rule(feature=st.sampled_from(FEATURES), user=st.sampled_from(USERS))
    def unvote(self, feature: str, user: str) -> None:
        if feature not in self.model:
            with pytest.raises(UnknownFeatureError):
                self.store.remove_vote(feature, user)
        elif user not in self.model[feature]:
            with pytest.raises(VoteConflictError):
                self.store.remove_vote(feature, user)
        else:
            self.model[feature].remove(user)
            assert self.store.remove_vote(feature, user) == len(self.model[feature])

    @rule(feature=st.sampled_from(FEATURES[2:]))
    def delete(self, feature: str) -> None:
        if feature in self.model:
            self.store.delete_feature(feature)
            del self.model[feature]
        else:
            with pytest.raises(UnknownFeatureError):
                self.store.delete_feature(feature)

    @invariant()
    def everyone_sees_the_model(self) -> None:
        for user in USERS:
            seen = {each["id"]: (each["voteCount"], each["hasVoted"]) for each in self.store.features(user)}
            assert seen == {each: (len(voters), user in voters) for each, voters in self.model.items()}

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()


TestVotes = Votes.TestCase
TestVotes.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_feature_has_the_nine_fields_and_the_callers_vote(store: Store) -> None:
    store.add_vote("f0", "u1")
    assert store.feature("f0", "u1") == {
        "id": "f0",
        "title": "Title",
        "description": "Text",
        "status": "TODO",
        "voteCount": 1,
        "createdById": "u0",
        "createdBy": {"name": "U0"},
        "createdAt": "1970-01-01T00:00:00.000Z",
        "updatedAt": "1970-01-01T00:00:00.000Z",
        "hasVoted": True,
    }
    assert store.feature("f0", "u2")["hasVoted"] is False


def test_an_update_reports_only_what_changed(store: Store) -> None:
    assert store.update_feature("f0", {"title": "New", "status": "TODO"}, 5.0) == {"title": "New"}
    assert store.feature("f0", "u0")["updatedAt"] == iso_time(5.0)
    assert store.update_feature("f0", {"title": "New"}, 9.0) == {}
    assert store.feature("f0", "u0")["updatedAt"] == iso_time(5.0)
    with pytest.raises(UnknownFeatureError):
        store.update_feature("missing", {"title": "New"}, 9.0)


def test_sessions_end_by_time_by_id_and_by_user(store: Store) -> None:
    rows = [SessionRow(f"token{n}", f"s{n}", f"u{n // 2}") for n in range(6)]
    store.add_sessions(rows, expires_at=100.0, seeded=True)
    assert store.session("token0", 99.9) == Identity("s0", "u0", "U0", True, 100.0)
    assert store.session_by_id("s2", 99.9) == Identity("s2", "u1", "U1", False, 100.0)
    assert store.session("token0", 100.0) is None
    assert store.session("s0", 0.0) is None
    assert store.end_sessions(session_id="s0") == ["s0"]
    assert store.end_sessions(session_id="s0") == []
    assert store.session("token0", 0.0) is None
    assert store.session("token1", 0.0) is not None
    assert sorted(store.end_sessions(user_id="u1")) == ["s2", "s3"]
    assert [row.id for row in store.seeded_sessions()] == ["s1", "s4", "s5"]
    store.drop_expired_sessions(100.0)
    assert store.seeded_sessions() == []


def test_a_role_change_is_seen_at_the_next_look(store: Store) -> None:
    store.add_sessions([SessionRow("token", "s", "u1")], expires_at=100.0, seeded=False)
    store.set_admin("u1", True)
    identity = store.session_by_id("s", 0.0)
    assert identity is not None
    assert identity.admin
    with pytest.raises(UnknownUserError):
        store.set_admin("nobody", True)


def test_what_is_inside_a_transaction_goes_in_whole_or_not_at_all(store: Store) -> None:
    def fail_halfway() -> None:
        with store.transaction():
            store.add_vote("f0", "u1")
            store.add_vote("f0", "u1")

    with pytest.raises(VoteConflictError):
        fail_halfway()
    assert store.feature("f0", "u1")["voteCount"] == 0


def test_a_lock_of_another_process_is_an_error_and_then_over(store: Store, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="SQLITE_BUSY"):
            store.add_vote("f0", "u1")
        assert store.feature("f0", "u1")["voteCount"] == 0
        other.execute("ROLLBACK")
        assert store.add_vote("f0", "u1") == 1
    finally:
        other.close()


def test_a_full_disk_is_an_error_and_leaves_the_counts_true(store: Store) -> None:
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="SQLITE_FULL"):
        store.add_features([("big", "Title", "x" * 100_000, "TODO")], creator_id="u0", now=0.0)
    assert store.add_vote("f0", "u1") == 1
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.add_features([("big", "Title", "x" * 100_000, "TODO")], creator_id="u0", now=0.0)
    assert store.feature("big", "u0")["voteCount"] == 0


def test_a_checkpoint_moves_the_log_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    before = (tmp_path / "test.db").stat().st_size
    store.add_features([("big", "Title", "x" * 100_000, "TODO")], creator_id="u0", now=0.0)
    store.checkpoint()
    assert (tmp_path / "test.db").stat().st_size >= before + 100_000
    assert store.feature("big", "u0")["description"] == "x" * 100_000


def test_the_file_outlives_the_store(tmp_path: Path) -> None:
    first = filled(tmp_path / "test.db")
    first.add_vote("f1", "u2")
    first.remember("seeded", "no")
    first.remember("seeded", "yes")
    first.close()
    second = Store(tmp_path / "test.db", busy_timeout=BUSY)
    assert second.feature("f1", "u2")["hasVoted"] is True
    assert (second.fact("seeded"), second.fact("other")) == ("yes", None)
    second.close()
    with pytest.raises(StoreError):
        second.features("u0")


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be read as one" * 40)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path / "text.db", busy_timeout=BUSY)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path / "foreign.db", busy_timeout=BUSY)
    with pytest.raises(StoreError, match="unable to open"):
        Store(tmp_path / "missing" / "x.db", busy_timeout=BUSY)


def test_rows_with_secrets_do_not_show_them() -> None:
    assert "hunter2" not in repr(Account("u", "n", "e", False, "hunter2"))
    assert "hunter2" not in repr(SessionRow("hunter2", "s", "u"))


@pytest.mark.parametrize(("epoch", "text"), [(0.0, "1970-01-01T00:00:00.000Z"), (1760974245.1239, "2025-10-20T15:30:45.123Z")])
def test_times_are_utc_with_milliseconds(epoch: float, text: str) -> None:
    assert iso_time(epoch) == text
