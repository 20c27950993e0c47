"""Who had to get each broadcast, and who did: exact for every delivery of a run at full load.

Rows are the casts of a plan, numbered n = 0, 1, 2 ...; columns are sockets ("slots"). Deliveries come in as arrays, so a second of
100,000 of them costs a few numpy calls. A row is settled, in order, when everybody who had to get it has it and stragglers have had
time, or when its horizon has passed; only then are losses counted, and each is named by its slot.

Who must get a broadcast: every socket that was open when its vote was due and stayed open for `patience` after it, less those whom
the contract excludes. A socket that ended meanwhile may have got it. A socket that is excluded must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Audience", "Finding", "Ledger", "Settled", "Totals"]

_ONE_BATCH = 5_000_000  # ns: the frames of one batch, for its last voter and for the others, are stamped one after the other
_FOREVER = np.iinfo(np.int64).max
_NOBODY: NDArray[np.int32] = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Audience:
    """Slots that must not get a broadcast, and slots of which nothing is asked (the reading leaves it open)."""

    excluded: NDArray[np.int32] = field(default_factory=lambda: _NOBODY)
    optional: NDArray[np.int32] = field(default_factory=lambda: _NOBODY)


@dataclass(frozen=True, slots=True)
class Finding:
    """What went wrong with broadcast `n`, and on which slots (all of them; `total` counts deliveries)."""

    what: str
    n: int
    slots: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Settled:
    """One settled broadcast. Times are ns since the epoch, None where nothing arrived; counts are deliveries.

    `into` is set when the cast had no broadcast of its own because a later one of the same feature carried its vote; `carried` counts those
    of `delivered` to whom only a later one came.
    """

    n: int
    stamped: int | None
    first: int | None
    last: int | None
    expected: int
    delivered: int
    lost: int
    duplicated: int
    reordered: int
    misdirected: int
    into: int | None = None
    carried: int = 0


@dataclass(slots=True)
class Totals:
    """Sums over all settled rows."""

    settled: int = 0
    expected: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    misdirected: int = 0


class Ledger:
    """The delivery ledger of one process.

    `due(n)` is the plan's time of cast n and `audience(n)` whom it concerns specially. `patience`, `linger` and `horizon` are ns:
    how long a socket must have stayed to be owed a broadcast, how long a complete row waits for duplicates, and how long an
    incomplete one waits for the missing. `merges_every` is the number of casts between two on the same feature where the target
    may merge them (above its cap of broadcasts), else 0. Where it may merge, a socket that got a later broadcast of the same feature has
    what it is owed: the count.
    """

    def __init__(
        self,
        *,
        slots: int,
        features: int,
        due: Callable[[int], int],
        audience: Callable[[int], Audience],
        patience: int,
        linger: int,
        horizon: int,
        merges_every: int = 0,
    ) -> None:
        self._due, self._audience = due, audience
        self._merges_every = merges_every
        self._patience, self._linger, self._horizon = patience, linger, horizon
        self._slots = slots
        self._joined = np.full(slots, _FOREVER, np.int64)
        self._left = np.full(slots, _FOREVER, np.int64)
        self._latest = np.zeros((features, slots), np.int64)
        self._base = 0  # n of the first row that is not settled
        self._top = 0  # one past the last open row
        self._allocate(256)
        self._message_n = np.full(1024, -1, np.int64)
        self._message_feature = np.full(1024, -1, np.int32)
        self._message_stamp = np.zeros(1024, np.int64)
        self._messages = 0
        self._settled_incomplete: dict[int, int] = {}
        self._late: dict[int, int] = {}
        self._feature: dict[int, int] = {}  # by the place in the cycle of casts, where votes may be merged
        self.closing: Callable[[int, NDArray[np.uint16], int], None] | None = None
        """Told of each row whose books close: its number, how often each slot got it, and when the last did (ns, 0: nobody)."""
        self.totals = Totals()

    def _allocate(self, rows: int) -> None:
        self._counts = np.zeros((rows, self._slots), np.uint16)
        self._first = np.full(rows, _FOREVER, np.int64)
        self._last = np.zeros(rows, np.int64)
        self._stamp = np.zeros(rows, np.int64)
        self._reordered = np.zeros(rows, np.int64)

    # -- who is there

    def join(self, slot: int, at: int) -> None:
        """Slot opened at `at`. A slot is one socket: a reconnection takes a slot of its own."""
        self._joined[slot] = at

    def leave(self, slot: int, at: int) -> None:
        """Slot ended, or stopped reading, at `at`; of two such moments the first counts."""
        self._left[slot] = min(int(self._left[slot]), at)

    # -- what was said

    def message(self, n: int | None, feature: int, stamp: int) -> int:
        """Register a new payload: the broadcast of cast `n` (None: of no cast of ours). Returns its message number.

        `feature` is the feature's index (-1: not about one of ours), `stamp` the message's own time in ns.
        """
        number = self._messages
        if number == len(self._message_n):
            self._message_n = np.concatenate([self._message_n, np.full(number, -1, np.int64)])
            self._message_feature = np.concatenate([self._message_feature, np.full(number, -1, np.int32)])
            self._message_stamp = np.concatenate([self._message_stamp, np.zeros(number, np.int64)])
        self._message_n[number] = -1 if n is None else n
        self._message_feature[number] = feature
        self._message_stamp[number] = stamp
        self._messages += 1
        if n is not None and n >= self._base:
            self.open(n + 1)
            row = n - self._base
            if self._stamp[row] == 0 or stamp < self._stamp[row]:
                self._stamp[row] = stamp
            if self._merges_every:
                self._feature[n % self._merges_every] = feature
        return number

    def open(self, until: int) -> None:
        """Open rows for every cast below `until`, so that a broadcast which nobody gets is missed too."""
        self._top = max(self._top, until)
        needed, rows = self._top - self._base, len(self._counts)
        if needed > rows:
            counts, first, last, stamp, reordered = self._counts, self._first, self._last, self._stamp, self._reordered
            self._allocate(max(needed, 2 * rows))
            self._counts[:rows], self._first[:rows], self._last[:rows] = counts, first, last
            self._stamp[:rows], self._reordered[:rows] = stamp, reordered

    def deliver(self, slot: NDArray[np.int32], message: NDArray[np.int32], arrived: NDArray[np.int64]) -> NDArray[np.int64]:
        """Account for deliveries, in the order of reading. Returns for each the n it belongs to, or -1."""
        if not len(slot):
            return np.empty(0, np.int64)
        n = self._message_n[message]
        row = n - self._base
        ours = (n >= 0) & (row >= 0)
        late = (n >= 0) & (row < 0)
        if late.any():
            for number, times in zip(*np.unique(n[late], return_counts=True), strict=True):
                self._late[int(number)] = self._late.get(int(number), 0) + int(times)
        rows = row[ours]
        np.add.at(self._counts.reshape(-1), rows * self._slots + slot[ours], 1)
        np.minimum.at(self._first, rows, arrived[ours])
        np.maximum.at(self._last, rows, arrived[ours])
        self._order(slot, message, row)
        return n

    def _order(self, slot: NDArray[np.int32], message: NDArray[np.int32], row: NDArray[np.int64]) -> None:
        """Count deliveries that came after a later-stamped message of the same feature on the same socket."""
        feature = self._message_feature[message]
        about = np.flatnonzero(feature >= 0)
        if not len(about):
            return
        # Sorted by (feature, socket) and within it by the order of reading: one sort of unique numbers, which is faster than a stable one.
        places = len(about)
        bits = places.bit_length()
        ordered = np.sort((feature[about].astype(np.int64) * self._slots + slot[about]) << bits | np.arange(places))
        key, place = ordered >> bits, ordered & ((1 << bits) - 1)
        about = about[place]
        starts = np.concatenate(([True], key[1:] != key[:-1]))
        firsts = np.flatnonzero(starts)
        group = np.cumsum(starts) - 1
        latest = self._latest.reshape(-1)
        before = latest[key[firsts]]  # the newest stamp of each group until now
        # A running maximum within each group: ranks instead of stamps leave room for the group's number in front.
        oldest = int(message[about].min())
        stamps, ranks = np.unique(self._message_stamp[oldest : int(message[about].max()) + 1], return_inverse=True)
        value = group * len(stamps) + ranks[message[about] - oldest]
        newest = np.maximum.accumulate(value)
        behind = self._message_stamp[message[about]] < before[group]
        behind[1:] |= ~starts[1:] & (value[1:] < newest[:-1])
        lasts = np.append(firsts[1:], places) - 1
        latest[key[firsts]] = np.maximum(before, stamps[newest[lasts] % len(stamps)])
        rows = row[about[behind]]
        np.add.at(self._reordered, rows[rows >= 0], 1)

    # -- the account

    def last_arrival(self, n: int) -> int:
        """When broadcast n last reached somebody, ns; 0 where it has reached nobody or its books are closed."""
        return int(self._last[n - self._base]) if self._base <= n < self._top else 0

    @property
    def complete(self) -> bool:
        """True when every open row has reached all who must get it."""
        return all(self._missing(n) == 0 for n in range(self._base, self._top))

    def _masks(self, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(must, must not) over slots."""
        due, audience = self._due(n), self._audience(n)
        must = (self._joined <= due) & (self._left > due + self._patience)
        must_not = np.zeros(self._slots, bool)
        must_not[audience.excluded] = True
        must &= ~must_not
        must[audience.optional] = False
        return must, must_not

    def _missing(self, n: int) -> int:
        must, _ = self._masks(n)
        return 0 if self._carrier(n) is not None else int(np.count_nonzero(self._absent(n, must)))

    def _absent(self, n: int, must: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the slots that must have broadcast n have it not, nor one that came after it where it may be merged."""
        row = n - self._base
        absent: NDArray[np.bool_] = must & (self._counts[row] == 0)
        feature = self._feature.get(n % self._merges_every, -1) if self._merges_every else -1
        if feature >= 0:
            # A vote that has no broadcast may also have overtaken, on its way, one that was cast before it and carried it.
            absent &= self._latest[feature] + _ONE_BATCH < (self._stamp[row] or self._due(n))
        return absent

    def settle(self, now: int, *, final: bool = False) -> tuple[list[Settled], list[Finding]]:
        """Close the books on rows whose time has come, in order; on all of them when `final`."""
        settled: list[Settled] = []
        findings: list[Finding] = []
        end = self._base
        while end < self._top:
            age = now - self._due(end)
            if not final and (age < self._linger or (age < self._horizon and self._missing(end))):
                break
            settled.append(self._close(end, findings))
            end += 1
        self._drop(end)
        settled.extend(self._stragglers())
        for row in settled:
            self._add(row)
        return settled, findings

    def _close(self, n: int, findings: list[Finding]) -> Settled:
        row = n - self._base
        counts = self._counts[row]
        carrier = self._carrier(n)
        if carrier is not None:
            return Settled(n, None, None, None, 0, 0, 0, 0, 0, 0, carrier)
        if self.closing is not None:
            self.closing(n, counts, int(self._last[row]))
        must, must_not = self._masks(n)
        lost = np.flatnonzero(self._absent(n, must))
        expected = int(np.count_nonzero(must))
        doubled = np.flatnonzero(counts > 1)
        misdirected = np.flatnonzero(must_not & (counts > 0))
        duplicated = int((counts[doubled].astype(np.int64) - 1).sum())
        astray = int(counts[misdirected].astype(np.int64).sum())
        for what, where, total in (
            ("lost", lost, len(lost)),
            ("duplicated", doubled, duplicated),
            ("misdirected", misdirected, astray),
        ):
            if total:
                findings.append(Finding(what, n, tuple(where.tolist()), total))
        reordered = int(self._reordered[row])
        if reordered:
            findings.append(Finding("reordered", n, (), reordered))
        if len(lost):
            self._settled_incomplete[n] = len(lost)
        arrived = self._last[row] > 0
        return Settled(
            n=n,
            stamped=int(self._stamp[row]) or None,
            first=int(self._first[row]) if arrived else None,
            last=int(self._last[row]) if arrived else None,
            expected=expected,
            delivered=expected - len(lost),
            lost=len(lost),
            duplicated=duplicated,
            reordered=reordered,
            misdirected=astray,
            carried=int(np.count_nonzero(must & (counts == 0))) - len(lost),
        )

    def _carrier(self, n: int) -> int | None:
        """The cast whose broadcast carried the vote of cast n, where n has none of its own and merging is permitted."""
        if not self._merges_every or self._stamp[n - self._base]:
            return None
        later = range(n + self._merges_every, self._top, self._merges_every)
        return next((other for other in later if self._stamp[other - self._base]), None)

    def _stragglers(self) -> list[Settled]:
        """Deliveries of rows that were settled before: corrections, to be summed with what was said of the row."""
        corrections = []
        for n, times in self._late.items():
            owed = min(times, self._settled_incomplete.get(n, 0))
            if owed:
                self._settled_incomplete[n] -= owed
            corrections.append(Settled(n, None, None, None, 0, owed, -owed, times - owed, 0, 0))
        self._late.clear()
        return corrections

    def _drop(self, end: int) -> None:
        gone = end - self._base
        if gone <= 0:
            return
        for values, empty in (
            (self._counts, 0),
            (self._first, _FOREVER),
            (self._last, 0),
            (self._stamp, 0),
            (self._reordered, 0),
        ):
            values[: len(values) - gone] = values[gone:]
            values[len(values) - gone :] = empty
        self._base = end

    def _add(self, row: Settled) -> None:
        totals = self.totals
        totals.settled += row.first is not None or row.expected > 0
        totals.expected += row.expected
        totals.delivered += row.delivered
        totals.lost += row.lost
        totals.duplicated += row.duplicated
        totals.reordered += row.reordered
        totals.misdirected += row.misdirected


def audiences(sessions: Mapping[str, NDArray[np.int32]]) -> Callable[[str], Audience]:
    """Audience by voter: the slots that hold the voter's own session are excluded (reading A11, "session")."""
    known = {voter: Audience(excluded=slots) for voter, slots in sessions.items()}
    nobody = Audience()
    return lambda voter: known.get(voter, nobody)
