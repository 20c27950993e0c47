"""What an idle connection costs in resident memory, as the slope over a growing number of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from base64 import b64encode
from pathlib import Path

from schemas import load_contract

ROOT = Path(__file__).parents[3]
CONNECTIONS, STEP = 400, 50

# What a browser sends: about 1.5 KB, whose remains must not stay.
HEADERS = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0\r\n"
    "Upgrade: websocket\r\nOrigin: http://127.0.0.1:3000\r\nSec-WebSocket-Version: 13\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n"
    "Sec-Fetch-Dest: websocket\r\nSec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\n"
    'Sec-Ch-Ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nSec-Ch-Ua-Platform: "Linux"\r\n'
    "Cookie: theme=dark; consent={filler}; better-auth.session_token={token}\r\nX-Session: session-{number}\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


def connect(port: int, number: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=20)
    key = b64encode(os.urandom(16)).decode()
    one.sendall(HEADERS.format(filler="x" * 600, token=f"{number:0>76}", number=number, key=key).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += one.recv(4096)
    assert b" 101 " in head, head
    return one


def resident(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/figures") as answer:
        return int(json.load(answer)["rss"])


def test_an_idle_connection_costs_no_more_than_the_contract_allows() -> None:
    server = subprocess.Popen([sys.executable, "-m", "tests.server.ws.socket_server"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peers: list[socket.socket] = []
    try:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["port"])
        resident(port)
        points = []
        for number in range(CONNECTIONS + 1):
            if number % STEP == 0:
                points.append((number, resident(port)))
            peers.append(connect(port, number))
        mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
        assert 100 < slope <= load_contract().benchmark.bytes_per_connection, points
    finally:
        for one in peers:
            one.close()
        server.terminate()
        server.wait(20)
        if server.stdout is not None:
            server.stdout.close()
