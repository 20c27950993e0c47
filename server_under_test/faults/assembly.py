"""What a faulty server is made of: the real classes with one small subclass laid over them for each fault.

A fault lays its subclass over a part by `Assembly.over`; several faults on one part are inherited from side by side, so each
of their methods ends in `super()`. The classes here add no behaviour: they are the places where a fault can reach in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

from server_under_test.api import Api
from server_under_test.auth import CookieJar
from server_under_test.batcher import Batcher
from server_under_test.connection import Connection
from server_under_test.frames import Decoder
from server_under_test.gate import Gate
from server_under_test.heartbeat import Heartbeat
from server_under_test.hub import Hub
from server_under_test.identity import Identity
from server_under_test.messages import Composer
from server_under_test.parts import Parts
from server_under_test.ratelimit import RepeatOffence, SlidingWindow
from server_under_test.store import Store

__all__ = ["Assembly", "FaultyApi", "FaultyConnection", "FaultyHub", "TracksThrottling"]

Part = TypeVar("Part")


class FaultyHub(Hub):
    """A hub whose connections take their machines from here."""

    heartbeat_type: type[Heartbeat] = Heartbeat
    window_type: type[SlidingWindow] = SlidingWindow
    offence_type: type[RepeatOffence] = RepeatOffence
    decoder_type: type[Decoder] = Decoder

    def make_heartbeat(self, opened: float) -> Heartbeat:
        return self.heartbeat_type(opened, self.limits.heartbeat_interval, self.limits.heartbeat_timeout)

    def make_limiters(self) -> tuple[SlidingWindow, RepeatOffence]:
        limits = self.limits
        abuse = limits.persistent_factor * limits.rate_messages
        return (
            self.window_type(limits.rate_messages, limits.rate_window),
            self.offence_type(abuse, limits.rate_window, limits.persistent_windows),
        )

    @property
    def open_connections(self) -> list[Connection]:
        """In the order of their opening."""
        return list(self._open)

    def tabs(self, session_id: str) -> list[Connection]:
        """The open connections of one session, the oldest first."""
        return [one for one in self._open if one.session_id == session_id]

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do in `seconds` what delivers something, and send it."""

        def run() -> None:
            act()
            if self._outgoing:
                self._flush()

        asyncio.get_running_loop().call_later(seconds, run)


class FaultyConnection(Connection):
    """A connection that takes its decoder from its hub."""

    def __init__(self, hub: Hub, transport: asyncio.Transport, identity: Identity) -> None:
        super().__init__(hub, transport, identity)
        self.decoder = self.faulty_hub.decoder_type(hub.limits.message_bytes)

    @property
    def faulty_hub(self) -> FaultyHub:
        return cast(FaultyHub, self.hub)


class TracksThrottling(FaultyConnection):
    """A connection that knows whether a message of its client was refused within the last rate window."""

    _refused_at = float("-inf")

    def send_throttled(self) -> None:
        self._refused_at = self.hub.clock()
        super().send_throttled()

    @property
    def throttled(self) -> bool:
        return self.hub.clock() < self._refused_at + self.hub.limits.rate_window


class FaultyApi(Api):
    """An API that takes its gate from here."""

    gate_type: type[Gate] = Gate

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._gate = self.gate_type(self._contract, self._store, self._cookies, self._metrics, self._settings.allowed_origins)

    @property
    def hub(self) -> FaultyHub:
        return cast(FaultyHub, self._hub)


# Each part that can be laid over, with the class that stands for it in a faulty server.
_BASES: dict[type, type] = {
    Hub: FaultyHub,
    Connection: FaultyConnection,
    Api: FaultyApi,
    **{kind: kind for kind in (Batcher, Composer, CookieJar, Decoder, Gate, Heartbeat, RepeatOffence, SlidingWindow, Store)},
}


class Assembly:
    """Collects what faults lay over the parts of one server."""

    def __init__(self) -> None:
        self._over: dict[type, list[type]] = {part: [] for part in _BASES}
        self.door_shuts_first = True

    def over(self, *kinds: type) -> None:
        """Lay subclasses of parts over them."""
        for kind in kinds:
            laid = self._over[next(part for part in _BASES if issubclass(kind, part))]
            if kind not in laid:
                laid.append(kind)

    def parts(self) -> Parts:
        """The classes of the faulty server."""
        hub = self._made(
            Hub,
            connection_type=self._made(Connection),
            composer_type=self._made(Composer),
            batcher_type=self._made(Batcher),
            heartbeat_type=self._made(Heartbeat),
            window_type=self._made(SlidingWindow),
            offence_type=self._made(RepeatOffence),
            decoder_type=self._made(Decoder),
        )
        api = self._made(Api, gate_type=self._made(Gate))
        return Parts(hub, api, self._made(Store), self._made(CookieJar), self.door_shuts_first)

    def _made(self, part: type[Part], **attributes: object) -> type[Part]:
        laid = self._over[part]
        # What another class on the pile inherits from anyway has its place below it.
        kinds = [kind for kind in reversed(laid) if not any(kind is not other and issubclass(other, kind) for other in laid)]
        made = type(part.__name__, (*kinds, _BASES[part]), attributes)
        return cast(type[Part], made)
