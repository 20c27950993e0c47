"""Journals of reconnect studies with a known truth: every client's model is played against a server of which all is known.

The truth is kept simple on purpose: a server that is away for so long, adds so much to each handshake, and turns away whom it is told to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.journal import FORMAT, Journal
from harness.measure.backoff import client_model, rng_of
from schemas import load_contract

T0 = 1_700_000_000.0
DROPPED = 1006
RULES, CODES = load_contract().client, load_contract().close

Record = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """One cell. turned_away(client) says whom the server refuses after it is back; delay: seconds that it adds to a handshake."""

    cause: str = "killed"
    outage: float | None = 4.0
    model: str = "contract"
    clients: int = 20
    code: int = DROPPED
    delay: float = 0.0
    late: float = 0.0
    turned_away: Callable[[int], bool] = lambda client: False
    own_failures: int = 0
    queue: int = 7


def cell(number: int, truth: Truth, struck: float, seed: int = 1) -> list[Record]:
    """The records of one cell whose blow falls at `struck`."""
    back = math.inf if truth.outage is None else truth.outage
    attempts: list[tuple[Any, ...]] = [(n, n, -2.0, -2.0, -1.9, "opened", 101) for n in range(truth.clients)]
    losses = [(n, n, 0.001, truth.code, "server") for n in range(truth.clients)]
    held = 0
    for client in range(truth.clients):
        mine = _play(truth, client, number, seed, back)
        held += any(row[5] == "opened" for row in mine)
        attempts += [(len(attempts) + n, *row[1:]) for n, row in enumerate(mine)]
    attempts += [(len(attempts) + n, 0, 1.0, 1.0, 1.0, "local", None) for n in range(truth.own_failures)]
    end = max([row[4] for row in attempts] + [0.0]) + 1.0
    opened = sum(row[5] == "opened" for row in attempts) - truth.clients
    pulses = [(end * n / 40, True, truth.queue, n / 100, 0, truth.clients) for n in range(41)]
    described = {"number": number, "cause": truth.cause, "outage": truth.outage, "model": truth.model}
    healed = None if truth.outage is None else struck + truth.outage
    return [
        {"kind": "cell", "t": struck - 3, **described, "clients": truth.clients},
        event(struck, "struck", cell=number, at=struck, holding=truth.clients),
        event(struck + (truth.outage or 0.1), "healed", cell=number, at=healed),
        event(struck + end, "settled", cell=number, complete=True, holding=held, sockets=opened),
        _columns("attempts", number, ("socket", "client", "planned", "started", "ended", "outcome", "status"), attempts, struck, (2, 3, 4)),
        _columns("losses", number, ("socket", "client", "t", "code", "by"), losses, struck, (2,)),
        _columns("pulses", number, ("t", "listening", "queue", "server_cpu", "holding", "sockets"), pulses, struck, (0,)),
        {"kind": "generator", "t": struck + end, "cpu": 0.2, "host_cpu": 0.3, "descriptors": 50, "stall": 0.002},
    ]


def _play(truth: Truth, client: int, number: int, seed: int, back: float) -> list[tuple[Any, ...]]:
    model = client_model(truth.model, RULES, CODES.normal, rng_of(seed, number, client))
    model.lost(0.001, failed=truth.code == DROPPED, code=truth.code)
    rows: list[tuple[Any, ...]] = []
    while (planned := model.next_deadline()) is not None:
        for _ in range(model.due(planned)):
            started = planned + truth.late
            if started < back:
                rows.append((0, client, planned, started, started, *(("refused", None) if truth.outage else ("http", 401))))
                model.lost(started, failed=True, code=DROPPED)
            elif truth.turned_away(client):
                rows.append((0, client, planned, started, started + truth.delay, "http", 503))
                model.lost(started + truth.delay, failed=True, code=DROPPED)
            else:
                rows.append((0, client, planned, started, started + truth.delay, "opened", 101))
                model.opened()
    return rows


def _columns(kind: str, number: int, names: tuple[str, ...], rows: list[tuple[Any, ...]], origin: float, times: tuple[int, ...]) -> Record:
    moved = [tuple(origin + value if place in times else value for place, value in enumerate(row)) for row in rows]
    return {"kind": kind, "cell": number, **{name: [row[place] for row in moved] for place, name in enumerate(names)}}


def event(t: float, name: str, **detail: Any) -> Record:
    return {"kind": "event", "t": t, "worker": 0, "name": name, "detail": detail}


def skipped(number: int, cause: str, reason: str, model: str = "contract") -> Record:
    return {"kind": "skipped", "t": T0, "number": number, "cause": cause, "outage": 4.0, "model": model, "reason": reason}


def study(*truths: Truth, more: tuple[Record, ...] = (), footer: str | None = "completed", name: str = "bundled") -> list[Record]:
    """A whole journal: header, cells, more records, footer (None: cut short)."""
    clients = max((truth.clients for truth in truths), default=20)
    header = {
        "kind": "header",
        "format": FORMAT,
        "run": "20231114T221320Z-reconnect-0001",
        "scenario": "reconnect",
        "started": T0,
        "target": {"name": name, "base_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1/ws"},
        "seed": 1,
        "parameters": {
            "clients": clients,
            "models": list(dict.fromkeys(truth.model for truth in truths)),
            "causes": list(dict.fromkeys(truth.cause for truth in truths)),
            "outages": sorted({truth.outage for truth in truths if truth.outage}),
            "time_scale": 1.0,
        },
        "rules": {"base": RULES.reconnect_base, "cap": RULES.reconnect_cap, "attempts": RULES.reconnect_attempts,
                  "pong_every": RULES.unsolicited_pong_every},
        "own_server": True,
        "versions": {"python": "3.11"},
        "machine": {"cores": 2, "memory_bytes": 8_000_000_000},
        "git": None,
        "workers": 1,
        "readings": {},
    }  # fmt: skip
    records = [record for number, truth in enumerate(truths) for record in cell(number, truth, T0 + 10 + 100 * number)]
    end = [{"kind": "footer", "ended": T0 + 1000, "reason": footer, "totals": {}}] if footer else []
    return [header, *records, *more, *end]


def write(folder: Path, records: list[Record]) -> Path:
    folder.mkdir(parents=True)
    with Journal(folder) as journal:
        for record in records:
            journal.write(record)
    return folder
