"""A real server process for tests: started on a free port, awaited through ready.json, always ended.

The parent of a server needs no more than this: a private state directory, a deadline, and the exit code.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

__all__ = ["Answer", "Launcher", "Running", "command", "environment_of", "poll"]

Seen = TypeVar("Seen")

START_DEADLINE = 60.0
STOP_DEADLINE = 60.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, its body parsed when it is JSON."""

    status: int
    headers: Message
    body: Any

    @property
    def code(self) -> str:
        code = self.body["error"]["code"]
        assert isinstance(code, str)
        return code


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path
    base_url: str
    ws_url: str
    metrics_url: str
    sessions: list[dict[str, str]]

    @property
    def pid(self) -> int:
        return self.process.pid

    def session(self, role: str = "regular", user: int = 0, number: int = 0) -> dict[str, str]:
        """The `number`th session of the `user`th user of a role."""
        users = list(dict.fromkeys(each["userId"] for each in self.sessions if each["role"] == role))
        return [each for each in self.sessions if each["userId"] == users[user]][number]

    def call(
        self,
        method: str,
        path: str,
        session: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; `body` is sent as JSON unless it is bytes."""
        sent = dict(headers or {})
        if session is not None:
            sent["Cookie"] = f"{session['name']}={session['value']}"
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc, timeout=START_DEADLINE)
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(response.status, response.headers, json.loads(content) if is_json else content.decode())
        finally:
            connection.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_DEADLINE)


class Launcher:
    """Starts servers and ends all of them when it is left.

    `launch(heartbeat_interval=5, ...)` takes any flag of the server by its name; True stands for a bare switch.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._states: list[Path] = []

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *_: object) -> None:
        for ready in self._states:
            _end_heir(ready, {process.pid for process in self._processes})
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def __call__(self, *, state_dir: Path | None = None, environment: Mapping[str, str] | None = None, **flags: object) -> Running:
        number = len(self._processes)
        state = state_dir or self._directory / f"server{number}"
        log = self._directory / f"server{number}.log"
        ready = state / "ready.json"
        with log.open("wb") as output:
            process = subprocess.Popen(command(state, flags), env=environment_of(environment), stderr=output)
        self._processes.append(process)
        self._states.append(ready)

        def listening() -> dict[str, Any] | None:
            if process.poll() is not None:
                pytest.fail(f"the server ended with {process.returncode}: {log.read_text()}")
            try:
                facts: dict[str, Any] = json.loads(ready.read_text())
            except FileNotFoundError:
                return None
            # A killed server leaves its file behind until the next one has started.
            return facts if facts["pid"] == process.pid else None

        facts = poll(listening, START_DEADLINE, "ready.json")
        sessions = json.loads(Path(facts["sessions_file"]).read_text())
        return Running(process, state, log, facts["base_url"], facts["ws_url"], facts["metrics_url"], sessions=sessions)


def _end_heir(ready: Path, ours: set[int]) -> None:
    """End the server that was started in place of ours, by a hook say."""
    with contextlib.suppress(OSError, ValueError):
        pid = json.loads(ready.read_text())["pid"]
        if pid not in ours:
            os.kill(pid, signal.SIGKILL)


def command(state_dir: Path, flags: Mapping[str, object]) -> list[str]:
    """The command line of a server on a free port."""
    every = {"port": 0, "state_dir": state_dir, **flags}
    words = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in every.items()]
    return [sys.executable, "-m", "server_under_test", *words]


def environment_of(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings meant for a server, and then `extra`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROADMAP_")} | dict(extra or {})


def poll(look: Callable[[], Seen | None], seconds: float, what: str) -> Seen:
    """Look until there is something to see; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen in {seconds} s")
        time.sleep(0.01)
    return seen


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Launcher]:
    """Starts servers for one test."""
    with Launcher(tmp_path) as launch:
        yield launch


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server with the contract's own limits, shared by a module: tests must not change what others rely on."""
    with Launcher(tmp_path_factory.mktemp("shared")) as launch:
        yield launch()
