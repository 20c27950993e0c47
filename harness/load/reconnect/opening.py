"""Before the first cell: can this machine carry the study, which sessions does it use, and the journal's header."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from harness.errors import UsageError
from harness.journal import FORMAT
from harness.load.facts import git_revision
from harness.load.reconnect.ground import SPENT, Ground
from harness.load.reconnect.plan import Order, scaled_rules
from harness.measure.limits import Demand, preflight, raise_descriptors, read_machine
from harness.target import Session, Target
from schemas import load_contract

__all__ = ["Sessions", "check_machine", "deal_sessions", "header"]

_SOCKETS_A_CLIENT = 5  # the sample class holds four, and one is being dialled
_BYTES_A_CLIENT = 6_000  # of journal, in one cell
_OTHER_DESCRIPTORS = 512
_MOST_SESSIONS = 400
_PACKAGES = ("roadmap-harness", "locust", "gevent")


@dataclass(frozen=True, slots=True)
class Sessions:
    """Those that stay good, and for each client model those that may be used up."""

    shared: Sequence[Session]
    spent: Sequence[Sequence[Session]]


def check_machine(order: Order, folder: Path, tell: Callable[[str], None]) -> None:
    """Raise this process's limit of descriptors to what the study may need. Raises UsageError for what cannot work."""
    sitting = max(order.clients, load_contract().limits.connections) if "full" in order.causes else 0
    sockets = _SOCKETS_A_CLIENT * order.clients + sitting
    disk = _BYTES_A_CLIENT * order.clients * len(list(order.cells()))
    for hint in preflight(Demand(sockets, order.clients, disk), read_machine("127.0.0.1", 0, folder)):
        tell(hint)
    raise_descriptors(sockets + _OTHER_DESCRIPTORS)


def deal_sessions(target: Target, order: Order) -> Sessions:
    """Raises UsageError when there is none."""
    models = len(order.models)
    regular = [session for session in target.available_sessions(_MOST_SESSIONS) if session.role == "regular"]
    if not regular:
        raise UsageError("the profile gives no session of a regular user", str(target.source), "give it one")
    spare = min(SPENT, (len(regular) - 1) // models) if "expired" in order.causes else 0
    cut = len(regular) - spare * models
    return Sessions(regular[:cut], [regular[cut + n * spare : cut + (n + 1) * spare] for n in range(models)])


def header(order: Order, ground: Ground, run: str) -> dict[str, Any]:
    """The first record of the journal."""
    target, rules = ground.target, scaled_rules(load_contract().client, ground.scale)
    return {
        "kind": "header",
        "format": FORMAT,
        "run": run,
        "scenario": "reconnect",
        "started": time.time(),
        "target": {"name": target.name, "base_url": target.base_url, "ws_url": target.ws_url},
        "seed": order.seed,
        "cells": sum(1 for _ in order.cells()),
        "parameters": {**order.parameters(), "time_scale": ground.scale, "limit": ground.limit},
        "rules": {
            "base": rules.reconnect_base,
            "cap": rules.reconnect_cap,
            "attempts": rules.reconnect_attempts,
            "pong_every": rules.unsolicited_pong_every,
        },
        "own_server": not order.target,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "machine": {
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "kernel": f"{platform.system()} {platform.release()}",
            "hostname": platform.node(),
        },
        "git": git_revision(Path.cwd()),
        "workers": 1,
        "readings": dict(target.readings),
    }
