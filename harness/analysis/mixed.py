"""The figures of mixed: the day's comings and goings, each message type by itself, and what reached those who were owed nothing.

Whom a message was owed to was settled by those who sent the SUBSCRIBEs, with room for the time in which one may or may not act yet; here
it is only summed up. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.latency import JUDGED, Quantiles, interval_of, of_histogram
from harness.analysis.run import Run, merged
from harness.analysis.throughput import Account, account_of, owed_rows

__all__ = ["Aside", "Kind", "MixedStudy", "Visits", "deeds_by_second", "mixed_study", "steps_by_second"]

TYPES: Mapping[str, str] = {
    "add": "VOTE_UPDATE",
    "remove": "VOTE_UPDATE",
    "update": "FEATURE_UPDATE",
    "create": "FEATURE_CREATED",
    "delete": "FEATURE_DELETED",
}
STEPS = ("come", "refused", "go", "vanish", "view", "back")


@dataclass(frozen=True, slots=True)
class Kind:
    """One message type. calls: made of the API; accepted: answered 2xx. `interval`: 95 %, of the p99 of the latency in the steady phase."""

    name: str
    calls: int
    accepted: int
    account: Account
    latency: Quantiles
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Visits:
    """Steps taken. planned: visits of the whole day; come, refused: sockets; go, vanish: with a Close frame and without a word."""

    planned: int
    come: int
    refused: int
    go: int
    vanish: int
    view: int
    back: int


@dataclass(frozen=True, slots=True)
class Aside:
    """Deliveries to those who were owed none, and of how many pairs of a message and a socket: the voter's own session; no administrator;
    in a detail view of another feature. back: to those who had unsubscribed from all, of whom nothing is asked."""

    own: int
    own_of: int
    role: int
    role_of: int
    other: int
    other_of: int
    back: int
    back_of: int


@dataclass(frozen=True, slots=True)
class MixedStudy:
    """errors: ERROR messages received, with the text of one."""

    visits: Visits
    kinds: tuple[Kind, ...]
    aside: Aside
    errors: int
    error: str

    @property
    def slowest(self) -> Kind | None:
        """The message type with the greatest p99; None when nothing was delivered."""
        timed = [kind for kind in self.kinds if kind.latency.p99 is not None]
        return max(timed, key=lambda kind: kind.latency.p99 or 0.0, default=None)


def mixed_study(run: Run) -> MixedStudy:
    """Sum up the day."""
    steps = [str(record.get("step")) for record in run.records("step")]
    counts = {name: steps.count(name) for name in STEPS}
    planned = run.sockets
    aside = run.records("aside")
    names = ("own", "own_of", "role", "role_of", "other", "other_of", "back", "back_of")
    return MixedStudy(
        visits=Visits(planned, **counts),
        kinds=_kinds(run),
        aside=Aside(**{name: sum(int(record.get(name) or 0) for record in aside) for name in names}),
        errors=run.types.get("ERROR", 0),
        error=next((str(record.get("example") or "") for record in run.records("error")), ""),
    )


def _kinds(run: Run) -> tuple[Kind, ...]:
    what = _types(run)
    histograms: dict[str, list[object]] = {}
    for record in run.records("second"):
        for name, text in (record.get("latency_types") or {}).items():
            histograms.setdefault(str(name), []).append(text)
    rows = owed_rows(run)
    of_row = rows["n"].astype(int).map(what)
    casts = run.casts
    of_cast, status = casts["n"].astype(int).map(what), casts["status"]
    kinds = []
    for name in dict.fromkeys(TYPES.values()):
        histogram = merged(histograms.get(name, ()))
        mine = rows[of_row == name]
        heard = int((mine["steady"] & (mine["delivered"] > 0)).sum())
        called = of_cast == name
        kinds.append(
            Kind(
                name=name,
                calls=int((called & casts["called"].notna()).sum()),
                accepted=int((called & status.between(200, 299)).sum()),
                account=account_of(mine),
                latency=of_histogram(histogram),
                interval=interval_of(histogram, JUDGED, heard),
            )
        )
    return tuple(kinds)


def _types(run: Run) -> dict[int, str]:
    """The message type of each deed by its number."""
    found: dict[int, str] = {}
    for record in run.records("casts"):
        found |= {int(n): TYPES.get(str(what), "") for n, what in zip(record["n"], record.get("what", ()), strict=False)}
    return found


def steps_by_second(run: Run, origin: float) -> pd.DataFrame:
    """Columns at (whole seconds after `origin`), how many took each kind of step in that second, and `looking`: by how much the number of
    those in a detail view changed. Empty before anybody came."""
    records = run.records("step")
    frame = _by_second([(float(record["t"]), str(record.get("step"))) for record in records], STEPS, origin)
    change = pd.Series(
        [int(record.get("looking") or 0) for record in records], index=[np.floor(float(record["t"]) - origin) for record in records]
    )
    return frame.assign(looking=frame["at"].map(change.groupby(level=0).sum()).fillna(0.0).astype(float))


def deeds_by_second(run: Run, origin: float) -> pd.DataFrame:
    """Columns at (whole seconds after `origin`), then the calls of each message type that were due in that second."""
    what = _types(run)
    due = [(float(t), what.get(int(n), "")) for n, t in zip(run.casts["n"], run.casts["due"], strict=True)]
    return _by_second(due, tuple(dict.fromkeys(TYPES.values())), origin)


def _by_second(moments: list[tuple[float, str]], names: tuple[str, ...], origin: float) -> pd.DataFrame:
    if not moments:
        return pd.DataFrame(columns=["at", *names], dtype=float)
    at = pd.Series(np.floor([t - origin for t, _ in moments]), name="at")
    counts = pd.crosstab(at, pd.Series([name for _, name in moments], name="what"))
    whole = counts.reindex(index=np.arange(at.min(), at.max() + 1.0), columns=list(names), fill_value=0)
    whole.index.name, whole.columns.name = "at", None
    return whole.reset_index().astype(float)
