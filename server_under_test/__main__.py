"""`python -m server_under_test`: read the settings, run, and turn what cannot start into one sentence and exit code 2."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable

from schemas import load_contract
from server_under_test.app import serve
from server_under_test.errors import StartError
from server_under_test.settings import read_settings

__all__ = ["main"]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> int:
    """Run the server; returns the exit code: 0 after an ordered stop, 2 when it could not start."""
    os.umask(0o077)
    contract = load_contract()
    try:
        settings = read_settings(sys.argv[1:], os.environ, contract.limits)
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, contract))
    except StartError as error:
        print(f"server_under_test: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
