"""How this server could be started again as it is: its settings as a command line, and whose end is its own.

The rule: what is secret is never part of a command line. A server that was given a secret, or that keeps nothing, cannot be started
again by somebody else, and says so by saying nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from server_under_test.settings import Settings

__all__ = ["command_of", "ends_with"]

_OTHERWISE = frozenset({"secret", "password", "limits", "faults", "port", "access_log", "allowed_origins", "end_with"})


def command_of(settings: Settings, port: int) -> list[str] | None:
    """The argument list that starts the same server on the same state; None without a state that lasts, or with a secret."""
    if settings.state_dir is None or settings.secret is not None:
        return None
    flags: dict[str, Any] = {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if field.name not in _OTHERWISE
    }
    flags |= {"port": port, "allowed_origin": ",".join(sorted(settings.allowed_origins)), **dataclasses.asdict(settings.limits)}
    words = [f"--{name.replace('_', '-')}={_word(value)}" for name, value in flags.items() if value not in (None, "")]
    words += ["--access-log"] if settings.access_log else []
    return [sys.executable, "-m", "server_under_test", *words, *(f"--fault={name}" for name in settings.faults)]


def _word(value: object) -> str:
    return str(value.absolute()) if isinstance(value, Path) else str(value)


@contextlib.contextmanager
def ends_with(pid: int | None, end: Callable[[], None]) -> Iterator[None]:
    """Call `end` once the process `pid` has ended, where the system can tell (Linux); for a pid of None never."""
    if pid is None or not hasattr(os, "pidfd_open"):
        yield
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        end()
        yield
        return
    except OSError:
        yield
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        end()

    loop.add_reader(descriptor, ended)  # readable when the process has ended: pidfd_open(2)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
