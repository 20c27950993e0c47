"""The SQLite file itself: opened in WAL mode, read, written in transactions, and checkpointed beside the event loop.

Every failure of SQLite leaves as a StoreError, with the transaction rolled back, so the server lives through a full disk
or a lock. What a transaction has returned survives the death of the process; a power cut may take the last moments.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Database", "StoreError"]

_APPLICATION_ID = 0x524D4150  # "RMAP": tells our file from any other SQLite file
_LOG_BYTES = 16 * 1024 * 1024  # the log file is cut back to this after a burst
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE,
    admin INTEGER NOT NULL CHECK (admin IN (0, 1)), password_hash TEXT NOT NULL
);
CREATE TABLE sessions (
    token TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL REFERENCES users (id),
    expires_at REAL NOT NULL, seeded INTEGER NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE TABLE features (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL, status TEXT NOT NULL,
    vote_count INTEGER NOT NULL CHECK (vote_count >= 0), created_by TEXT NOT NULL REFERENCES users (id),
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE TABLE votes (
    feature_id TEXT NOT NULL REFERENCES features (id) ON DELETE CASCADE, user_id TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (feature_id, user_id)
) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The database did not do its work: full disk, locked by another process, damaged or unreadable file."""


class Database:
    """The file and its plumbing. Not shared between threads, `checkpoint` apart."""

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        """Open or make the file. `busy_timeout`: seconds to wait for another process's lock. Raises StoreError."""
        self._path = path
        self._busy_timeout = busy_timeout
        self._checkpointed = 0
        try:
            self._db = self._connect()
            self._prepare()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            # A checkpoint waits for the disk; inside a commit it would hold up every socket.
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _prepare(self) -> None:
        (owner,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; COMMIT;")
        elif owner != _APPLICATION_ID:
            self._db.close()
            raise StoreError(f"database {self._path} belongs to another program: name another file")

    def close(self) -> None:
        """Close the file. Later calls raise StoreError."""
        self._db.close()

    def checkpoint(self) -> None:
        """Move the log into the main file if anything was written since. Waits for the disk: call it in a thread."""
        changes = self._db.total_changes
        if changes == self._checkpointed:
            return
        try:
            db = self._connect()
            try:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                db.close()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        self._checkpointed = changes

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing for what is done inside; inner ones join the outer. Raises StoreError."""
        db = self._db
        if db.in_transaction:
            yield
            return
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield
                db.execute("COMMIT")
            except BaseException:
                # A full disk has already rolled back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StoreError(f"database {self._path}: {name}: {error}")
