"""Ctrl-C ends a run in order: it is handled between two greenlets, like SIGTERM, and not in the middle of whichever of them is running."""

from __future__ import annotations

import os
import signal

import gevent

__all__ = ["end_in_order"]


def end_in_order() -> None:
    """From now on an interrupt of this process is what SIGTERM is to Locust: an orderly end."""
    gevent.signal_handler(signal.SIGINT, os.kill, os.getpid(), signal.SIGTERM)
