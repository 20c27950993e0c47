"""Child processes that end with us: of their own session, so a signal reaches them only when we pass it on, but never orphans."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO, Any

__all__ = ["end_with_parent", "forward_signals", "start_child"]

_PR_SET_PDEATHSIG = 1


def start_child(
    command: Sequence[str], *, output: IO[bytes] | None = None, environment: dict[str, str] | None = None, orders: bool = False
) -> subprocess.Popen[bytes]:
    """Start `command`; its output goes to `output` or where ours goes. On Linux it gets SIGTERM should we die without notice.

    orders: its standard input is a pipe of ours, instead of nothing.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE if orders else subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )


def end_with_parent() -> Callable[[], None] | None:
    """What a child must do before it begins, to get SIGTERM when the thread that starts it ends; None where that cannot be had."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: the child must not load anything

    def ask_for_sigterm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return ask_for_sigterm


def forward_signals(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    """Pass SIGINT and SIGTERM on to `process` from now on. Returns what puts things back as they were."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            process.send_signal(number)

    before: dict[int, Any] = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore
