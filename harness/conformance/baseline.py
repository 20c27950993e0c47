"""The baseline: clauses that are known to be broken, each with a reason and an end date, so that a gate can go green meanwhile.

It only shrinks by itself: an entry past its date counts as not listed, and an entry whose clause is kept now fails the gate
until it is taken out.
"""

from __future__ import annotations

import datetime
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.verdict import Verdict
from schemas import load_clauses

__all__ = ["Entry", "read_baseline", "still_known", "updated", "write_baseline"]

_KEYS = ("clause", "reason", "expires")
_DAYS = 90  # that a new entry holds
_UNEXPLAINED = "known failure, still to be explained"


@dataclass(frozen=True, slots=True)
class Entry:
    """One known failure. It holds through the day `expires`."""

    clause: str
    reason: str
    expires: datetime.date

    def expired(self, today: datetime.date) -> bool:
        """Whether it no longer counts."""
        return today > self.expires


def read_baseline(path: Path) -> dict[str, Entry]:
    """The entries by clause. Raises UsageError, with the entry's number and key, for anything that is not as it should be."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"the baseline cannot be read: {error.strerror}", str(path), "make one with --update-baseline") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not TOML: {error}", str(path), "mend that line") from None
    known = data.pop("known", [])
    if data or not isinstance(known, list):
        raise UsageError("there is something besides [[known]] tables", str(path), "keep only [[known]] with clause, reason, expires")
    entries: dict[str, Entry] = {}
    for number, table in enumerate(known, 1):
        entry = _entry(table, f"{path}: known {number}")
        if entry.clause in entries:
            raise UsageError(f"{entry.clause} is listed twice", f"{path}: known {number}", "keep one of them")
        entries[entry.clause] = entry
    return entries


def _entry(table: Any, where: str) -> Entry:
    if not isinstance(table, dict) or sorted(table) != sorted(_KEYS):
        raise UsageError("an entry has other keys than it should", where, f"write exactly {', '.join(_KEYS)}")
    clause, reason, expires = (table[key] for key in _KEYS)
    if clause not in load_clauses():
        raise UsageError(f"there is no clause {clause!r}", f"{where}.clause", "write an id such as HB-05")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError("the reason is empty", f"{where}.reason", "say why this failure is accepted for now")
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise UsageError("this is not a date", f"{where}.expires", "write a date without quotes: 2026-03-31")
    return Entry(clause, reason, expires)


def still_known(entries: Mapping[str, Entry], today: datetime.date) -> dict[str, Entry]:
    """The entries that count today."""
    return {clause: entry for clause, entry in entries.items() if not entry.expired(today)}


def updated(entries: Mapping[str, Entry], verdicts: Mapping[str, Verdict], today: datetime.date) -> list[Entry]:
    """The entries after a run: kept clauses leave, broken MUSTs come in, the rest stays as it was.

    An entry that expired is renewed only by hand: a broken clause with one keeps its old date, and the gate keeps failing.
    """
    kept = [entry for clause, entry in entries.items() if verdicts.get(clause) not in (Verdict.PASS, Verdict.INFO)]
    listed = {entry.clause for entry in kept}
    until = today + datetime.timedelta(days=_DAYS)
    new = [Entry(clause, _UNEXPLAINED, until) for clause, verdict in verdicts.items() if verdict is Verdict.FAIL and clause not in listed]
    order = list(load_clauses())
    return sorted([*kept, *new], key=lambda entry: order.index(entry.clause))


def write_baseline(path: Path, entries: Iterable[Entry]) -> None:
    """Write the file anew. Raises OSError."""
    text = "# Known failures of this target. A clause that is kept again must be taken out; after its date an entry counts no more.\n"
    for entry in entries:
        reason = json.dumps(entry.reason, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's
        text += f'\n[[known]]\nclause = "{entry.clause}"\nreason = {reason}\nexpires = {entry.expires.isoformat()}\n'
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, "utf-8")
    draft.replace(path)
