"""One client process (or one person with a browser) against one counterpart, from the start to the end of a scene.

The rule: whatever the client does, the scene ends, its process and everything it started are ended by their ids, and what
happened can be shown frame by frame.
"""

from __future__ import annotations

import atexit
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import IO

import psutil

from harness.conformance.client_side.counterpart import Attempt, Counterpart, Door
from harness.conformance.client_side.under_test import ClientUnderTest
from harness.conformance.outcome import Inconclusive
from harness.conformance.records import FrameRecord

__all__ = ["Play"]

_SHOWN = 40  # lines of one attempt that become evidence: the last ones
_ATTEMPTS_SHOWN = 12
_OUTPUT = 600  # characters of what the client said last
_TEXT = 2000
_AWAKE = 2.0  # seconds in which a client that has just connected answers


class Play:
    """Use as a context manager. title: of the scene, for people. say: shows a line to whoever opens addresses by hand."""

    def __init__(self, client: ClientUnderTest, path: str, title: str, say: Callable[[str], None]) -> None:
        self.client, self.title = client, title
        self._path, self._say = path, say
        self._counterpart: Counterpart | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._my_turn = False
        self._reap: Callable[[], None] = lambda: None

    def __enter__(self) -> Play:
        try:
            self._start()
        except BaseException as error:
            self.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise Inconclusive(f"the client could not be served or started: {error.strerror or error}") from None
            raise
        return self

    def _start(self) -> None:
        client = self.client
        if client.by_hand:
            self._my_turn = client.turn.acquire()
            # The same address each time: a page under test has one.
            self._counterpart = Counterpart(self._path, client.ports[-1] if client.ports else 0)
            client.ports.append(self._counterpart.port)
            self._say(f"OPEN {self.url} in a client of yours, or load its page again  ({self.title})")
            return
        self._counterpart = Counterpart(self._path)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the client, see __exit__
        self._process = subprocess.Popen(client.words(self.url), stdin=subprocess.PIPE, stdout=self._output, stderr=subprocess.STDOUT)
        self._reap = partial(_end, self._process)
        atexit.register(self._reap)  # a check that was given up is left behind in its thread, and its client must not be

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            _end(self._process)
            atexit.unregister(self._reap)
        if self._counterpart is not None:
            self._counterpart.stop()
        if self._output is not None:
            self._output.close()
        if self._my_turn:
            self._my_turn = False
            self.client.turn.release()

    @property
    def server(self) -> Counterpart:
        if self._counterpart is None:
            raise RuntimeError("a play is used inside its with block")
        return self._counterpart

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts so far, in order."""
        return list(self.server.attempts)

    def open_door(self) -> None:
        """Let everybody in from now on."""
        self.set_door(lambda _: Door(101))

    def set_door(self, door: Callable[[Attempt], Door]) -> None:
        """Decide about attempts from now on."""
        self.server.door = door

    def opened(self, after: int = 0, within: float | None = None) -> Attempt | None:
        """The first attempt with a number above `after` that was let in, as soon as there is one; None when there was none in time."""

        def found() -> Attempt | None:
            return next((each for each in self.server.attempts if each.number > after and each.opened_at is not None), None)

        self.server.wait(found, self.client.patience if within is None else within)
        return found()

    def first(self) -> Attempt:
        """The client's first connection. Raises Inconclusive, with what the client said, when it opens none."""
        deadline = time.monotonic() + self.client.patience
        while (attempt := self.opened(within=0.25)) is None:
            status = None if self._process is None else self._process.poll()
            if status or time.monotonic() > deadline:
                how = f"ended with status {status}" if status else f"opened no WebSocket within {self.client.patience:g} s"
                raise Inconclusive(f"the client {how}{self._said()}")
        return attempt

    def next_attempt(self, after: int, within: float) -> Attempt | None:
        """The attempt that follows number `after`, let in or not; None when none came within `within` seconds."""
        self.server.wait(lambda: len(self.server.attempts) > after, within)
        return next((each for each in self.server.attempts if each.number > after), None)

    def tell(self, line: str, by_hand: str) -> None:
        """Write a line to the client's standard input; a person is asked to do `by_hand` instead.

        A client may not know yet that we let it in, and would drop the line: first its connections must have answered a PING.
        """
        for attempt in self.server.live():
            sent = attempt.send({"type": "PING"})
            self.server.wait(partial(attempt.received, "PONG", sent), _AWAKE)
        if self._process is None:
            self._say(f"OPEN {self.url}: now {by_hand}")
        elif self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def records(self) -> list[FrameRecord]:
        """What happened on each attempt, as evidence; times count from the beginning of the scene."""
        found: list[FrameRecord] = []
        began = self.server.began
        for attempt in self.attempts[-_ATTEMPTS_SHOWN:]:
            name = f"{self.title}, attempt {attempt.number}"
            found.append(FrameRecord(name, attempt.at - began, "end", -1, "the client connects"))
            found += [FrameRecord(name, line.at - began, line.way, line.opcode, line.text[:_TEXT]) for line in attempt.lines[-_SHOWN:]]
        return sorted(found, key=lambda record: record.at)

    def _said(self) -> str:
        """The end of the client's own output, as part of a sentence."""
        if self._output is None:
            return ""
        size = self._output.seek(0, 2)
        self._output.seek(max(0, size - _OUTPUT))
        text = " / ".join(self._output.read().decode("utf-8", "replace").split("\n")).strip(" /")
        return f"; it said: {text}" if text else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """The client and all that it started, by their ids."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    for each in family:
        with contextlib.suppress(psutil.Error):
            each.kill()
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
