"""The accept queue by the kernel's own table: of real listeners, and of tables as other machines have them."""

from __future__ import annotations

import socket
import time

from harness.load.reconnect.listening import listening, parse_listening

WAIT = 20.0


def queue_of(port: int) -> int:
    seen = listening("127.0.0.1", port)
    assert seen is not None
    assert seen.there
    return seen.queue


def test_connections_wait_in_the_queue_until_they_are_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        port = listener.getsockname()[1]
        assert queue_of(port) == 0
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        end = time.monotonic() + WAIT
        while queue_of(port) < 5:
            assert time.monotonic() < end
            time.sleep(0.01)
        accepted = [listener.accept()[0] for _ in range(3)]
        assert queue_of(port) == 2
        for sock in (*clients, *accepted):
            sock.close()


def test_nobody_listens_on_a_port_that_was_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    seen = listening("127.0.0.1", port)
    assert seen is not None
    assert (seen.there, seen.queue) == (False, 0)


def test_another_machine_cannot_be_read() -> None:
    assert listening("192.0.2.1", 80) is None
    assert listening("server.example", 80) is None


def test_only_listeners_of_the_port_count() -> None:
    table = "\n".join(
        [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
            "   0: 0100007F:0BB8 00000000:0000 0A 00000000:0000000C 00:00000000 00000000     0",
            "   1: 00000000:0BB8 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0",
            "   2: 0100007F:0BB9 00000000:0000 0A 00000000:000000FF 00:00000000 00000000     0",
            "   3: 0100007F:0BB8 0100007F:C350 01 00000000:00000007 00:00000000 00000000     0",
        ]
    )
    assert parse_listening(table, 3000).queue == 13
    assert parse_listening(table, 3001).queue == 255
    assert not parse_listening(table, 50000).there
