"""The life of a real server process: how it starts, what it survives, how it ends, and what it never writes down."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import resource
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import trustme
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from schemas import load_contract
from server_under_test.app import serve
from server_under_test.errors import StartError
from server_under_test.settings import PREFIX, read_settings
from server_under_test.state import StateDir
from tests.server.conftest import START_DEADLINE, STOP_DEADLINE, Launcher, Running, command, environment_of, poll

CONTRACT = load_contract()
WAIT = 30.0


def cookie(session: Mapping[str, str]) -> str:
    return f"{session['name']}={session['value']}"


def features(server: Running, session: Mapping[str, str]) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = server.call("GET", "/api/roadmap/features", session).body["features"]
    return listed


def logged(server: Running, words: str) -> Callable[[], bool | None]:
    return lambda: words in server.log.read_text() or None


# Start


def test_what_a_parent_process_finds(start_server: Launcher) -> None:
    server = start_server(users=3, admins=1, features=5, sessions=9, heartbeat_interval=15, time_scale=0.5)
    state = server.state_dir
    facts = json.loads((state / "ready.json").read_text())
    assert facts.pop("command")[1:3] == ["-m", "server_under_test"]  # see test_again
    assert time.time() - 60 < facts.pop("started") <= time.time()
    assert facts == {
        "base_url": server.base_url,
        "ws_url": server.base_url.replace("http", "ws") + CONTRACT.path,
        "pid": server.pid,
        "metrics_url": server.base_url + "/metrics",
        "sessions_file": str(state / "sessions.json"),
        "directory": str(Path.cwd()),
        "parent": os.getpid(),
        "limits": dataclasses.asdict(dataclasses.replace(CONTRACT.limits, heartbeat_interval=15.0).scaled(0.5)),
    }
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in state.iterdir())
    assert {tuple(sorted(each)) for each in server.sessions} == {("name", "role", "sessionId", "userId", "userName", "value")}
    assert sorted(Counter(each["userId"] for each in server.sessions).values()) == [2, 2, 2, 3]
    assert [each["role"] for each in server.sessions[:4]] == ["regular", "regular", "admin", "regular"]
    for each in server.sessions:
        shown = server.call("GET", "/api/auth/get-session", each).body
        assert (shown["session"]["id"], shown["user"]["id"]) == (each["sessionId"], each["userId"])
    assert len(features(server, server.session())) == 5


def test_a_taken_port_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(tmp_path / "state", {"port": port}),
            env=environment_of(),
            capture_output=True,
            text=True,
            timeout=START_DEADLINE,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"server_under_test: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def refusal(directory: Path, *arguments: object, **environment: str) -> str:
    """The sentence of a server that does not start, from the same code in this process."""
    flags = ["--port=0", f"--state-dir={directory}", *map(str, arguments)]
    with pytest.raises(StartError) as caught:
        asyncio.run(serve(read_settings(flags, environment, CONTRACT.limits), CONTRACT))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refusal(tmp_path / "file" / "state")
    state = tmp_path / "state"
    assert "not a database" in refusal(state, "--database", __file__)
    assert "cannot be read" in refusal(state, "--tls-cert", tmp_path / "no.pem", "--tls-key", tmp_path / "no.key")
    assert "do not make a certificate" in refusal(state, "--tls-cert", __file__, "--tls-key", __file__)
    assert "cannot listen on" in refusal(state, "--host", "192.0.2.1")  # an address that no machine has
    with StateDir(state):
        assert "in use by another server" in refusal(state)


def test_only_this_machine_is_served_while_secrets_are_weak(tmp_path: Path) -> None:
    strong, weak = "correct horse battery staple, twice", "changeme"
    sentence = refusal(tmp_path / "1", "--host", "0.0.0.0", **{PREFIX + "SECRET": weak})
    assert "cookie secret could be guessed" in sentence
    assert weak not in sentence
    environment = {PREFIX + "SECRET": strong, PREFIX + "PASSWORD": weak}
    assert "password could be guessed" in refusal(tmp_path / "2", "--host", "::", **environment)
    # The accounts with the weak password are still in that directory, though this start no longer names it.
    assert "password could be guessed" in refusal(tmp_path / "2", "--host", "0.0.0.0")


def test_https_has_the_secure_cookie_and_wss(tmp_path: Path, start_server: Launcher) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    server = start_server(tls_cert=chain, tls_key=key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    session = server.session()
    assert server.base_url.startswith("https://")
    assert session["name"] == f"__Secure-{CONTRACT.cookie}"
    with connect(server.ws_url, ssl=trust, additional_headers={"Cookie": cookie(session)}, proxy=None) as opened:
        opened.ping().wait(WAIT)
    account = json.loads((server.state_dir / "accounts.json").read_text())[0]
    entry = json.dumps({"email": account["email"], "password": account["password"]})
    connection = http.client.HTTPSConnection(urlsplit(server.base_url).netloc, timeout=WAIT, context=trust)
    try:
        connection.request("POST", "/api/auth/sign-in/email", entry)
        set_cookie = connection.getresponse().headers["Set-Cookie"]
    finally:
        connection.close()
    assert set_cookie.startswith(f"__Secure-{CONTRACT.cookie}=")
    assert set_cookie.endswith("; Secure")


# Survival


def test_an_acknowledged_vote_survives_kill_9(start_server: Launcher) -> None:
    server = start_server(users=10, features=20)
    users = list({each["userId"]: each for each in server.sessions}.values())
    ids = [each["id"] for each in features(server, users[0])]
    acknowledged: list[tuple[object, str]] = []

    def vote_until_cut_off() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for feature, user in itertools.product(ids, users):
                assert server.call("POST", f"/api/roadmap/features/{feature}/vote", user).status == 200
                acknowledged.append((feature, user["userId"]))

    voter = threading.Thread(target=vote_until_cut_off)
    voter.start()
    poll(lambda: len(acknowledged) >= 25 or None, WAIT, "25 votes")
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    voter.join(WAIT)

    again = start_server(state_dir=server.state_dir)
    assert again.sessions == server.sessions
    seen = {user["userId"]: features(again, user) for user in users}
    kept = {(each["id"], user) for user, listed in seen.items() for each in listed if each["hasVoted"]}
    assert kept >= set(acknowledged)
    counts = Counter(feature for feature, _ in kept)
    assert {each["id"]: each["voteCount"] for each in seen[users[0]["userId"]]} == {each: counts[each] for each in ids}


def test_a_restart_continues_and_seeds_nothing_again(start_server: Launcher) -> None:
    server = start_server()
    voter, revoked, admin = server.session(), server.session(user=3), server.session("admin")
    feature = features(server, voter)[0]["id"]
    assert server.call("POST", f"/api/roadmap/features/{feature}/vote", voter).status == 200
    assert server.call("DELETE", f"/api/roadmap/features/{features(server, voter)[1]['id']}", admin).status == 200
    server.call("POST", "/api/admin/sessions/revoke", admin, {"sessionId": revoked["sessionId"]})
    before, people = features(server, voter), (server.state_dir / "accounts.json").read_text()
    assert server.end() == 0
    assert not (server.state_dir / "ready.json").exists()

    again = start_server(state_dir=server.state_dir, users=99, features=99)
    assert features(again, voter) == before
    assert (again.state_dir / "accounts.json").read_text() == people
    assert again.call("GET", "/api/auth/get-session", revoked).status == 401
    assert all(again.call("GET", "/api/auth/get-session", each).status == 200 for each in again.sessions)


def test_a_locked_database_and_a_full_disk_are_500_and_then_over(start_server: Launcher) -> None:
    server = start_server()
    voter = server.session()
    path = f"/api/roadmap/features/{features(server, voter)[0]['id']}/vote"
    other = sqlite3.connect(server.state_dir / "roadmap.db", isolation_level=None, timeout=WAIT)
    try:
        other.execute("BEGIN IMMEDIATE")
        answer = server.call("POST", path, voter)
        assert (answer.status, answer.code) == (500, CONTRACT.errors.server_error)
        assert server.call("GET", "/api/auth/get-session", voter).status == 200
        other.execute("ROLLBACK")
    finally:
        other.close()
    poll(logged(server, "SQLITE_BUSY"), WAIT, "the log line of the lock")
    assert server.call("POST", path, voter).body["voteCount"] == 1

    process = psutil.Process(server.pid)
    whole = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (4096, whole[1]))  # room for a log line, not for a page of the database
    for _ in range(3):
        answer = server.call("DELETE", path, voter)
        assert (answer.status, answer.code) == (500, CONTRACT.errors.server_error)
    assert features(server, voter)[0]["voteCount"] == 1
    process.rlimit(resource.RLIMIT_FSIZE, whole)
    assert server.call("DELETE", path, voter).body["voteCount"] == 0


# End


def silent_socket(server: Running, session: Mapping[str, str]) -> socket.socket:
    """An upgraded connection whose client never answers anything."""
    parts = urlsplit(server.ws_url)
    assert parts.hostname is not None
    raw = socket.create_connection((parts.hostname, parts.port or 0), timeout=WAIT)
    raw.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Cookie: {cookie(session)}\r\n\r\n".encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def test_a_stop_tells_every_socket_and_waits_for_the_unresponsive_only_so_long(start_server: Launcher) -> None:
    server = start_server(shutdown_grace=1)
    with contextlib.ExitStack() as open_sockets:
        for each in server.sessions[:5]:
            open_sockets.enter_context(silent_socket(server, each))
        opened = [
            open_sockets.enter_context(connect(server.ws_url, additional_headers={"Cookie": cookie(each)}, proxy=None, open_timeout=WAIT))
            for each in server.sessions[:10]
        ]
        # A kept-alive HTTP connection must not delay the end either.
        idle = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=WAIT)
        open_sockets.callback(idle.close)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for one in opened:
            with pytest.raises(ConnectionClosed) as caught:
                one.recv(timeout=WAIT)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == CONTRACT.close.going_away
        assert server.process.wait(STOP_DEADLINE) == 0
        assert 0.9 < time.monotonic() - started < 30  # the grace for the unresponsive, and far from a minute
    assert not (server.state_dir / "ready.json").exists()
    assert not list(server.state_dir.glob("*-wal"))


def test_the_second_signal_ends_the_process_at_once(start_server: Launcher) -> None:
    server = start_server(shutdown_grace=600)
    with silent_socket(server, server.session()):
        server.process.send_signal(signal.SIGTERM)
        poll(logged(server, "shutting down"), WAIT, "the log line of the first signal")
        assert server.process.poll() is None
        assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM


# Discretion


def test_logs_hold_no_secret_whatever_is_sent(start_server: Launcher) -> None:
    server = start_server(access_log=True, log_level="DEBUG")
    session = server.session()
    server.call("GET", f"/api/roadmap/features?token={session['value']}", session)
    parts = urlsplit(server.base_url)
    assert parts.hostname is not None
    for broken in ("GET / HTTP/1.1\r\nCookie: {}\0\r\n\r\n", "GET /{} HTTP/9\r\n\r\n"):
        with socket.create_connection((parts.hostname, parts.port or 0), timeout=WAIT) as raw:
            raw.sendall(broken.format(cookie(session)).encode())
            assert raw.recv(12) == b"HTTP/1.0 400"
    poll(logged(server, "malformed HTTP request refused"), WAIT, "the log line of a malformed request")
    assert server.end() == 0
    log = server.log.read_text()
    assert "GET /api/roadmap/features 200" in log
    secret = (server.state_dir / "secret").read_text()
    people = json.loads((server.state_dir / "accounts.json").read_text())
    for hidden in (session["value"], session["value"].partition(".")[0], secret, *(each["password"] for each in people)):
        assert hidden not in log


def test_by_default_there_is_no_access_log_and_nowhere_a_secret_from_the_environment(start_server: Launcher) -> None:
    server = start_server(environment={PREFIX + "SECRET": "hush-hush-1", PREFIX + "PASSWORD": "hush-hush-2"})
    entry = {"email": "user1@roadmap.test", "password": "hush-hush-2"}
    assert server.call("POST", "/api/auth/sign-in/email", body=entry).status == 200
    assert "hush" not in " ".join(psutil.Process(server.pid).cmdline())
    assert server.end(signal.SIGINT) == 0
    assert "sign-in" not in server.log.read_text()
    assert b"hush" not in b"".join(each.read_bytes() for each in server.state_dir.iterdir())
