"""A client of the contract on the `websockets` library, with at most one defect: `python client.py URL SCALE [DEFECT or HABIT]`.

Every duration is the contract's times SCALE. It understands `subscribe ID ...` and `disconnect` on its standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

__all__ = ["DEFECTS", "HABITS"]

DEFECTS = (
    "never-pongs", "late-pong", "never-returns", "not-after-1001", "immediate", "linear", "constant", "never-gives-up", "gives-up-early",
    "never-resets", "returns-after-own-close", "two-timers", "leaks-on-recovery", "loops-on-4401", "deaf-to-4401-alone",
    "dies-on-unknown-type", "dies-on-extra-property", "deaf-after-unknown-type", "floods", "ignores-rate-limit", "forgets-subscriptions",
)  # fmt: skip
HABITS = ("", "jitter", "unasked-pongs", "chatty")
BASE, CAP, ATTEMPTS, INTERVAL, TIMEOUT, WINDOW = 1.0, 30.0, 5, 30.0, 10.0, 10.0


class Client:
    def __init__(self, url: str, scale: float, how: str) -> None:
        self.url, self.scale, self.how = url, scale, how
        self.failures = 0
        self.watched: list[str] = []
        self.ws: ClientConnection | None = None
        self.left = False
        self.expired = False
        self.calm = False
        self.first = True
        self.tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.scale)

    def delay(self) -> float:
        match self.how:
            case "immediate":
                return 0.0
            case "constant":
                return BASE
            case "linear":
                return BASE * (1 + self.failures / 2)
        whole = min(BASE * 2**self.failures, CAP)
        return whole * random.uniform(0.6, 1.4) if self.how == "jitter" else whole

    async def run(self) -> None:
        while True:
            code = await self.one()
            if not self.returns(code):
                break
            wait, self.failures = self.delay(), self.failures + 1
            if self.how == "two-timers" and not self.first:
                self.spawn(self.other(wait))
            await self.pause(wait)
        await asyncio.Event().wait()  # given up: the page stays where it is

    async def other(self, wait: float) -> None:
        await self.pause(wait)
        await self.one()

    def returns(self, code: int) -> bool:
        if self.how == "never-returns":
            return False
        if self.left:
            return self.how == "returns-after-own-close"
        if code == 4401 or self.expired:
            if self.how == "loops-on-4401":
                return True
            return self.how == "deaf-to-4401-alone" and not self.expired
        if code == 1001 and self.how == "not-after-1001":
            return False
        most = {"gives-up-early": 3, "never-gives-up": 10**6}.get(self.how, ATTEMPTS)
        return code != 1000 and self.failures < most

    async def one(self) -> int:
        """One connection, to its end; its close code, 1006 when there was none."""
        try:
            async with connect(self.url, ping_interval=None, open_timeout=60, proxy=None) as ws:
                await self.opened(ws)
                await self.listen(ws)
                await ws.wait_closed()
                return ws.close_code or 1006
        except ConnectionClosed as closed:
            self.first = False
            return closed.rcvd.code if closed.rcvd is not None else 1006
        except (OSError, WebSocketException):
            return 1006

    async def opened(self, ws: ClientConnection) -> None:
        self.ws = ws
        if self.how != "never-resets":
            self.failures = 0
        if self.how == "leaks-on-recovery" and not self.first:
            self.spawn(self.leak())
        if self.watched and self.how != "forgets-subscriptions":
            await self.say(ws, "SUBSCRIBE", featureIds=self.watched)
        if self.how == "floods":
            for number in range(12):
                await self.say(ws, "UNSUBSCRIBE", featureIds=[f"f{number}"])
        if self.how in ("chatty", "ignores-rate-limit"):
            self.calm = False
            self.spawn(self.chat(ws))
        if self.how == "unasked-pongs":
            self.spawn(self.unasked(ws))

    async def leak(self) -> None:
        self.first = True
        await self.one()

    async def chat(self, ws: ClientConnection) -> None:
        while not self.left and not self.calm:
            await self.say(ws, "UNSUBSCRIBE", featureIds=["f1"])
            await self.pause(WINDOW / 7)

    async def unasked(self, ws: ClientConnection) -> None:
        while True:
            await self.pause(INTERVAL)
            await self.say(ws, "PONG")

    async def say(self, ws: ClientConnection, kind: str, **more: object) -> None:
        try:
            await ws.send(json.dumps({"type": kind, **more}))
        except ConnectionClosed:
            return

    async def listen(self, ws: ClientConnection) -> None:
        async for text in ws:
            await self.handle(ws, json.loads(text))

    async def handle(self, ws: ClientConnection, message: dict[str, Any]) -> None:
        kind = message["type"]
        if self.how == "dies-on-extra-property" and "weight" in message:
            raise SystemExit(1)
        if kind == "PING":
            if self.how == "late-pong":
                await self.pause(3 * TIMEOUT)
            if self.how != "never-pongs":
                await self.say(ws, "PONG")
        elif kind == "ERROR":
            self.calm = self.how != "ignores-rate-limit"
            if message["code"] == "SESSION_EXPIRED":
                self.expired = True
        elif kind not in ("VOTE_UPDATE", "FEATURE_UPDATE", "FEATURE_CREATED", "FEATURE_DELETED"):
            if self.how == "dies-on-unknown-type":
                raise SystemExit(1)
            if self.how == "deaf-after-unknown-type":
                await asyncio.Event().wait()

    async def told(self, line: str) -> None:
        word, *ids = line.split()
        if word == "subscribe" and self.ws is not None:
            self.watched += ids
            await self.say(self.ws, "SUBSCRIBE", featureIds=ids)
        if word == "disconnect" and self.ws is not None:
            self.left = True
            await self.ws.close(1000, "User left roadmap page")


async def main(url: str, scale: str, how: str = "") -> None:
    if how not in (*DEFECTS, *HABITS):
        raise SystemExit(f"no such defect: {how}")
    client = Client(url, float(scale), how)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(client.told(line), loop)

    threading.Thread(target=read, daemon=True).start()
    await client.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
