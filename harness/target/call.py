"""Calling a hook for real, over HTTP or as a process, and timing it. What the target does is an Answer, never an
exception.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

from harness.errors import UsageError
from harness.target.hook import Answer, Hook
from harness.target.http import HttpClient, NoAnswerError
from harness.target.model import Target
from harness.target.session import Session

__all__ = ["Called", "HookCaller"]

_OUTPUT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Called:
    """An answer with its times: time.monotonic() and time.time(), just before the call and just after the answer."""

    answer: Answer
    called_at: float
    answered_at: float
    called_wall: float
    answered_wall: float


class HookCaller:
    """Keeps one connection a thread. timeout: seconds for an HTTP call; commands have their own in the profile.

    A command finds the Cookie header of the session it is called with in the variable ROADMAP_COOKIE.
    """

    def __init__(self, target: Target, timeout: float = 10.0) -> None:
        self._target = target
        self._http = HttpClient(target.tls_context(), timeout)

    def __enter__(self) -> HookCaller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def call(self, name: str, session: Session | None = None, *, subject: Session | None = None, **values: object) -> Called:
        """Call the hook; see Hook.prepare for the arguments. Raises UsageError when the target has no such hook or a
        placeholder has no value, both of which are the caller's to avoid.
        """
        hook = self._target.hook(name)
        if hook is None:
            where = f"{self._target.source}: hooks.{name}"
            raise UsageError("the target has no such hook", where, "define it in the profile")
        if hook.is_command:
            return self._run(hook, hook.command(session, subject=subject, **values), session)
        request = hook.prepare(session, subject=subject, **values)
        at, wall = time.monotonic(), time.time()
        try:
            found = self._http.send(request)
        except NoAnswerError as error:
            problem = f"{name}: {error.problem}"
            return Called(Answer(False, 0, problem=problem), at, time.monotonic(), wall, time.time())
        answer = hook.read(found.status, found.body)
        return Called(answer, found.called_at, found.answered_at, found.called_wall, found.answered_wall)

    @staticmethod
    def _run(hook: Hook, argv: list[str], session: Session | None) -> Called:
        # Output goes to a file: a start command may leave a daemon behind, and a pipe would stay open as long as that lives.
        environ = {**os.environ, **({} if session is None else {"ROADMAP_COOKIE": session.cookie_header()})}
        at, wall = time.monotonic(), time.time()
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    timeout=hook.timeout,
                    env=environ,
                    check=False,
                )
                output.seek(0)
                answer = hook.read(done.returncode, output.read(_OUTPUT_BYTES))
            except subprocess.TimeoutExpired:
                answer = Answer(False, 0, problem=f"{hook.name}: {argv[0]} did not end within {hook.timeout:g} s")
            except (OSError, ValueError) as error:
                text = getattr(error, "strerror", None) or "its arguments cannot be passed on"
                answer = Answer(False, 0, problem=f"{hook.name}: {argv[0]} cannot be run: {text}")
        return Called(answer, at, time.monotonic(), wall, time.time())
