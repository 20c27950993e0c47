"""The usual receiver under gevent: one greenlet a socket, each in `recv` of websocket-client, each frame through `json.loads`."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import time  # noqa: E402
from array import array  # noqa: E402

import gevent  # noqa: E402
import websocket  # noqa: E402

from benchmarks.receiver import answer, of_samples, read_spec, read_start  # noqa: E402

__all__ = ["main"]


def main() -> None:
    """Receive one run."""
    spec = read_spec()
    connections = [websocket.create_connection(spec.url, enable_multithread=False) for _ in range(spec.sockets)]
    start, step = read_start(), 1e9 / spec.rate
    latency = array("q")

    def receive(connection: websocket.WebSocket) -> None:
        try:
            while text := connection.recv():
                message = json.loads(text)
                latency.append(time.time_ns() - start - round(message["voteCount"] * step))
        except (OSError, ValueError, websocket.WebSocketException):
            return  # the end of this one; what is missing shows in the count

    before = time.process_time()
    greenlets = [gevent.spawn(receive, connection) for connection in connections]
    gevent.joinall(greenlets, timeout=(start - time.time_ns()) / 1e9 + spec.longest)
    answer(of_samples(spec, latency, time.process_time() - before))


if __name__ == "__main__":
    main()
