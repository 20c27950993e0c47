"""What a process that runs checks needs loaded, and the fork of it that runs them: a pass costs no import a second time.

Imported by multiprocessing's fork server, before any fork; nothing here may start a thread or touch the network.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import pytest

from harness.conformance import checks

__all__ = ["run_checks"]

for _name in ("xdist.plugin", "harness.conformance.plugin", "harness.conformance.readings"):
    importlib.import_module(_name)
for _each in pkgutil.iter_modules(checks.__path__):
    importlib.import_module(f"{checks.__name__}.{_each.name}")


def run_checks(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> NoReturn:
    """Become a pytest of its own, in a session of its own, and leave with its status."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    status = 3  # pytest's own for an error of its own
    try:
        status = int(pytest.main(list(arguments)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # what the checks left behind in threads ends here
