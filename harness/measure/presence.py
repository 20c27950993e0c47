"""What each socket has asked to be told of, and since when: the past of all of them, so that any moment can be asked about.

A SUBSCRIBE has no answer, so nobody outside knows when it begins to act. Hence the questions are about stretches of time: what a socket
wanted all through one, and which sockets changed their minds in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSENT", "ALL", "BACK", "Presence"]

ABSENT, BACK, ALL = -3, -2, -1
"""Of a socket: not there; has unsubscribed from all it had subscribed to; never asked for anything in particular. From 0 on: the index of
the one feature that it watches."""


class Presence:
    """The past of so many slots. Moments are ns, and come in order."""

    def __init__(self, slots: int) -> None:
        self._first = np.full(slots, ABSENT, np.int32)  # as it was before the kept changes
        self._at = np.zeros(1024, np.int64)
        self._slot = np.zeros(1024, np.int32)
        self._state = np.zeros(1024, np.int32)
        self._changes = 0

    def change(self, slot: int, state: int, at: int) -> None:
        """From `at` on the slot is in that state."""
        n = self._changes
        if n == len(self._at):
            self._at, self._slot, self._state = (np.concatenate([old, old]) for old in (self._at, self._slot, self._state))
        self._at[n] = max(at, int(self._at[n - 1])) if n else at
        self._slot[n], self._state[n] = slot, state
        self._changes += 1

    def between(self, begin: int, end: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(the state of each slot at `begin`, which slots changed after it and until `end`)."""
        past = self._at[: self._changes]
        first, last = int(np.searchsorted(past, begin, "right")), int(np.searchsorted(past, end, "right"))
        states = self._first.copy()
        states[self._slot[:first]] = self._state[:first]  # of several changes of one slot the last one stays
        moved = np.zeros(len(states), bool)
        moved[self._slot[first:last]] = True
        return states, moved

    def forget(self, before: int) -> None:
        """Nobody will ask about a moment before that one."""
        gone = int(np.searchsorted(self._at[: self._changes], before, "right"))
        if gone <= self._changes // 2:
            return
        self._first[self._slot[:gone]] = self._state[:gone]
        kept = slice(gone, self._changes)
        for past in (self._at, self._slot, self._state):
            past[: self._changes - gone] = past[kept].copy()
        self._changes -= gone
