"""What a study records without judging: what the server added, the herd, and what each rule does to its own clients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.analysis.reconnect.figures import CellFigures, rules_of
from harness.analysis.reconnect.fitness import Evidence
from harness.analysis.reconnect.rows import TITLES, behaved, cell_name, row, span
from harness.verdict import Benchmark, Verdict
from schemas import load_contract

__all__ = ["RECORDED"]


def _own_part(e: Evidence) -> Benchmark:
    excess = [cell.excess[np.isfinite(cell.excess)] for cell in behaved(e.cells)]
    values = np.concatenate(excess) if excess else np.empty(0)
    p99 = float(np.quantile(values, 0.99)) if len(values) else None
    detail = "No well-behaved client came back."
    if p99 is not None:
        detail = (
            f"99 % of the clients were back within {span(max(p99, 0.0))} of the moment at which a server without any delay would have had "
            "them; this holds handshakes, queues and lateness of both sides."
        )
    return row("server_part", "What the server added, p99", None, p99, "s", Verdict.INFO, len(values), detail, "")


def _herd(e: Evidence) -> Benchmark:
    worst = {model: max((cell.peak for cell in e.cells if cell.cell.model == model), default=None) for model in TITLES}
    told = [f"{rate:,.0f}/s with {TITLES[model]}" for model, rate in worst.items() if rate is not None]
    window = rules_of(e.study).reconnect_base / 10
    peak = max((rate for rate in worst.values() if rate is not None), default=None)
    detail = f"Sockets opened in the worst {window:g} s, as a rate: {'; '.join(told)}." if told else "No cell was measured."
    once, jittered = worst["contract"], worst["jittered"]
    if once and jittered:
        share = min(1.0, once * window / max(e.study.clients, 1))
        detail += f" The formula alone moves the herd and does not break it up: {share:.0%} of the clients knock in the same {window:g} s."
    return row("herd", "The herd: sockets a second at the peak", None, peak, "per second", Verdict.INFO, len(e.cells), detail, "")


def _sample(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.model == "sample" and cell.cell.healed is not None]
    if not cells:
        return None
    lost, leaked = max(cells, key=lambda cell: cell.given_up), max(cells, key=lambda cell: cell.leaked)
    detail = (
        f"{lost.given_up:,} of {lost.cell.clients:,} clients of the contract's sample class were never back ({cell_name(lost)}); "
        f"up to {leaked.leaked:,} sockets were open that no client knows of ({cell_name(leaked)}). That is the class, not the target."
    )
    if any(e.bounds.passed_by(cell.late) for cell in cells):
        detail += " The generator could not keep up with all of its sockets, so the herd was even larger than told here."
    return row("sample_lost", "Clients that the sample class loses", None, lost.given_up, "count", Verdict.INFO, len(cells), detail, "")


def _gave_up(e: Evidence) -> Benchmark:
    cells = behaved(e.cells)
    given, clients = sum(cell.foretold_given_up for cell in cells), sum(cell.cell.clients for cell in cells)
    rules = rules_of(e.study)
    total = sum(min(rules.reconnect_base * 2**n, rules.reconnect_cap) for n in range(rules.reconnect_attempts))
    detail = (
        f"{given:,} of {clients:,} well-behaved clients had used up their {rules.reconnect_attempts} attempts ({total:g} s at most, with "
        "jitter about half of that) before the server could be reached again."
    )
    return row("rule_gave_up", "Clients whose own rule ended too early", None, given, "count", Verdict.INFO, clients, detail, "")


def _earliest(e: Evidence) -> Benchmark:
    earliest = load_contract().benchmark.reconnect_earliest * e.study.scale
    waits = [cell.waits[np.isfinite(cell.waits)] for cell in e.cells if cell.cell.model == "contract"]
    values = np.concatenate(waits) if waits else np.empty(0)
    first = float(values.min()) if len(values) else None
    early = int(np.count_nonzero(values < earliest))
    detail = (
        f"{early:,} of {len(values):,} clients were back sooner than the contract's {earliest:g} s: its own first delay is "
        f"{rules_of(e.study).reconnect_base:g} s (reading A26), so this is not judged."
    )
    return row("earliest", "Back after a disconnect, fastest client", None, first, "s", Verdict.INFO, len(values), detail, "")


def _noticed(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.cause == "silent"]
    if not cells:
        return None
    noticed = np.concatenate([cell.lost for cell in cells])
    known = noticed[np.isfinite(noticed)]
    median, detail = None, "No client ever noticed that the path had gone silent."
    if len(known):
        median, first, last = float(np.median(known)), span(float(known.min())), span(float(known.max()))
        detail = (
            f"Clients learned that the path was silent {first} to {last} after the fact, by their own next message (every "
            f"{rules_of(e.study).unsolicited_pong_every:g} s); until then they showed a live page that was dead."
        )
    return row("noticed", "Until a client notices a silent path, median", None, median, "s", Verdict.INFO, len(noticed), detail, "")


def _doomed(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.cause == "expired"]
    if not cells:
        return None
    worst = max(cells, key=lambda cell: len(cell.attempts))
    detail = (
        f"After {load_contract().close.session_invalid} no client knows better than to try again with the session that ended: "
        f"{len(worst.attempts):,} handshakes in {span(float(worst.attempts.max()))} from {worst.cell.clients:,} clients "
        f"({TITLES[worst.cell.model]}), each answered {_common(worst)}."
        if len(worst.attempts)
        else "No client tried again with the session that ended."
    )
    return row("doomed", "Handshakes with a session that ended", None, len(worst.attempts), "count", Verdict.INFO, len(cells), detail, "")


def _common(figures: CellFigures) -> str:
    return max(figures.outcomes, key=lambda word: figures.outcomes[word])


RECORDED: tuple[Callable[[Evidence], Benchmark | None], ...] = (_own_part, _herd, _sample, _gave_up, _noticed, _doomed, _earliest)
