"""Users, sessions, features and votes in one SQLite file.

Every method is one transaction, so a vote and its feature's count can never disagree. Calls block for tens of
microseconds and are made straight from the event loop; only `checkpoint`, which waits for the disk, belongs in a thread.
Any of them may raise StoreError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from server_under_test.database import Database, StoreError
from server_under_test.identity import Identity

__all__ = [
    "Account",
    "SessionRow",
    "Store",
    "StoreError",
    "UnknownFeatureError",
    "UnknownUserError",
    "VoteConflictError",
    "iso_time",
]

_IDENTITY = "SELECT s.id, s.user_id, u.name, u.admin, s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id"
_BY_TOKEN = f"{_IDENTITY} WHERE s.token = ? AND s.expires_at > ?"
_BY_ID = f"{_IDENTITY} WHERE s.id = ? AND s.expires_at > ?"
_COUNT = "UPDATE features SET vote_count = vote_count + ? WHERE id = ? RETURNING vote_count"
_VOTE = "INSERT INTO votes (feature_id, user_id) VALUES (?, ?)"
_UNVOTE = "DELETE FROM votes WHERE feature_id = ? AND user_id = ?"
_FEATURE = """
SELECT f.id, f.title, f.description, f.status, f.vote_count, f.created_by, u.name, f.created_at, f.updated_at,
    EXISTS (SELECT 1 FROM votes v WHERE v.feature_id = f.id AND v.user_id = ?)
FROM features f JOIN users u ON u.id = f.created_by
"""
_EDITABLE = ("title", "description", "status")


class UnknownFeatureError(LookupError):
    """No feature has this id."""


class UnknownUserError(LookupError):
    """No user has this id."""


class VoteConflictError(Exception):
    """A second vote by one user on one feature, or the removal of a vote that is not there."""


@dataclass(frozen=True, slots=True)
class Account:
    """One user as the sign-in needs it."""

    id: str
    name: str
    email: str
    admin: bool
    password_hash: str

    def __repr__(self) -> str:
        return f"Account(id={self.id!r}, admin={self.admin})"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session with its token: only for making cookies."""

    token: str
    id: str
    user_id: str

    def __repr__(self) -> str:
        return f"SessionRow(id={self.id!r}, user_id={self.user_id!r})"


def iso_time(epoch: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds, as in the contract's examples."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Store(Database):
    """The tables as the server uses them."""

    # Sessions and users

    def session(self, token: str, now: float) -> Identity | None:
        """Whom `token` speaks for at `now` (epoch seconds), or None when there is no such session any more."""
        return self._identity(_BY_TOKEN, token, now)

    def session_by_id(self, session_id: str, now: float) -> Identity | None:
        """The same for a session's public id."""
        return self._identity(_BY_ID, session_id, now)

    def _identity(self, query: str, key: str, now: float) -> Identity | None:
        rows = self._read(query, (key, now))
        if not rows:
            return None
        session_id, user_id, name, admin, expires_at = rows[0]
        return Identity(session_id, user_id, name, admin == 1, expires_at)

    def add_sessions(self, rows: Iterable[SessionRow], *, expires_at: float, seeded: bool) -> None:
        """Write new sessions; all or none."""
        with self.transaction():
            self._db.executemany(
                "INSERT INTO sessions (token, id, user_id, expires_at, seeded) VALUES (?, ?, ?, ?, ?)",
                ((row.token, row.id, row.user_id, expires_at, int(seeded)) for row in rows),
            )

    def seeded_sessions(self) -> list[SessionRow]:
        """The seeded sessions, oldest first."""
        rows = self._read("SELECT token, id, user_id FROM sessions WHERE seeded = 1 ORDER BY rowid", ())
        return [SessionRow(*row) for row in rows]

    def end_sessions(self, *, session_id: str | None = None, user_id: str | None = None) -> list[str]:
        """Delete one session, or all of a user's. Returns the ids of those that existed."""
        column, key = ("id", session_id) if session_id is not None else ("user_id", user_id)
        with self.transaction():
            rows = self._db.execute(f"DELETE FROM sessions WHERE {column} = ? RETURNING id", (key,))  # noqa: S608
            return [row[0] for row in rows.fetchall()]

    def drop_expired_sessions(self, now: float) -> None:
        """Forget the sessions that ended before `now` (epoch seconds)."""
        with self.transaction():
            self._db.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))

    def add_users(self, accounts: Iterable[Account]) -> None:
        """Write new users; all or none."""
        with self.transaction():
            self._db.executemany(
                "INSERT INTO users (id, name, email, admin, password_hash) VALUES (?, ?, ?, ?, ?)",
                ((a.id, a.name, a.email, int(a.admin), a.password_hash) for a in accounts),
            )

    def accounts(self) -> list[Account]:
        """All users, oldest first."""
        return [self._account(row) for row in self._read("SELECT * FROM users ORDER BY rowid", ())]

    def account(self, email: str) -> Account | None:
        """The user who signs in with `email` (lower case), if any."""
        rows = self._read("SELECT * FROM users WHERE email = ?", (email,))
        return self._account(rows[0]) if rows else None

    def user(self, user_id: str) -> Account:
        """One user. Raises UnknownUserError."""
        rows = self._read("SELECT * FROM users WHERE id = ?", (user_id,))
        if not rows:
            raise UnknownUserError(user_id)
        return self._account(rows[0])

    @staticmethod
    def _account(row: tuple[Any, ...]) -> Account:
        user_id, name, email, admin, password_hash = row
        return Account(user_id, name, email, admin == 1, password_hash)

    def set_admin(self, user_id: str, admin: bool) -> None:
        """Make one user an administrator, or no longer. Raises UnknownUserError."""
        with self.transaction():
            if self._db.execute("UPDATE users SET admin = ? WHERE id = ?", (int(admin), user_id)).rowcount == 0:
                raise UnknownUserError(user_id)

    # Features and votes

    def features(self, caller_id: str) -> list[dict[str, object]]:
        """All features, oldest first, as the API shows them to the caller."""
        return [_feature(row) for row in self._read(f"{_FEATURE} ORDER BY f.rowid", (caller_id,))]

    def feature(self, feature_id: str, caller_id: str) -> dict[str, object]:
        """One feature as the API shows it to the caller. Raises UnknownFeatureError."""
        rows = self._read(f"{_FEATURE} WHERE f.id = ?", (caller_id, feature_id))
        if not rows:
            raise UnknownFeatureError(feature_id)
        return _feature(rows[0])

    def add_features(self, rows: Iterable[tuple[str, str, str, str]], *, creator_id: str, now: float) -> None:
        """Write new features given as (id, title, description, status); all or none. `now`: epoch seconds."""
        moment = iso_time(now)
        with self.transaction():
            self._db.executemany(
                "INSERT INTO features VALUES (?, ?, ?, ?, 0, ?, ?, ?)",
                ((*row, creator_id, moment, moment) for row in rows),
            )

    def update_feature(self, feature_id: str, wanted: Mapping[str, str], now: float) -> dict[str, str]:
        """Set title, description or status. Returns what really changed. Raises UnknownFeatureError."""
        with self.transaction():
            rows = self._db.execute("SELECT title, description, status FROM features WHERE id = ?", (feature_id,))
            row = next(iter(rows.fetchall()), None)
            if row is None:
                raise UnknownFeatureError(feature_id)
            present = dict(zip(_EDITABLE, row, strict=True))
            changes = {name: wanted[name] for name in _EDITABLE if name in wanted and wanted[name] != present[name]}
            if changes:
                after = present | changes
                self._db.execute(
                    "UPDATE features SET title = ?, description = ?, status = ?, updated_at = ? WHERE id = ?",
                    (*(after[name] for name in _EDITABLE), iso_time(now), feature_id),
                )
            return changes

    def delete_feature(self, feature_id: str) -> None:
        """Delete a feature and its votes. Raises UnknownFeatureError."""
        with self.transaction():
            if self._db.execute("DELETE FROM features WHERE id = ?", (feature_id,)).rowcount == 0:
                raise UnknownFeatureError(feature_id)

    def add_vote(self, feature_id: str, user_id: str) -> int:
        """Vote; returns the new count. Raises UnknownFeatureError, or VoteConflictError when the vote is there."""
        with self.transaction():
            count = self._count(feature_id, 1)
            try:
                self._db.execute(_VOTE, (feature_id, user_id))
            except sqlite3.IntegrityError as error:
                raise VoteConflictError from error
            return count

    def remove_vote(self, feature_id: str, user_id: str) -> int:
        """Take a vote back; returns the new count. Raises UnknownFeatureError, or VoteConflictError without a vote."""
        with self.transaction():
            if self._db.execute(_UNVOTE, (feature_id, user_id)).rowcount == 0:
                if not self._db.execute("SELECT 1 FROM features WHERE id = ?", (feature_id,)).fetchall():
                    raise UnknownFeatureError(feature_id)
                raise VoteConflictError
            return self._count(feature_id, -1)

    def _count(self, feature_id: str, step: int) -> int:
        rows = self._db.execute(_COUNT, (step, feature_id)).fetchall()
        if not rows:
            raise UnknownFeatureError(feature_id)
        count: int = rows[0][0]
        return count

    # Facts about the file itself

    def fact(self, key: str) -> str | None:
        """A remembered fact about this database, such as that it was seeded."""
        rows = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def remember(self, key: str, value: str) -> None:
        """Remember a fact about this database."""
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _feature(row: tuple[Any, ...]) -> dict[str, object]:
    feature_id, title, description, status, votes, creator_id, creator, created_at, updated_at, has_voted = row
    return {
        "id": feature_id,
        "title": title,
        "description": description,
        "status": status,
        "voteCount": votes,
        "createdById": creator_id,
        "createdBy": {"name": creator},
        "createdAt": created_at,
        "updatedAt": updated_at,
        "hasVoted": has_voted == 1,
    }
