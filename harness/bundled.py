"""Starts the bundled server as a process of its own, and ends it. The harness knows it only by its command line and ready.json."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from harness.child import start_child
from harness.errors import TargetUnreachable
from schemas import load_contract

__all__ = ["BundledServer", "ServerSize"]

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_POLL = 0.02
_STAND_BY = (
    "import pathlib, sys; import server_under_test.__main__ as server; "
    "pathlib.Path(sys.argv.pop(1)).touch(); sys.stdin.readline() or sys.exit(); sys.exit(server.main())"
)
_HEADROOM = 1.1  # the cap on broadcasts is raised to this many times the rate, where the rate is above the contract's


@dataclass(frozen=True, slots=True)
class ServerSize:
    """What the server is seeded with, and the limits that a plan above the contract's needs raised."""

    sessions: int
    users: int
    features: int
    connections: int
    rate: float

    def arguments(self) -> list[str]:
        limits = load_contract().limits
        words = ["--sessions", str(self.sessions), "--users", str(self.users), "--features", str(self.features)]
        if self.connections > limits.connections:
            words += ["--connections", str(self.connections)]
        if self.rate > limits.broadcasts_per_second:
            words += ["--broadcasts-per-second", str(round(self.rate * _HEADROOM))]
        return words


class BundledServer:
    """A context manager: the server runs inside it, in a private folder that is removed afterwards. Its output goes to `log`.

    It can be taken down in the middle and replaced on the same port with the same users and sessions: `stand_by`, `stop` or `kill`,
    `let_in`. The successor has loaded everything before it is let in, so that an outage may be shorter than a program takes to start.
    """

    def __init__(self, size: ServerSize, *, log: Path, arguments: list[str] | None = None) -> None:
        self._size, self._log, self._arguments = size, log, arguments or []
        self._process: subprocess.Popen[bytes] | None = None
        self._successor: subprocess.Popen[bytes] | None = None
        self._facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._state = Path(tempfile.mkdtemp(prefix="roadmap-server-"))
        try:
            with self._log.open("wb") as log:
                self._process = start_child([sys.executable, "-m", "server_under_test", *self._words(0)], output=log)
            self._facts = self._wait_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def _words(self, port: int) -> list[str]:
        return ["--port", str(port), "--state-dir", str(self._state), *self._size.arguments(), *self._arguments]

    def stand_by(self) -> None:
        """Load a successor that waits outside. Returns when it is loaded; raises TargetUnreachable when it will not be."""
        mark = self._state / "standing-by"
        port = urlsplit(self.base_url).port or 0
        with self._log.open("ab") as log:
            self._successor = start_child([sys.executable, "-c", _STAND_BY, str(mark), *self._words(port)], output=log, orders=True)
        deadline = time.monotonic() + _START_SECONDS
        while not mark.exists():
            if self._successor.poll() is not None or time.monotonic() > deadline:
                raise TargetUnreachable("the bundled server's successor did not load", str(self._log), "read its log there")
            time.sleep(_POLL)
        mark.unlink()

    def kill(self) -> None:
        """End the server without a word (SIGKILL), and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Tell the server to shut down in order (SIGTERM); does not wait for it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def let_in(self) -> None:
        """The successor takes the port and the state over; the server has to be gone. Returns at once."""
        successor, self._successor = self._successor, None
        if successor is None or successor.stdin is None:
            raise RuntimeError("nobody stands by")
        self._process = successor
        try:
            successor.stdin.write(b"come in\n")
            successor.stdin.close()
        except BrokenPipeError:
            raise TargetUnreachable("the bundled server's successor is gone", str(self._log), "read its log there") from None

    def _wait_ready(self) -> dict[str, Any]:
        process = self._process
        deadline = time.monotonic() + _START_SECONDS
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            if self.ready.exists():
                facts: dict[str, Any] = json.loads(self.ready.read_text("utf-8"))
                return facts
            time.sleep(_POLL)
        said = self._log.read_text("utf-8", "replace").strip().splitlines()
        what = f"the bundled server did not start: {said[-1] if said else 'it said nothing'}"
        raise TargetUnreachable(what, str(self._log), "read its log there")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        for process in (self._successor, self._process):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process is not None and process.stdin is not None:
                process.stdin.close()
        shutil.rmtree(self._state, ignore_errors=True)

    @property
    def ready(self) -> Path:
        """The file that describes the running server; a target like any other."""
        return self._state / "ready.json"

    @property
    def base_url(self) -> str:
        return str(self._facts["base_url"])

    @property
    def pid(self) -> int:
        """Of the server that is running now, or ran last."""
        return self._process.pid if self._process is not None else int(self._facts["pid"])
