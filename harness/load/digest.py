"""What a payload means: parsed, validated and matched to the cast that caused it, once for each distinct payload.

The fleet asks for each new payload and gets a message number; the number leads to everything that is known of the message. A payload
that breaks the schema still gets a number, so that each of its deliveries is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.load.matching import Matcher
from harness.measure.ledger import Ledger
from schemas import NotJson, load_contract, parse, validate_server

__all__ = ["PING", "Digest", "Invalid"]

PING = 0
"""The message number of the application's PING, in every digest."""

_OTHER = "(invalid)"
_KEEP = 100_000
_EXAMPLE = 300


@dataclass(frozen=True, slots=True)
class Invalid:
    """A payload that breaks the contract's schema, and the reason in words."""

    message: int
    text: str
    example: str


class Digest:
    """Numbers payloads. `epoch` is the plan's start in ns since the epoch; without a matcher every broadcast is unmatched."""

    def __init__(self, ledger: Ledger, match: Matcher | None, epoch: int, clock: Callable[[], int]) -> None:
        self._ledger, self._match, self._epoch, self._clock = ledger, match, epoch, clock
        self.types = (*load_contract().messages.server, _OTHER)
        self._index = {name: number for number, name in enumerate(self.types)}
        self._numbers: dict[bytes, int] = {}
        self._type = np.zeros(1024, np.int8)
        self._bad = np.zeros(1024, bool)
        self._count = np.full(1024, -1, np.int64)
        self._about = np.full(1024, -1, np.int32)
        self.invalid: list[Invalid] = []
        self.unmatched = ""
        """The newest payload that no cast of the plan explains, cut short."""
        self.error = ""
        """The newest ERROR, cut short."""
        self._explained = np.zeros(len(self.types), bool)
        for name in match.types if match else ("VOTE_UPDATE",):
            self._explained[self._index[name]] = True
        ping = b'{"type":"PING"}'
        self._numbers[ping] = self._register(None, -1, 0, self._index["PING"], bad=False)

    def __call__(self, payload: bytes) -> int:
        """The message number of a payload."""
        number = self._numbers.get(payload)
        if number is None:
            number = self._learn(payload)
            if len(self._numbers) >= _KEEP:
                for old in list(self._numbers)[1 : _KEEP // 2]:  # the first is PING
                    del self._numbers[old]
            self._numbers[payload] = number
        return number

    def _register(self, n: int | None, line: int, stamp: int, kind: int, *, bad: bool) -> int:
        number = self._ledger.message(n, line, stamp)
        if number >= len(self._type):
            self._type = np.concatenate([self._type, np.zeros(number, np.int8)])
            self._bad = np.concatenate([self._bad, np.zeros(number, bool)])
            self._count = np.concatenate([self._count, np.full(number, -1, np.int64)])
            self._about = np.concatenate([self._about, np.full(number, -1, np.int32)])
        self._type[number], self._bad[number] = kind, bad
        return number

    def _learn(self, payload: bytes) -> int:
        try:
            message = parse(payload)
        except NotJson as error:
            return self._broken(payload, str(error))
        problems = validate_server(message, strict=False)
        if problems or not isinstance(message, dict):
            return self._broken(payload, "; ".join(problem.text for problem in problems[:3]), message)
        kind = message["type"]
        if kind == "PING":
            return PING  # with other white space or keys than usual: the answer is the same
        n, line, stamp = self._matched(message)
        shown = payload[:_EXAMPLE].decode("utf-8", "replace")
        if n is None and self._match is not None and self._explained[self._index[kind]]:
            self.unmatched = shown
        if kind == "ERROR":
            self.error = shown
        number = self._register(n, line, stamp, self._index[kind], bad=False)
        if kind == "VOTE_UPDATE":
            self._count[number], self._about[number] = message["voteCount"], line
        return number

    def _broken(self, payload: bytes, text: str, message: object = None) -> int:
        n, line, stamp = self._matched(message) if isinstance(message, dict) else (None, -1, 0)
        number = self._register(n, line, stamp, self._index[_OTHER], bad=True)
        self.invalid.append(Invalid(number, text, payload[:_EXAMPLE].decode("utf-8", "replace")))
        return number

    def _matched(self, message: dict[str, Any]) -> tuple[int | None, int, int]:
        """(cast, line, stamp in ns) of a message; the cast is None where none of the plan's explains it."""
        stamp = _nanoseconds(message.get("timestamp"))
        if self._match is None:
            return None, -1, stamp
        return *self._match(message, (self._clock() - self._epoch) / 1e9), stamp

    def count(self, message: NDArray[np.int32]) -> dict[str, int]:
        """Deliveries by message type."""
        counts = np.bincount(self._type[message], minlength=len(self.types))
        return {name: int(number) for name, number in zip(self.types, counts, strict=True) if number}

    def shown(self, message: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """What each delivery shows: the index of its feature in the plan (-1: none of ours) and the number of votes."""
        return self._about[message], self._count[message]

    def explained(self, message: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which deliveries are of a type of which every message is to have a cast that explains it."""
        return self._explained[self._type[message]]

    def kinds(self, message: NDArray[np.int32]) -> NDArray[np.int8]:
        """The type of each delivery, as an index of `types`."""
        return self._type[message]

    def bad(self, message: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which deliveries carry a payload that breaks the schema."""
        return self._bad[message]


def _nanoseconds(timestamp: object) -> int:
    """An ISO 8601 time stamp as ns since the epoch; 0 for what is none."""
    if not isinstance(timestamp, str):
        return 0
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return 0
    return round(moment.timestamp() * 1e6) * 1000 if moment.tzinfo else 0
