"""The fastest Python WebSocket client that we know of: picows (Cython) on uvloop, each frame through `orjson.loads`."""

from __future__ import annotations

import asyncio
import time
from array import array

import orjson
import picows
import uvloop

from benchmarks.receiver import Spec, answer, of_samples, read_spec, read_start

__all__ = ["main"]

_OPENING_AT_ONCE = 50


class _Count:
    """What all listeners of the process share."""

    def __init__(self, spec: Spec) -> None:
        self.start, self.step = 0, 1e9 / spec.rate
        self.latency = array("q")
        self.open = 0
        self.over = asyncio.Event()


class _Listener(picows.WSListener):
    def __init__(self, count: _Count) -> None:
        self._count = count

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._count.open += 1

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            count = self._count
            message = orjson.loads(frame.get_payload_as_memoryview())
            count.latency.append(time.time_ns() - count.start - round(message["voteCount"] * count.step))
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._count.open -= 1
        if not self._count.open:
            self._count.over.set()


async def _receive(spec: Spec) -> None:
    count = _Count(spec)
    for first in range(0, spec.sockets, _OPENING_AT_ONCE):
        several = range(first, min(first + _OPENING_AT_ONCE, spec.sockets))
        await asyncio.gather(*(picows.ws_connect(lambda: _Listener(count), spec.url) for _ in several))
    count.start = read_start()
    before = time.process_time()
    try:
        async with asyncio.timeout((count.start - time.time_ns()) / 1e9 + spec.longest):
            await count.over.wait()
    except TimeoutError:
        pass  # what is missing shows in the count
    answer(of_samples(spec, count.latency, time.process_time() - before))


def main() -> None:
    """Receive one run."""
    spec = read_spec()
    uvloop.run(_receive(spec))


if __name__ == "__main__":
    main()
