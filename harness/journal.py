"""The journal of a run: one JSON object a line, the only thing that analysis, gate and report read.

A record is kept whole or not at all: each is one write to the end of the file, a half-written one is cut off again (or,
after a crash, passed over by the reader), and once something was lost nothing more is written, so a journal never has a
hole in the middle. The last record is a footer; without it the run was cut short.
"""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from harness.errors import EvidenceLost, JournalFull, RunInvalid, UsageError
from harness.run_folder import RunFolder

__all__ = ["FORMAT", "Journal", "JournalData", "read_journal"]

FORMAT = 1
"""The journal format that this version writes, and the newest that it reads."""

_SYNC_EVERY = 1.0


class Journal:
    """Writer of a new journal in `folder`. Raises UsageError when the folder has one already or cannot be written to.

    A context manager: leaving it without `close(footer)` leaves a journal without footer, that is, of a run cut short.
    One process writes; `sync` may be called from another thread than `write`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = RunFolder(folder).journal
        self.kept = 0
        self._size = 0
        self._synced_at: float | None = None
        self._failed = False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._fd: int | None = os.open(self.path, flags, 0o644)
        except FileExistsError:
            do = "evidence is never overwritten: give the new run a folder of its own"
            raise UsageError("there is a journal already", str(self.path), do) from None
        except OSError as error:
            do = "name a folder that exists and can be written to"
            raise UsageError(f"no journal can be made ({error.strerror})", str(self.path), do) from error

    @property
    def failed(self) -> bool:
        """True once a record could not be kept. From then on nothing is written and there will be no footer."""
        return self._failed

    @property
    def closed(self) -> bool:
        return self._fd is None

    def write(self, record: Mapping[str, Any]) -> bool:
        """Append one record; numpy arrays and scalars are allowed in it. True when it was kept.

        Raises JournalFull the first time the disk refuses; after that, records are dropped and the answer is False, so
        that clearing up cannot raise again. Raises TypeError or ValueError for a record that is not JSON or has no kind.
        """
        if not isinstance(record.get("kind"), str):
            raise ValueError(f"a record needs a kind; this one has the keys {sorted(record)}")
        line = orjson.dumps(dict(record), default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        if self._failed:
            return False
        if self._fd is None:
            raise ValueError(f"{self.path}: written to after close")
        try:
            _write_all(self._fd, line)
        except OSError as error:
            raise self._give_up(error) from error
        self._size += len(line)
        self.kept += 1
        return True

    def sync(self, now: float) -> bool:
        """Bring what was written onto the disk, at most once a second of `now` (any clock). True when it was done.

        It waits for the disk, some milliseconds and at times far more: with an event loop, call it from a native thread.
        Raises JournalFull like `write`.
        """
        if self._fd is None or self._failed or (self._synced_at is not None and now < self._synced_at + _SYNC_EVERY):
            return False
        self._synced_at = now
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._give_up(error) from error
        return True

    def close(self, footer: Mapping[str, Any] | None = None) -> None:
        """Write the footer if one is given, sync and close. A second call does nothing. Raises JournalFull like `write`."""
        if self._fd is None:
            return
        try:
            if footer is not None:
                self.write(footer)
            self._synced_at = None
            self.sync(0.0)
        finally:
            descriptor, self._fd = self._fd, None
            os.close(descriptor)

    def fileno(self) -> int:
        """The open descriptor. Raises ValueError when closed."""
        if self._fd is None:
            raise ValueError(f"{self.path}: closed")
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _give_up(self, error: OSError) -> JournalFull:
        self._failed = True
        # Cutting a half-written record off needs no room; where it fails, the reader passes the torn line over.
        with contextlib.suppress(OSError):
            os.ftruncate(self.fileno(), self._size)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = f"the journal cannot grow ({error.strerror}); the first {self.kept} records ({self._size} bytes) are kept"
        do = "free some room (or raise the quota) and run again" if full else "check the disk and run again"
        return JournalFull(what, str(self.path), f"{do}: a run without all of its evidence is not judged")


def _write_all(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    while written < len(line):
        written += os.write(descriptor, line[written:])


def _plain(value: Any) -> Any:
    # orjson takes contiguous arrays by itself; a view with strides it hands over to us.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written to the journal")


@dataclass(frozen=True, slots=True)
class JournalData:
    """A journal, read. Records stay in the file until asked for, so that an hour's run need not fit into memory.

    footer: None when the run was cut short. torn: the last record was half-written. problems: sentences for the report.
    """

    path: Path
    header: dict[str, Any]
    footer: dict[str, Any] | None
    torn: bool
    problems: tuple[str, ...]
    _offsets: dict[str, array[int]] = field(repr=False)

    def count(self, kind: str) -> int:
        """How many records of the kind there are."""
        return len(self._offsets.get(kind, ()))

    def records(self, kind: str) -> Iterator[dict[str, Any]]:
        """The records of one kind in the order written, each read when it is asked for."""
        with self.path.open("rb") as file:
            for offset in self._offsets.get(kind, ()):
                file.seek(offset)
                yield orjson.loads(file.readline())

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind, as a list."""
        return list(self.records(kind))


def read_journal(folder: Path) -> JournalData:
    """Read the journal in a run folder, whole or cut short. Lines that are not records are passed over and named.

    Raises UsageError when there is no journal or a newer version wrote it, RunInvalid when it has no header, EvidenceLost
    when the disk fails.
    """
    path = RunFolder(folder).journal
    offsets: dict[str, array[int]] = {}
    problems: list[str] = []
    ends: dict[str, dict[str, Any]] = {}
    torn = False
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, 1):
                record = _parse(line)
                if record is not None:
                    offsets.setdefault(record["kind"], array("q")).append(offset)
                    if record["kind"] in ("header", "footer"):
                        ends[record["kind"]] = record
                elif line.endswith(b"\n"):
                    problems.append(f"line {number} is not a record and was passed over")
                else:
                    torn = True
                    problems.append(f"line {number}, the last, is torn ({len(line)} bytes) and was passed over")
                offset += len(line)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError("there is no journal", str(path), 'name the folder of a run, or say "latest"') from None
    except OSError as error:
        raise EvidenceLost(f"the journal cannot be read ({error.strerror})", str(path), "check the disk") from error
    if "header" not in ends:
        raise RunInvalid("the journal has no header: the run ended before it began", str(path), "run again")
    written_as = ends["header"].get("format")
    if not isinstance(written_as, int) or written_as > FORMAT:
        what = f"the journal has format {written_as!r}, and this version reads up to {FORMAT}"
        raise UsageError(what, str(path), "use the version that wrote it, or a newer one")
    if "footer" not in ends:
        problems.append("there is no footer: the run was cut short")
    return JournalData(path, ends["header"], ends.get("footer"), torn, tuple(problems), offsets)


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("kind"), str) else None
