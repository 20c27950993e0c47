"""Faults of section PERF: what goes wrong only in a crowd. A crowd is a quarter of --connections, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from server_under_test.batcher import VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyConnection
from server_under_test.faults.rate import CountsVotes
from server_under_test.faults.room import Room
from server_under_test.faults.votes import beyond_latency
from server_under_test.hub import Hub
from server_under_test.identity import Identity

__all__ = ["ROOM"]

ROOM = Room()

CROWD = 0.25  # of the limit of connections


def crowded(hub: Hub) -> bool:
    return hub.connections >= CROWD * hub.limits.connections


@ROOM.fault(
    "PERF-01",
    {"LIM-03": "the one vote may be among the late ones", "PERF-03": "what comes so late may seem lost"},
    needs=("capacity", "load"),
)
class TailLateInACrowd(CountsVotes):
    """In a crowd every twentieth vote is told of later than the contract allows."""

    def send_votes(self, batch: VoteBatch) -> None:
        self._number += 1
        send = super().send_votes
        if crowded(self) and self._number % 20 == 0:
            self.later(beyond_latency(), lambda: send(batch))
        else:
            send(batch)


@ROOM.fault("PERF-02", {"LIM-01": "all of them are to live", "PERF-03": "the sockets are gone"}, needs=("capacity",))
class SomeDropAtSecondPing(FaultyConnection):
    """In a crowd every fifth connection is closed with its second PING, answered or not."""

    _pings = 0

    def __init__(self, hub: Hub, transport: asyncio.Transport, identity: Identity) -> None:
        super().__init__(hub, transport, identity)
        self._fifth = hub.counters.connections_opened % 5 == 0

    def send_ping(self) -> None:
        super().send_ping()
        self._pings += 1
        if self._pings == 2 and self._fifth and crowded(self.hub):
            self.close(self.hub.codes.going_away, "making room")


@ROOM.fault("PERF-03", needs=("capacity", "load"))
class OneSocketMissesSome(CountsVotes):
    """In a crowd, at more than half the cap, every fiftieth vote misses the socket that is open longest."""

    _misses = False

    def send_votes(self, batch: VoteBatch) -> None:
        self._misses = self.busy(0.5) and crowded(self) and self._number % 50 == 0
        super().send_votes(batch)

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        found = list(super().viewers(feature_id))
        return found[1:] if self._misses else found


@ROOM.fault("PERF-03", {"LIM-03": "the one vote may be among them"}, needs=("capacity", "load"))
class SomeLostInACrowd(CountsVotes):
    """In a crowd every fiftieth vote is told to nobody."""

    def send_votes(self, batch: VoteBatch) -> None:
        self._number += 1
        if not (crowded(self) and self._number % 50 == 0):
            super().send_votes(batch)
