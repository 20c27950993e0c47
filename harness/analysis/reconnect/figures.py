"""The figures of one cell: who was back when, what the herd was, and what a perfect server would have made of the same clients.

Every client is foretold by its own model, from its own loss, with its own jitter. What it took longer than that is the server's part
(and, bounded by the lateness, ours); what it could not have done with any server is not the server's doing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.reconnect.cells import CellRecord, StudyRecord
from harness.measure.backoff import Fate, client_model, foretell, rng_of
from schemas import load_contract
from schemas.contract import ClientRules

__all__ = ["BEHAVED", "SHARES", "CellFigures", "Lateness", "cell_figures", "rules_of", "share_over_time"]

SHARES = (0.5, 0.95, 1.0)
"""Of the clients, for which the time until they are back is told."""
BEHAVED = ("contract", "jittered")
"""The client models by which a server is judged; what the sample class does to itself is only recorded."""
_DROPPED = 1006
_CPU_WINDOW = 0.25

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much later than its model wanted a socket was opened, seconds; None without any."""

    p50: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class CellFigures:
    """Times are seconds. Arrays have one entry a client, NaN where there is none.

    lost: since the blow, when the client lost its socket (or was turned away). back: since the blow, when it had one again that lasted.
    foretold: the same with a perfect server. to_back, foretold_to_back: since the blow, until each of SHARES of all clients is back.
    peak: sockets opened a second, in the worst tenth of the first delay; refusals: handshakes that failed after the server was back,
    by what came instead. leaked: sockets open at the end beyond one a client; stranded: not back though a perfect server would have
    had them back; given_up: not back at the end. cpu: cores in use at most; queue: longest accept queue.
    """

    cell: CellRecord
    lost: Floats
    back: Floats
    foretold: Floats
    codes: Mapping[int, int]
    to_back: tuple[float | None, ...]
    foretold_to_back: tuple[float | None, ...]
    attempts: Floats
    opened: int
    peak: float
    outcomes: Mapping[str, int]
    refusals: Mapping[str, int]
    most_sockets: int
    leaked: int
    given_up: int
    foretold_given_up: int
    stranded: int
    late: Lateness
    own_failures: int
    cpu: float | None
    queue: int | None

    @property
    def waits(self) -> Floats:
        """Seconds from each client's own loss until it was back; NaN for those who were not."""
        return self.back - self.lost

    @property
    def excess(self) -> Floats:
        """Seconds that each client took longer than with a perfect server."""
        return self.back - self.foretold


def rules_of(study: StudyRecord) -> ClientRules:
    """The client rules of the study's header. Times are as scaled."""
    given, contract = study.header.get("rules") or {}, load_contract().client
    return ClientRules(
        reconnect_base=float(given.get("base", contract.reconnect_base)),
        reconnect_cap=float(given.get("cap", contract.reconnect_cap)),
        reconnect_attempts=int(given.get("attempts", contract.reconnect_attempts)),
        unsolicited_pong_every=float(given.get("pong_every", contract.unsolicited_pong_every)),
    )


def cell_figures(study: StudyRecord, cell: CellRecord) -> CellFigures:
    """Of a cell that was struck."""
    rules = rules_of(study)
    after = cell.attempts[cell.attempts["started"] >= 0.0]
    lost, codes = _losses(cell)
    back, holding, sockets = _back(cell)
    fates = _fates(study, cell, rules, lost, codes)
    foretold = np.array([math.nan if fate is None or fate.back is None else fate.back for fate in fates])
    started = np.sort(np.asarray(after["started"], np.float64))
    late = np.asarray(after["started"] - after["planned"], np.float64)
    healed = math.inf if cell.healed is None else cell.healed
    words = [_word(outcome, status) for outcome, status in zip(after["outcome"], after["status"], strict=True)]
    refused = [word for word, began in zip(words, after["started"], strict=True) if began >= healed and word not in ("opened", "local")]
    stranded = np.isfinite(foretold) & ~np.isfinite(back)
    return CellFigures(
        cell=cell,
        lost=lost,
        back=back,
        foretold=foretold,
        codes=Counter(int(code) for code in codes[np.isfinite(codes)]),
        to_back=_shares(back),
        foretold_to_back=_shares(foretold),
        attempts=started,
        opened=words.count("opened"),
        peak=_peak(started, rules.reconnect_base / 10),
        outcomes=Counter(words),
        refusals=Counter(refused),
        most_sockets=int(cell.pulses["sockets"].max()) if len(cell.pulses) else 0,
        leaked=sockets - holding,
        given_up=cell.clients - holding,
        foretold_given_up=sum(1 for fate in fates if fate is not None and fate.given_up),
        stranded=int(stranded.sum()),
        late=_lateness(late),
        own_failures=words.count("local"),
        cpu=_busiest(cell),
        queue=int(cell.pulses["queue"].max()) if cell.pulses["queue"].notna().any() else None,
    )


def share_over_time(times: Floats, clients: int) -> tuple[Floats, Floats]:
    """Steps (time, share of the clients) of what happened at `times`, NaN for those to whom it never did."""
    seen = np.sort(times[np.isfinite(times)])
    return seen, np.arange(1, len(seen) + 1) / max(clients, 1)


def _word(outcome: object, status: float) -> str:
    return str(outcome) if not math.isfinite(status) or outcome == "opened" else f"{status:.0f}"


def _losses(cell: CellRecord) -> tuple[Floats, Floats]:
    """When and with which code each client lost what it had; whom the server turned away on arrival lost it then."""
    lost, codes = np.full(cell.clients, np.nan), np.full(cell.clients, np.nan)
    gone = cell.losses[(cell.losses["t"] >= 0.0) & (cell.losses["by"] == "server")].drop_duplicates("client")
    clients = gone["client"].astype(int).to_numpy()
    lost[clients], codes[clients] = gone["t"], gone["code"]
    turned = cell.attempts[(cell.attempts["started"] >= 0.0) & (cell.attempts["outcome"] != "opened")].drop_duplicates("client")
    for client, ended in zip(turned["client"].astype(int), turned["ended"], strict=True):
        if not lost[client] <= ended:
            lost[client], codes[client] = ended, _DROPPED
    return lost, codes


def _back(cell: CellRecord) -> tuple[Floats, int, int]:
    """When each client began to hold a socket without a gap to the end, after the blow; clients that hold one; sockets that are open."""
    opened = cell.attempts[cell.attempts["outcome"] == "opened"]
    changes = [(float(t), 1, int(client)) for t, client in zip(opened["ended"], opened["client"], strict=True)]
    changes += [(float(t), -1, int(client)) for t, client in zip(cell.losses["t"], cell.losses["client"], strict=True)]
    held, since = np.zeros(cell.clients, int), np.full(cell.clients, np.nan)
    for t, change, client in sorted(changes):
        held[client] += change
        if held[client] == 0:
            since[client] = np.nan
        elif change > 0 and held[client] == 1:
            since[client] = t
    return np.where(since >= 0.0, since, np.nan), int(np.count_nonzero(held)), int(held.sum())


def _fates(study: StudyRecord, cell: CellRecord, rules: ClientRules, lost: Floats, codes: Floats) -> list[Fate | None]:
    back, normal = math.inf if cell.healed is None else cell.healed, load_contract().close.normal
    fates: list[Fate | None] = []
    for client in range(cell.clients):
        if not math.isfinite(lost[client]):
            fates.append(None)
            continue
        model = client_model(cell.model, rules, normal, rng_of(study.seed, cell.number, client))
        code = int(codes[client])
        fates.append(foretell(model, lost=float(lost[client]), failed=code == _DROPPED, code=code, dropped=_DROPPED, back=back))
    return fates


def _shares(times: Floats) -> tuple[float | None, ...]:
    """Until each share of all is reached; None where it never is."""
    seen, needed = np.sort(times[np.isfinite(times)]), [math.ceil(share * len(times)) for share in SHARES]
    return tuple(float(seen[count - 1]) if 0 < count <= len(seen) else None for count in needed)


def _peak(started: Floats, window: float) -> float:
    """The most that lie in any window of this length, as a rate."""
    if not len(started):
        return 0.0
    return float((np.searchsorted(started, started + window, side="left") - np.arange(len(started))).max() / window)


def _lateness(late: Floats) -> Lateness:
    if not len(late):
        return Lateness(None, None, None)
    return Lateness(float(np.quantile(late, 0.5)), float(np.quantile(late, 0.99)), float(late.max()))


def _busiest(cell: CellRecord) -> float | None:
    """Cores that the server's process used in its busiest quarter of a second after the blow. A new process begins at 0."""
    pulses = cell.pulses[(cell.pulses["t"] >= 0.0) & cell.pulses["server_cpu"].notna()]
    t, cpu = np.asarray(pulses["t"], np.float64), np.asarray(pulses["server_cpu"], np.float64)
    if len(t) < 2:
        return None
    spent = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(cpu), 0.0))])
    ahead = np.searchsorted(t, t + _CPU_WINDOW, side="left").clip(max=len(t) - 1)
    width = t[ahead] - t
    whole = width >= _CPU_WINDOW
    return float(((spent[ahead] - spent)[whole] / width[whole]).max()) if whole.any() else None
