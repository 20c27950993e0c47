"""index.html of a reports folder: every run with its verdict and a way to its page, and how the numbers went from run to run.

One file without a script, like the pages that it links to. It is written anew after each run, and can be made again at any time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from harness import words
from harness.errors import UsageError
from harness.report.shelf import Group, Run, Shown, groups, read_shelf
from harness.report.shell import style, template
from harness.run_folder import is_run_name, write_whole

__all__ = ["index_html", "shelve", "write_index"]

_LISTED = 400
_IN_TREND = 40
_WIDE, _HIGH, _EDGE = 160.0, 34.0, 4.0


@dataclass(frozen=True, slots=True)
class Trend:
    """One number over the runs of a group: its line as points of an SVG, the last value, and all of them in words."""

    title: str
    points: tuple[tuple[float, float, bool], ...]
    limit: float | None
    last: str
    before: str
    says: str


def write_index(reports: Path) -> Path:
    """Write index.html over the runs of a folder, whole or not at all, and answer its path. Raises UsageError without such a folder."""
    if not reports.is_dir():
        raise UsageError("there is no folder of reports", str(reports), "make a run first, or name the folder with --reports")
    path = reports / "index.html"
    write_whole(path, index_html(read_shelf(reports)).encode())
    return path


def shelve(folder: Path) -> None:
    """Bring the index up to date after a run, where its folder is one among others of ours. It never spoils the run that was made: what
    goes wrong is said on standard error."""
    folder = Path(folder).resolve()
    if not is_run_name(folder.name):
        return
    try:
        write_index(folder.parent)
    except OSError as error:
        print(f"the index of {folder.parent} could not be written ({error.strerror}); the run is not affected", file=sys.stderr)


def index_html(runs: list[Run]) -> str:
    """The page as text."""
    trends = [(group, _trends(group)) for group in groups(runs)]
    return template(
        "index.html.j2"
    ).render(
        css=Markup(style()),  # noqa: S704 - our own file
        runs=runs[:_LISTED],
        left=max(0, len(runs) - _LISTED),
        trends=trends,
        words=words,
        size=(_WIDE, _HIGH),
    )


def _trends(group: Group) -> list[Trend]:
    runs = group.runs[-_IN_TREND:]
    return [_trend(number, [(run, _find(run, number.id)) for run in runs]) for number in runs[-1].numbers]


def _find(run: Run, id_: str) -> Shown | None:
    return next((each for each in run.numbers if each.id == id_), None)


def _trend(last: Shown, series: list[tuple[Run, Shown | None]]) -> Trend:
    there = [(run, shown) for run, shown in series if shown is not None]
    values = [shown.value for _, shown in there]
    low, high = min(values), max(values)
    # A limit that is far away would flatten the line: it is drawn where it is near enough to be threatened.
    near = last.limit is not None and low - (high - low) - abs(last.limit) <= last.limit <= max(high * 2.0, high + (high - low))
    if near and last.limit is not None:
        low, high = min(low, last.limit), max(high, last.limit)
    width = (_WIDE - 2 * _EDGE) / max(1, len(there) - 1)

    def place(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(_HIGH - _EDGE - share * (_HIGH - 2 * _EDGE), 1)

    points = tuple((round(_EDGE + index * width, 1), place(shown.value), shown.verdict == "FAIL") for index, (_, shown) in enumerate(there))
    told = "; ".join(f"{words.moment(run.started)}: {_value(shown)}" for run, shown in there)
    return Trend(
        title=last.title,
        points=points,
        limit=place(last.limit) if near and last.limit is not None else None,
        last=_value(last),
        before=_value(there[-2][1]) if len(there) > 1 else "",
        says=f"{last.title}: {told}",
    )


def _value(shown: Shown) -> str:
    return words.in_unit(shown.value, shown.unit)
