"""The fork of a process that has loaded everything, which runs a pass of the checks: imports cost nothing a second time."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

__all__ = ["run_checks"]

_FAILED = 3  # pytest's own status for an error of its own


def run_checks(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> NoReturn:
    """Become a pytest of its own, in a session of its own, with its output in `log`, and leave with its status."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    status = _FAILED
    try:
        import pytest

        status = int(pytest.main(list(arguments)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # what the checks left behind in threads ends here
