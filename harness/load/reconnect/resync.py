"""What a page does besides its socket once it is back: it asks for the state again, because it cannot know what it missed.

Some of a cell's returned clients do it, few enough to add nothing to the herd that is measured. Each fetch is written down with its time;
where the profile's list cannot be asked over HTTP nobody does it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import gevent

from harness.load.reconnect.notes import Notes
from harness.load.reconnect.swarm import Swarm
from harness.target import HookCaller, Session, Target

__all__ = ["Resync"]

_HOOK = "list"


class Resync:
    """One cell's. `sessions` are those of the clients, dealt in turn."""

    period = 0.1  # seconds between two fetches
    most = 30  # in one cell

    def __init__(self, target: Target, swarm: Swarm, sessions: Sequence[Session], notes: Notes) -> None:
        self._target, self._swarm, self._sessions, self._notes = target, swarm, sessions, notes

    def run(self) -> None:
        """Whoever came back last fetches the state anew, one at a time. Returns when enough have; killed with the cell."""
        hook = self._target.hook(_HOOK)
        if hook is None or hook.is_command:
            return
        left = self.most
        while left:
            gevent.sleep(self.period)
            client = self._swarm.take_returned()
            if client is not None:
                left -= 1
                self._fetch(client)

    def _fetch(self, client: int) -> None:
        with HookCaller(self._target) as caller:  # of its own: a page that comes back has no connection either
            began = time.monotonic()
            called = caller.call(_HOOK, self._sessions[client % len(self._sessions)])
        self._notes.resynced(client, began, called.answered_at - began, called.answer.ok)
