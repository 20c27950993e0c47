"""How much was asked, what came of it, and the account of every delivery: expected, made, lost, doubled, out of order, astray.

Counts are exact: they come from a ledger that followed every frame on every socket. What a target that went away took with it
is counted apart, because a socket that is gone cannot be delivered to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.run import Record, Run

__all__ = ["Account", "Finding", "Throughput", "account_of", "owed_rows", "throughput_figures"]

_NAMED = 200


@dataclass(frozen=True, slots=True)
class Account:
    """Deliveries over some set of broadcasts."""

    broadcasts: int
    expected: int
    delivered: int
    lost: int
    duplicated: int
    reordered: int
    misdirected: int

    @property
    def ratio(self) -> float | None:
        """Delivered of expected; None when nothing was expected."""
        return self.delivered / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong, by name. `viewers` is at most as many as the journal named; `total` is how many there were."""

    what: str
    cast: int | None
    viewers: tuple[str, ...]
    total: int
    detail: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """Casts and broadcasts of the steady phase, and deliveries.

    planned: casts due in the judged part of the steady phase. called: those that were made. accepted: answered 2xx, or not
    answered and broadcast all the same. unanswered: no answer and no broadcast. refused, failed: answered 4xx (or 3xx), 5xx.
    distinct: casts whose own broadcast reached somebody; coalesced: carried by a later broadcast; silent: accepted casts of
    which nobody heard; unsettled: accepted casts of which the ledger has no account. rate: distinct broadcasts per second.
    whole and steady: the account of all judged broadcasts, warm-up included, and of the steady ones among them; cut:
    deliveries that the end of the target cut off, which nobody is blamed for twice.
    """

    planned: int
    called: int
    accepted: int
    unanswered: int
    refused: int
    failed: int
    statuses: Mapping[int, int]
    distinct: int
    coalesced: int
    silent: int
    unsettled: int
    seconds: float
    rate: float | None
    whole: Account
    steady: Account
    cut: int
    frames: int
    bytes: int
    reads: int
    shared_reads: int
    parsed: int
    invalid: int
    unmatched: int
    unmatched_example: str
    findings: tuple[Finding, ...]
    findings_total: int


def throughput_figures(run: Run, settle: float) -> Throughput:
    """Count everything. `settle`: seconds that a delivery may take (the contract's latency limit); a target that went away is not
    also charged with the deliveries of its last `settle` seconds."""
    casts = run.steady_casts()
    rows = run.broadcasts
    heard = frozenset(rows.loc[rows["delivered"] > 0, "n"].astype(int))
    settled = frozenset(rows["n"].astype(int))
    numbers = casts["n"].astype(int).to_numpy()
    status = casts["status"].fillna(0.0).to_numpy(dtype=float)
    called = casts["called"].notna().to_numpy(dtype=bool)
    was_heard = np.fromiter((n in heard for n in numbers), dtype=bool, count=len(numbers))
    carried = np.fromiter((n in run.coalesced for n in numbers), dtype=bool, count=len(numbers))
    known = np.fromiter((n in settled for n in numbers), dtype=bool, count=len(numbers)) | carried
    accepted = ((status >= 200) & (status < 300)) | ((status == 0) & (was_heard | carried))
    silent = accepted & known & ~was_heard & ~carried
    seconds = run.phases.steady_seconds
    distinct = int((was_heard & ~carried).sum())
    owed = owed_rows(run)
    judged = owed if run.phases.loss is None else owed[owed["due"] <= run.phases.loss.t - settle]
    whole, everything = account_of(judged), account_of(owed)
    return Throughput(
        planned=_planned(run, len(casts)),
        called=int(called.sum()),
        accepted=int(accepted.sum()),
        unanswered=int((called & (status == 0) & ~accepted).sum()),
        refused=int(((status >= 300) & (status < 500)).sum()),
        failed=int((status >= 500).sum()),
        statuses=_statuses(status[called]),
        distinct=distinct,
        coalesced=int(carried.sum()),
        silent=int(silent.sum()),
        unsettled=int((accepted & ~known).sum()),
        seconds=seconds,
        rate=distinct / seconds if seconds > 0 else None,
        whole=whole,
        steady=account_of(judged[judged["steady"]]),
        cut=everything.lost - whole.lost,
        frames=_total(run, "frames"),
        bytes=_total(run, "bytes"),
        reads=_total(run, "reads"),
        shared_reads=_total(run, "shared_reads"),
        parsed=_total(run, "parsed"),
        invalid=_total(run, "invalid"),
        unmatched=sum(int(record.get("frames") or 0) for record in run.unmatched),
        unmatched_example=next((str(record["example"]) for record in run.unmatched if record.get("example")), ""),
        findings=tuple(_finding(record) for record in run.findings[:_NAMED]),
        findings_total=len(run.findings),
    )


def _planned(run: Run, made: int) -> int:
    """Casts due in the judged part of the steady phase, at least those `made`."""
    phases = run.phases
    if phases.numbers is None:
        return max(round(run.parameters.rate * phases.steady_seconds), made)
    return max(phases.numbers[1] - phases.numbers[0], made) if phases.steady_complete else made


def owed_rows(run: Run) -> pd.DataFrame:
    """The broadcasts that the target owes: not those of votes that it never accepted and of which nobody heard."""
    status = run.broadcasts.merge(run.casts[["n", "status"]], on="n", how="left")["status"]
    not_accepted = status.notna() & ~status.between(200, 299)
    return run.broadcasts[~(not_accepted.to_numpy() & (run.broadcasts["delivered"] <= 0).to_numpy())]


def account_of(rows: pd.DataFrame) -> Account:
    """Sums over rows of broadcasts."""
    names = ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected")
    return Account(broadcasts=len(rows), **{name: int(rows[name].sum()) for name in names})


def _statuses(status: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(status.astype(int), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def _total(run: Run, column: str) -> int:
    return int(run.seconds[column].fillna(0.0).sum())


def _finding(record: Record) -> Finding:
    number = record.get("n")
    return Finding(
        what=str(record.get("what", "")),
        cast=None if number is None else int(number),
        viewers=tuple(str(viewer) for viewer in record.get("viewers") or ()),
        total=int(record.get("total") or 0),
        detail=str(record.get("detail") or ""),
    )
