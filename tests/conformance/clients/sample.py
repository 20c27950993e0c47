"""The contract's example class to the letter (reading A27), on websocket-client: `python sample.py URL SCALE`.

Error and close of one failure each start a timer, the counter rises only when a timer fires, every open socket is replaced by the
next without being closed, and no close code but the normal one is special. It understands `subscribe ID ...` and `disconnect`.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import websocket

BASE, CAP, ATTEMPTS, INTERVAL, NORMAL = 1.0, 30.0, 5, 30.0, 1000


class RoadmapWebSocket:
    def __init__(self, url: str, scale: float) -> None:
        self.url, self.scale = url, scale
        self.ws: websocket.WebSocketApp | None = None
        self.left: list[websocket.WebSocketApp | None] = []
        self.reconnect_attempts = 0
        self.pong_timer: threading.Timer | None = None
        self.lock = threading.RLock()  # a browser runs one handler at a time

    def timer(self, seconds: float, work: Any) -> threading.Timer:
        def locked() -> None:
            with self.lock:
                work()

        timer = threading.Timer(seconds * self.scale, locked)
        timer.daemon = True
        timer.start()
        return timer

    def connect(self) -> None:
        self.ws = websocket.WebSocketApp(
            self.url, on_open=self.on_open, on_message=self.on_message, on_error=self.on_error, on_close=self.on_close
        )
        threading.Thread(target=self.ws.run_forever, daemon=True).start()

    def on_open(self, _: websocket.WebSocketApp) -> None:
        with self.lock:
            self.reconnect_attempts = 0
            self.start_ping_pong()

    def on_message(self, _: websocket.WebSocketApp, text: str) -> None:
        with self.lock:
            if json.loads(text)["type"] == "PING" and self.ws is not None:
                self.send(type="PONG")

    def on_error(self, app: websocket.WebSocketApp, error: object) -> None:
        with self.lock:
            if app not in self.left:  # the library calls the end of a connection that we closed an error, a browser does not
                self.reconnect()

    def on_close(self, app: websocket.WebSocketApp, code: int | None, reason: str | None) -> None:
        with self.lock:
            code = NORMAL if app in self.left else code
            self.stop_ping_pong()
            if code != NORMAL:
                self.reconnect()

    def reconnect(self) -> None:
        if self.reconnect_attempts >= ATTEMPTS:
            return

        def again() -> None:
            self.reconnect_attempts += 1
            self.connect()

        self.timer(min(BASE * 2**self.reconnect_attempts, CAP), again)

    def start_ping_pong(self) -> None:
        def pong() -> None:
            self.send(type="PONG")
            self.start_ping_pong()

        self.pong_timer = self.timer(INTERVAL, pong)

    def stop_ping_pong(self) -> None:
        if self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = None

    def disconnect(self) -> None:
        with self.lock:
            self.stop_ping_pong()
            self.left.append(self.ws)
            if self.ws is not None and self.ws.sock is not None:
                self.ws.sock.close(NORMAL, b"Client disconnect")
            elif self.ws is not None:
                self.ws.close()
            self.ws = None

    def send(self, **message: object) -> None:
        if self.ws is not None and self.ws.sock is not None and self.ws.sock.connected:
            self.ws.send(json.dumps(message))


def main(url: str, scale: str) -> None:
    client = RoadmapWebSocket(url, float(scale))
    client.connect()
    for line in sys.stdin:
        word, *ids = line.split()
        if word == "subscribe":
            client.send(type="SUBSCRIBE", featureIds=ids)
        elif word == "disconnect":
            client.disconnect()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
