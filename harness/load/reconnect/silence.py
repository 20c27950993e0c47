"""The relay that a silent path is made of, as the study handles it: started, told, ended."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.child import start_child
from harness.errors import RunInvalid

__all__ = ["SilentPath"]

_SECONDS = 30.0
_POLL = 0.005


class SilentPath:
    """A context manager: a path to `host` and `port`, in a process of its own, that can be told to go silent and to heal."""

    def __init__(self, host: str, port: int, log: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="roadmap-relay-"))
        self._words, self._log = [host, str(port)], log
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ("127.0.0.1", 0)

    def __enter__(self) -> Self:
        ready = self._folder / "ready.json"
        command = [sys.executable, "-m", "harness.load.reconnect.relay", *self._words, str(ready)]
        with self._log.open("ab") as log:
            self._process = start_child(command, output=log, orders=True)
        try:
            self._wait(ready.exists)
        except RunInvalid:
            self.__exit__(None, None, None)
            raise
        self.address = ("127.0.0.1", int(json.loads(ready.read_text("utf-8"))["port"]))
        return self

    def order(self, word: str) -> None:
        """ "silent" or "healed". Returns when it is done. Raises RunInvalid when the relay is gone."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the relay was not started")
        done = self._folder / word
        # A relay that is gone is noticed by the waiting below.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{word} {done}\n".encode())
            self._process.stdin.flush()
        self._wait(done.exists)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not condition():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RunInvalid("the relay of the silent path does not do its work", str(self._log), "read its last lines there")
            time.sleep(_POLL)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # an order that it did not live to hear
                    process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)
