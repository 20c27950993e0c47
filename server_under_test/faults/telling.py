"""What the faults of administrators' events share: to keep an event from some, and to tell of it too late."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from server_under_test.batcher import FeatureEvent, Kind
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyHub
from server_under_test.faults.votes import beyond_latency

__all__ = ["NOT_TOLD", "TellsSome", "delayed"]

NOT_TOLD = "nothing is told that could be looked at"


class TellsSome(FaultyHub):
    """Keeps events of one kind from some."""

    _event_now: FeatureEvent | None = None

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return True

    def send_event(self, event: FeatureEvent) -> None:
        self._event_now = event
        try:
            super().send_event(event)
        finally:
            self._event_now = None

    def deliver(self, frame: bytes, receivers: Iterable[Connection]) -> None:
        event = self._event_now
        super().deliver(frame, receivers if event is None else [one for one in receivers if self.told(event, one)])


def delayed(hub: FaultyHub, event: FeatureEvent, kind: Kind, send: Callable[[FeatureEvent], None]) -> None:
    """Send the event now, or much later when it is of this kind."""
    if event.kind is kind:
        hub.later(beyond_latency(), lambda: send(event))
    else:
        send(event)
