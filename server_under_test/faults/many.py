"""Many servers from one process: what takes long to load is loaded once, and each server is a fork of it.

`python -m server_under_test.faults.many` reads a JSON list from each line of its input: a file for a server's output, and then the
server's command line. It answers each with the process id. The rule: no thread and no loop runs here, so that a fork is as good as a
fresh start. When the input ends, all servers are told to stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from server_under_test.__main__ import main as serve
from server_under_test.faults import load_faults

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_ENDED = {signal.SIGCHLD}
_WRONG = 70  # EX_SOFTWARE of sysexits.h


def main() -> int:
    """Start servers until the input ends; returns 0."""
    load_faults()
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: F401 - for the servers
    end_with_parent = _end_with_parent()
    running: set[int] = set()
    signal.signal(signal.SIGCHLD, lambda *_: _forget_ended(running))
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        output, *arguments = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDED)
        pid = os.fork()
        if pid == 0:
            _become_server(output, arguments, end_with_parent)
        running.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDED)
        print(pid, flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDED)  # from here on who ends keeps its id, so no stranger is hit
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    return 0


def _forget_ended(running: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            running.discard(ended)


def _become_server(output: str, arguments: Sequence[str], end_with_parent: Callable[[], None]) -> NoReturn:
    status = _WRONG
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDED)
        os.setsid()
        end_with_parent()
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for ours, theirs in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(ours, theirs)
        sys.argv = ["server_under_test", *arguments]
        status = serve()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> Callable[[], None]:
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def ask_for_sigterm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return ask_for_sigterm


if __name__ == "__main__":
    sys.exit(main())
