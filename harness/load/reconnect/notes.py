"""What one cell saw, as journal records: sockets dialled and lost, the state fetched anew, and the pulse of server and generator.

The format of the study's records is written here, once. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.load.reconnect.dialer import Dialled

__all__ = ["ATTEMPTS", "LOSSES", "PULSES", "RESYNCS", "Notes"]

ATTEMPTS = ("socket", "client", "planned", "started", "ended", "outcome", "status")
"""Columns of an "attempts" record, one row a socket."""
LOSSES = ("socket", "client", "t", "code", "by")
"""Columns of a "losses" record: sockets that were open and are not any more."""
PULSES = ("t", "listening", "queue", "server_cpu", "holding", "sockets")
"""Columns of a "pulses" record. queue: connections that the kernel has accepted and the server has not; server_cpu: seconds in all."""
RESYNCS = ("client", "t", "seconds", "ok")
"""Columns of a "resyncs" record: clients that were back and fetched the state anew, when they asked, and how long the answer took."""


class Notes:
    """Rows until they are taken. `wall` turns the caller's clock into seconds since the epoch."""

    def __init__(self, cell: int, wall: Callable[[float], float]) -> None:
        self._cell, self._wall = cell, wall
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    def dialled(self, dialled: Dialled, client: int, planned: float) -> None:
        wall = self._wall
        row = (dialled.tag, client, wall(planned), wall(dialled.started), wall(dialled.ended), dialled.outcome, dialled.status)
        self._rows.setdefault("attempts", []).append(row)

    def lost(self, number: int, client: int, at: float, code: int, by: str) -> None:
        self._rows.setdefault("losses", []).append((number, client, self._wall(at), code, by))

    def pulse(
        self, now: float, *, listening: bool | None, queue: int | None, server_cpu: float | None, holding: int, sockets: int
    ) -> None:  # fmt: skip
        self._rows.setdefault("pulses", []).append((self._wall(now), listening, queue, server_cpu, holding, sockets))

    def resynced(self, client: int, at: float, seconds: float, ok: bool) -> None:
        self._rows.setdefault("resyncs", []).append((client, self._wall(at), round(seconds, 6), ok))

    def take(self) -> list[dict[str, Any]]:
        """The records since the last call."""
        rows, self._rows = self._rows, {}
        columns = {"attempts": ATTEMPTS, "losses": LOSSES, "pulses": PULSES, "resyncs": RESYNCS}
        return [
            {"kind": kind, "cell": self._cell, **dict(zip(columns[kind], map(list, zip(*seen, strict=True)), strict=True))}
            for kind, seen in rows.items()
        ]
