"""The study's benchmarks, one function each. A new one is one function here and one entry in _BENCHMARKS.

The target is charged only with what a perfect server would have done better for the same clients: the two well-behaved models, back in
the contract's time if their own rule allows it. What the rule itself makes impossible, what the sample class does to itself, and what
a silent path hides, is recorded and never the target's failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from harness.analysis.reconnect.figures import CellFigures, rules_of
from harness.analysis.reconnect.fitness import Evidence
from harness.verdict import Benchmark, Verdict, room_below
from schemas import Benchmarks, load_contract

__all__ = ["TITLES", "judge"]

TITLES = {
    "contract": "the formula, done once",
    "jittered": "the formula with full jitter",
    "sample": "the sample class, literally",
}
"""The client models as a reader is told of them."""
_BEHAVED = ("contract", "jittered")
_SECTION = "Performance Benchmarks, Reconnection"


def judge(e: Evidence) -> tuple[Benchmark, ...]:
    """Every benchmark, as if the study were valid; then one for each cause that could not be tried."""
    made = [benchmark(e) for benchmark in _BENCHMARKS]
    return (*(each for each in made if each is not None), *_untried(e))


def _limits(e: Evidence) -> Benchmarks:
    return load_contract().benchmark


def _attainable(e: Evidence) -> list[tuple[CellFigures, np.ndarray]]:
    """Of the well-behaved models: which clients a perfect server would have had back in time, counted from their own loss."""
    latest = _limits(e).reconnect_latest * e.study.scale
    return [(cell, cell.foretold - cell.lost <= latest) for cell in _behaved(e.cells)]


def _behaved(cells: Iterable[CellFigures]) -> list[CellFigures]:
    """Of the well-behaved models, the cells in which there was a server to come back to."""
    back = [cell for cell in cells if cell.cell.model in _BEHAVED and cell.cell.healed is not None]
    # Behind a silent path the server's places may still be held by connections that it has no way to know dead.
    return [cell for cell in back if not (cell.cell.cause == "silent" and cell.outcomes.get("503"))]


def _time(e: Evidence) -> Benchmark:
    limit, contract = _limits(e).reconnect_latest * e.study.scale, _limits(e).connections
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
        detail = f"Each of {owed:,} disconnects was followed by a new connection, the slowest after {_span(worst or 0.0)}."
        if e.study.clients < contract:
            verdict = Verdict.INFO
            detail = f"{detail[:-1]}; the contract's load is {contract:,} clients: not shown by this study."
    if unable:
        detail += f" {unable:,} more could not have been back in time with any server: their own rule had ended or waited too long."
    return _made("reconnect_time", "Back after a disconnect, slowest client", limit, worst, "s", verdict, owed, detail, remedy,
                 margin=room_below(limit, worst))  # fmt: skip


def _stranded(e: Evidence) -> Benchmark:
    cells = _behaved(e.cells)
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
    return "; ".join(f"{_name(cell)}: {cell.stranded:,}" for cell in cells if cell.stranded)


def _refused(e: Evidence) -> Benchmark:
    grace = _limits(e).reconnect_earliest * e.study.scale
    refusals: Counter[str] = Counter()
    samples = 0
    for cell in _behaved(e.cells):
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


def _own_part(e: Evidence) -> Benchmark:
    excess = [cell.excess[np.isfinite(cell.excess)] for cell in _behaved(e.cells)]
    values = np.concatenate(excess) if excess else np.empty(0)
    p99 = float(np.quantile(values, 0.99)) if len(values) else None
    detail = "No well-behaved client came back."
    if p99 is not None:
        detail = (
            f"99 % of the clients were back within {_span(max(p99, 0.0))} of the moment at which a server without any delay would have had "
            "them; this holds handshakes, queues and lateness of both sides."
        )
    return _made("server_part", "What the server added, p99", None, p99, "s", Verdict.INFO, len(values), detail, "")


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
    return _made("herd", "The herd: sockets a second at the peak", None, peak, "per second", Verdict.INFO, len(e.cells), detail, "")


def _sample(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.model == "sample" and cell.cell.healed is not None]
    if not cells:
        return None
    lost, leaked = max(cells, key=lambda cell: cell.given_up), max(cells, key=lambda cell: cell.leaked)
    detail = (
        f"{lost.given_up:,} of {lost.cell.clients:,} clients of the contract's sample class were never back ({_name(lost)}); "
        f"up to {leaked.leaked:,} sockets were open that no client knows of ({_name(leaked)}). That is the class, not the target."
    )
    return _made("sample_lost", "Clients that the sample class loses", None, lost.given_up, "count", Verdict.INFO, len(cells), detail, "")


def _gave_up(e: Evidence) -> Benchmark:
    cells = _behaved(e.cells)
    given, clients = sum(cell.foretold_given_up for cell in cells), sum(cell.cell.clients for cell in cells)
    rules = rules_of(e.study)
    total = sum(min(rules.reconnect_base * 2**n, rules.reconnect_cap) for n in range(rules.reconnect_attempts))
    detail = (
        f"{given:,} of {clients:,} well-behaved clients had used up their {rules.reconnect_attempts} attempts ({total:g} s at most, with "
        "jitter about half of that) before the server could be reached again."
    )
    return _made("rule_gave_up", "Clients whose own rule ended too early", None, given, "count", Verdict.INFO, clients, detail, "")


def _earliest(e: Evidence) -> Benchmark:
    earliest = _limits(e).reconnect_earliest * e.study.scale
    waits = [cell.waits[np.isfinite(cell.waits)] for cell in e.cells if cell.cell.model == "contract"]
    values = np.concatenate(waits) if waits else np.empty(0)
    first = float(values.min()) if len(values) else None
    early = int(np.count_nonzero(values < earliest))
    detail = (
        f"{early:,} of {len(values):,} clients were back sooner than the contract's {earliest:g} s: its own first delay is "
        f"{rules_of(e.study).reconnect_base:g} s (reading A26), so this is not judged."
    )
    return _made("earliest", "Back after a disconnect, fastest client", None, first, "s", Verdict.INFO, len(values), detail, "")


def _noticed(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.cause == "silent"]
    if not cells:
        return None
    noticed = np.concatenate([cell.lost for cell in cells])
    known = noticed[np.isfinite(noticed)]
    median, detail = None, "No client ever noticed that the path had gone silent."
    if len(known):
        median, first, last = float(np.median(known)), _span(float(known.min())), _span(float(known.max()))
        detail = (
            f"Clients learned that the path was silent {first} to {last} after the fact, by their own next message (every "
            f"{rules_of(e.study).unsolicited_pong_every:g} s); until then they showed a live page that was dead."
        )
    return _made("noticed", "Until a client notices a silent path, median", None, median, "s", Verdict.INFO, len(noticed), detail, "")


def _doomed(e: Evidence) -> Benchmark | None:
    cells = [cell for cell in e.cells if cell.cell.cause == "expired"]
    if not cells:
        return None
    worst = max(cells, key=lambda cell: len(cell.attempts))
    detail = (
        f"After {load_contract().close.session_invalid} no client knows better than to try again with the session that ended: "
        f"{len(worst.attempts):,} handshakes in {_span(float(worst.attempts.max()))} from {worst.cell.clients:,} clients "
        f"({TITLES[worst.cell.model]}), each answered {_common(worst)}."
        if len(worst.attempts)
        else "No client tried again with the session that ended."
    )
    return _made("doomed", "Handshakes with a session that ended", None, len(worst.attempts), "count", Verdict.INFO, len(cells), detail, "")


def _common(figures: CellFigures) -> str:
    return max(figures.outcomes, key=lambda word: figures.outcomes[word])


def _untried(e: Evidence) -> list[Benchmark]:
    missing = {cell.cause: cell for cell in e.study.cells if cell.hook_missing}
    unready: dict[str, str] = {}
    for cell in e.study.cells:
        if cell.why and not cell.hook_missing:
            unready.setdefault(cell.cause, cell.why)
    made = [
        _made(f"cause_{cause}", f"Cause: {cause}", None, None, "s", Verdict.NOT_TESTABLE, 0, f"{_capital(cell.why)}.", "")
        for cause, cell in missing.items()
    ]
    return made + [
        _made(f"cause_{cause}", f"Cause: {cause}", None, None, "s", Verdict.INCONCLUSIVE, 0, f"{_capital(why)}.", "")
        for cause, why in unready.items()
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _made(
    id_: str,
    title: str,
    limit: float | None,
    measured: float | None,
    unit: str,
    verdict: Verdict,
    samples: int,
    detail: str,
    remedy: str,
    margin: float | None = None,
) -> Benchmark:
    return Benchmark(id_, title, "PERF-06", _SECTION, limit, measured, unit, margin, verdict, samples, detail, remedy)


def _count(id_: str, title: str, seen: int, verdict: Verdict, samples: int, detail: str, remedy: str) -> Benchmark:
    return _made(id_, title, 0, seen, "count", verdict, samples, detail, remedy)


_BENCHMARKS: tuple[Callable[[Evidence], Benchmark | None], ...] = (
    _time,
    _stranded,
    _refused,
    _told_down,
    _told_expired,
    _own_part,
    _herd,
    _sample,
    _gave_up,
    _noticed,
    _doomed,
    _earliest,
)


def _name(figures: CellFigures) -> str:
    cell = figures.cell
    return cell.cause if cell.outage is None else f"{cell.cause} for {cell.outage:g} s"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"
