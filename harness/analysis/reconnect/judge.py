"""The study's benchmarks, one function each. A new one is one function here (or in recorded.py) and one entry in _BENCHMARKS.

The target is charged only with what a perfect server would have done better for the same clients: the two well-behaved models, back in
the contract's time if their own rule allows it. What the rule itself makes impossible, what the sample class does to itself, and what
a silent path hides, is recorded and never the target's failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from harness.analysis.reconnect.figures import CellFigures
from harness.analysis.reconnect.fitness import Evidence
from harness.analysis.reconnect.recorded import RECORDED
from harness.analysis.reconnect.rows import behaved, cell_name, row, span
from harness.verdict import Benchmark, Verdict, room_below
from schemas import load_contract

__all__ = ["judge"]


def judge(e: Evidence) -> tuple[Benchmark, ...]:
    """Every benchmark, as if the study were valid; then one for each cause that could not be tried."""
    made = [benchmark(e) for benchmark in _BENCHMARKS]
    return (*(each for each in made if each is not None), *_untried(e))


def _attainable(e: Evidence) -> list[tuple[CellFigures, np.ndarray]]:
    """Of the well-behaved models: which clients a perfect server would have had back in time, counted from their own loss."""
    latest = load_contract().benchmark.reconnect_latest * e.study.scale
    return [(cell, cell.foretold - cell.lost <= latest) for cell in behaved(e.cells)]


def _time(e: Evidence) -> Benchmark:
    limit, contract = load_contract().benchmark.reconnect_latest * e.study.scale, load_contract().benchmark.connections
    waits = [cell.waits[able] for cell, able in _attainable(e)]
    owed = sum(len(each) for each in waits)
    back = np.concatenate([each[np.isfinite(each)] for each in waits]) if waits else np.empty(0)
    worst = float(back.max()) if len(back) else None
    late = owed - int(np.count_nonzero(back <= limit))
    unable = sum(cell.cell.clients - int(np.count_nonzero(able)) for cell, able in _attainable(e))
    verdict, remedy = Verdict.PASS, ""
    if not owed or (worst is None and not late):
        verdict, detail = Verdict.INCONCLUSIVE, "No client that a perfect server would have had back in time lost its socket."
    elif late:
        verdict = Verdict.FAIL
        detail = f"{late:,} of {owed:,} disconnects were not followed by a new connection within {limit:g} s, though the client tried."
        remedy = "See the refusals and the accept queue in the drawings below: what did the server answer once it was back?"
    else:
        detail = f"Each of {owed:,} disconnects was followed by a new connection, the slowest after {span(worst or 0.0)}."
        if e.study.clients < contract:
            verdict = Verdict.INFO
            detail = f"{detail[:-1]}; the contract's load is {contract:,} clients: not shown by this study."
    if unable:
        detail += f" {unable:,} more could not have been back in time with any server: their own rule had ended or waited too long."
    return row("reconnect_time", "Back after a disconnect, slowest client", limit, worst, "s", verdict, owed, detail, remedy,
                 margin=room_below(limit, worst))  # fmt: skip


def _stranded(e: Evidence) -> Benchmark:
    cells = behaved(e.cells)
    stranded, samples = sum(cell.stranded for cell in cells), sum(cell.cell.clients for cell in cells)
    verdict, detail, remedy = Verdict.PASS, "Every client that could be back at the end of its rule was.", ""
    if not samples:
        verdict, detail = Verdict.INCONCLUSIVE, "No well-behaved client lost its socket."
    elif stranded:
        verdict = Verdict.FAIL
        detail = f"{stranded:,} of {samples:,} clients were never back, though the server was there when they last tried ({_where(cells)})."
        remedy = "Read what it answered instead in the table of outcomes."
    return _count("reconnect_stranded", "Clients left out though the server was there", stranded, verdict, samples, detail, remedy)


def _where(cells: Sequence[CellFigures]) -> str:
    return "; ".join(f"{cell_name(cell)}: {cell.stranded:,}" for cell in cells if cell.stranded)


def _refused(e: Evidence) -> Benchmark:
    grace = load_contract().benchmark.reconnect_earliest * e.study.scale
    refusals: Counter[str] = Counter()
    samples = 0
    for cell in behaved(e.cells):
        healed = cell.cell.healed
        if healed is None or cell.cell.cause == "silent":
            continue
        since = healed + (grace if cell.cell.cause == "full" else 0.0)
        after = cell.cell.attempts[cell.cell.attempts["started"] >= since]
        samples += len(after)
        bad = after[~after["outcome"].isin(["opened", "local"])]
        refusals.update(
            f"{status:.0f}" if status == status else str(word) for word, status in zip(bad["outcome"], bad["status"], strict=True)
        )
    verdict, detail, remedy = Verdict.PASS, "Once the server was back, it took every client that came.", ""
    if not samples:
        verdict, detail = Verdict.INCONCLUSIVE, "No client came after the server was back."
    elif refusals:
        verdict = Verdict.WARN
        told = ", ".join(f"{count:,} × {word}" for word, count in refusals.most_common())
        detail = (
            f"{refusals.total():,} of {samples:,} handshakes failed after the server was back ({told}), below its limit of connections."
        )
        remedy = "Listen only when ready, with an accept queue as long as the crowd, and take connections before other work."
    return _count("reconnect_refused", "Handshakes refused after the server was back", refusals.total(), verdict, samples, detail, remedy)


def _told_down(e: Evidence) -> Benchmark | None:
    return _told(e, "graceful", load_contract().close.going_away, ("told_1001", "Clients not told of an ordered stop", "CLS-02"))


def _told_expired(e: Evidence) -> Benchmark | None:
    return _told(e, "expired", load_contract().close.session_invalid, ("told_4401", "Clients not told that their session ended", "CLS-05"))


def _told(e: Evidence, cause: str, code: int, name: tuple[str, str, str]) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.cause == cause]
    if not cells:
        return None
    codes = sum((Counter(cell.codes) for cell in cells), Counter[int]())
    expected, samples = codes[code], sum(cell.cell.clients for cell in cells)
    silent = samples - codes.total()
    wrong = samples - expected
    verdict, detail, remedy = Verdict.PASS, f"All {samples:,} connections ended with {code}.", ""
    if wrong:
        verdict = Verdict.FAIL
        others = [f"{count:,} × {seen}" for seen, count in codes.items() if seen != code] + ([f"{silent:,} stayed open"] if silent else [])
        detail = f"{wrong:,} of {samples:,} connections did not end with {code}: {', '.join(others)}."
        remedy = "1006 is a connection that broke without a Close frame: write the frame to every socket before any is cut."
    id_, title, clause = name
    return Benchmark(id_, title, clause, "Connection Termination", 0, wrong, "count", None, verdict, samples, detail, remedy)


def _untried(e: Evidence) -> list[Benchmark]:
    missing = {cell.cause: cell for cell in e.study.cells if cell.hook_missing}
    unready: dict[str, str] = {}
    for cell in e.study.cells:
        if cell.why and not cell.hook_missing:
            unready.setdefault(cell.cause, cell.why)
    made = [
        row(f"cause_{cause}", f"Cause: {cause}", None, None, "s", Verdict.NOT_TESTABLE, 0, f"{_capital(cell.why)}.", "")
        for cause, cell in missing.items()
    ]
    return made + [
        row(f"cause_{cause}", f"Cause: {cause}", None, None, "s", Verdict.INCONCLUSIVE, 0, f"{_capital(why)}.", "")
        for cause, why in unready.items()
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _count(id_: str, title: str, seen: int, verdict: Verdict, samples: int, detail: str, remedy: str) -> Benchmark:
    return row(id_, title, 0, seen, "count", verdict, samples, detail, remedy)


_BENCHMARKS: tuple[Callable[[Evidence], Benchmark | None], ...] = (_time, _stranded, _refused, _told_down, _told_expired, *RECORDED)
