"""The handshake, its refusals, and the transport's change of hands."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace

import pytest

from .live import CONTRACT, LIMITS, Live, Op, Peer, handshake, live, run, until

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


async def settled(server: Live, connections: int) -> None:
    await until(lambda: server.hub.connections == connections)


def test_the_answer_proves_the_key_and_agrees_to_nothing_else() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.raw(handshake({"Sec-WebSocket-Key": KEY}))
        status, *lines = peer.head.decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert status == "HTTP/1.1 101 Switching Protocols"
        # The key and its proof are those of RFC 6455 section 1.3.
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
        assert set(headers) == {"upgrade", "connection", "sec-websocket-accept"}
        assert hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest() == base64.b64decode(
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )

    run(test)


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"Upgrade": None, "Connection": "keep-alive"}, 426, b"Upgrade: websocket"),
        ({"Upgrade": "h2c"}, 426, b"Upgrade: websocket"),
        ({"Connection": "keep-alive"}, 426, b"Upgrade: websocket"),
        ({"Sec-WebSocket-Version": "8"}, 426, b"Sec-WebSocket-Version: 13"),
        ({"Sec-WebSocket-Version": None}, 426, b"Sec-WebSocket-Version: 13"),
        ({"Sec-WebSocket-Key": None}, 400, b""),
        ({"Sec-WebSocket-Key": "short"}, 400, b""),
        ({"Sec-WebSocket-Key": "!" * 24}, 400, b""),
        ({"Sec-WebSocket-Key": f"{KEY}\r\nSec-WebSocket-Key: {KEY}"}, 400, b""),
        ({"Content-Length": "2"}, 400, b""),
    ],
    ids=str,
)
def test_what_is_no_handshake_is_refused_with_a_reason_and_takes_no_slot(changes: dict[str, str | None], status: int, says: bytes) -> None:
    async def test() -> None:
        async with live() as server:
            body = b"hi" if "Content-Length" in changes else b""
            peer = await server.raw(handshake(changes) + body)
            assert f" {status} ".encode() in peer.head.splitlines()[0]
            assert says.lower() in peer.head.lower()
            assert server.hub.counters.connections_opened == 0

    run(test)


def test_the_limit_is_exact_and_a_slot_is_freed_by_a_close_and_by_a_reset() -> None:
    async def test() -> None:
        async with live(replace(LIMITS, connections=3)) as server:
            first, second, _ = [await server.connect() for _ in range(3)]
            assert server.hub.full
            refused = await server.refused()
            retry = next(line for line in refused.head.splitlines() if line.lower().startswith(b"retry-after:"))
            wait = int(retry.split(b":")[1])
            assert CONTRACT.benchmark.reconnect_earliest <= wait <= CONTRACT.benchmark.reconnect_latest
            assert server.hub.connections == 3
            first.close()
            assert (await first.end()).code == 1000
            await settled(server, 2)
            await server.connect()
            await server.refused()
            second.drop()
            await settled(server, 2)
            await server.connect()
            assert server.hub.counters.handshakes_refused_full == 2

    run(test)


@pytest.mark.parametrize(("size", "delay"), [(1, 0.0), (300, 0.0), (4000, 0.0), (4000, 0.2)])
def test_bytes_right_behind_the_handshake_are_not_lost(size: int, delay: float) -> None:
    """Up to far more than aiohttp is ready to hold, which makes it stop reading while the handshake takes its time."""

    async def test() -> None:
        async with live() as server:
            pings = Peer(asyncio.StreamReader(), _Collector(), b"")  # type: ignore[arg-type]
            for n in range(size):
                pings.send_frame(Op.PING, n.to_bytes(2, "big") * 50)
            peer = await server.connect(behind=bytes(pings.writer.data), delay=delay)  # type: ignore[attr-defined]
            for n in range(size):
                assert await peer.frame() == (Op.PONG, n.to_bytes(2, "big") * 50)
            peer.send_frame(Op.PING, b"still read")
            assert await peer.frame() == (Op.PONG, b"still read")

    run(test)


class _Collector:
    def __init__(self) -> None:
        self.data = bytearray()

        class Transport:
            def abort(self) -> None: ...

        self.transport = Transport()

    def write(self, data: bytes) -> None:
        self.data += data


def test_aiohttp_lets_go_and_stays_gone() -> None:
    async def test() -> None:
        async with live() as server:
            web_server = server.runner.server
            assert web_server is not None
            peers = [await server.connect() for _ in range(5)]
            await until(lambda: not web_server.connections)
            assert len([task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())]) == 0
            server.vote("f", 1)
            for peer in peers:
                await peer.expect("VOTE_UPDATE")

    run(test)


def test_a_keep_alive_connection_can_become_a_socket_after_ordinary_requests() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.raw(b"POST /vote?feature=f&count=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            assert b" 200 " in peer.head
            peer.writer.write(handshake({}))
            assert b" 101 " in await peer.reader.readuntil(b"\r\n\r\n")
            server.vote("g", 1)
            assert (await peer.expect("VOTE_UPDATE"))["featureId"] == "g"

    run(test)


def test_a_client_that_is_gone_before_the_answer_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with live() as server:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(handshake({}))
                writer.transport.abort()
            peer = await server.connect()
            await settled(server, 1)
            server.vote("f", 1)
            await peer.expect("VOTE_UPDATE")

    run(test)


def test_everything_holds_over_tls() -> None:
    async def test() -> None:
        async with live(replace(LIMITS, shutdown_grace=0.3), tls=True) as server:
            peer, bad, leaver = [await server.connect(f"s{n}") for n in range(3)]
            server.vote("f", 1)
            for one in (peer, bad, leaver):
                await one.expect("VOTE_UPDATE")
            bad.writer.write(b"\x81\x02hi")
            assert await bad.close_frame() == 1002
            leaver.close()
            assert (await leaver.end()).code == 1000
            await settled(server, 1)
            stopping = asyncio.create_task(server.hub.stop())
            assert await peer.close_frame() == CONTRACT.close.going_away
            peer.close(CONTRACT.close.going_away)
            await stopping

    run(test)
