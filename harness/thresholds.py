"""Thresholds of one's own: a TOML file of lines such as "latency.p99 < 3s", each judged like a benchmark.

    contract = true                                     # keep judging by the contract as well; false: only by these lines
    require = ["latency.p99 < 500ms", "delivery.lost == 0", "memory.each <= 4KB"]

A copy lies in the run folder, so that a run is judged again by the thresholds it was made with. What figures there are is not known here:
the analysis hands them over by name, and so does the live page.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.verdict import Benchmark, Verdict, room_below
from schemas import Benchmarks

__all__ = [
    "FILE",
    "Metric",
    "Threshold",
    "Thresholds",
    "contract_thresholds",
    "keep_thresholds",
    "read_thresholds",
    "set_aside",
    "thresholds_in",
]

FILE = "thresholds.toml"
"""Its name in a run folder."""

_LINE = re.compile(r"\s*([a-z_]+\.[a-z0-9_]+)\s*(<=|>=|==|!=|<|>)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zA-Zµ%/]*)\s*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_SCALES: Mapping[str, Mapping[str, float]] = {
    "s": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0},
    "bytes": {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    "ratio": {"": 1.0, "%": 0.01},
    "per second": {"": 1.0, "/s": 1.0},
    "count": {"": 1.0},
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: in "s", "bytes", "count", "ratio" or "per second", with the number of samples behind it."""

    value: float | None
    unit: str
    samples: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """One line: `limit` in the metric's own unit is `number` times what `suffix` stands for."""

    text: str
    metric: str
    sign: str
    number: float
    suffix: str

    def limit(self, unit: str) -> float:
        """Raises UsageError when the suffix is none of the metric's."""
        scales = _SCALES.get(unit, _SCALES["count"])
        if self.suffix not in scales:
            allowed = ", ".join(repr(name) if name else "none" for name in scales)
            raise UsageError(f"{self.suffix!r} is no unit of {self.metric}", self.text, f"use one of: {allowed}")
        return self.number * scales[self.suffix]

    def holds(self, value: float, unit: str) -> bool:
        """Whether a figure in its own unit keeps the line. Raises UsageError as `limit` does."""
        return _COMPARE[self.sign](value, self.limit(unit))

    def judge(self, place: int, metrics: Mapping[str, Metric]) -> Benchmark:
        """As a benchmark. A figure that the run does not have is INCONCLUSIVE. Raises UsageError for a name that no run has."""
        metric = metrics.get(self.metric)
        if metric is None:
            near = difflib.get_close_matches(self.metric, metrics, n=3)
            do = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(f"there is no figure {self.metric!r}", self.text, f"{do}This run has: {', '.join(sorted(metrics))}")
        limit, value = self.limit(metric.unit), metric.value
        verdict, detail, remedy = Verdict.INCONCLUSIVE, f"This run has no {self.metric}.", ""
        if value is not None and math.isfinite(value) and metric.samples:
            holds = self.holds(value, metric.unit)
            verdict = Verdict.PASS if holds else Verdict.FAIL
            detail = f"{self.metric} is {value:g}{' ' + metric.unit if metric.unit != 'count' else ''}; asked was: {self.text.strip()}."
            remedy = "" if holds else "See this figure's own section below, or change the line in the file of thresholds."
        margin = room_below(limit, value) if self.sign in ("<", "<=") else None
        name = f"threshold_{place}"
        return Benchmark(
            name, self.text.strip(), "", "Thresholds", limit, value, metric.unit, margin, verdict, metric.samples, detail, remedy
        )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A whole file. contract: whether the contract's own benchmarks go on to judge."""

    contract: bool
    lines: tuple[Threshold, ...]

    def judge(self, metrics: Mapping[str, Metric]) -> tuple[Benchmark, ...]:
        """Each line."""
        return tuple(line.judge(place, metrics) for place, line in enumerate(self.lines, 1))


def read_thresholds(path: Path) -> Thresholds:
    """Raises UsageError, naming the file and the line, for what is not a file of thresholds."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"it cannot be read ({error.strerror})", str(path), "name a file of thresholds") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"it is not TOML ({error})", str(path), "mend it; `roadmap-harness thresholds` prints one to begin with"
        ) from error
    unknown = sorted(set(data) - {"contract", "require"})
    contract, require = data.get("contract", True), data.get("require", [])
    if unknown or not isinstance(contract, bool) or not isinstance(require, list) or not all(isinstance(line, str) for line in require):
        what = f"there is no key {unknown[0]!r}" if unknown else "contract must be true or false, and require a list of texts"
        raise UsageError(what, str(path), 'write: contract = true, and require = ["latency.p99 < 3s", ...]')
    if not contract and not require:
        raise UsageError("nothing would be judged", str(path), "give at least one line under require, or leave contract = true")
    return Thresholds(contract, tuple(_line(text, path) for text in require))


def keep_thresholds(file: Path, folder: Path) -> None:
    """Lay a copy into a run folder, which is judged by it from then on. Raises UsageError as `read_thresholds` does."""
    read_thresholds(file)
    (folder / FILE).write_bytes(file.read_bytes())


def thresholds_in(folder: Path) -> Thresholds | None:
    """Those by which a run folder is judged; None where nobody asked for any. Raises UsageError as `read_thresholds` does."""
    file = folder / FILE
    return read_thresholds(file) if file.is_file() else None


def _line(text: str, path: Path) -> Threshold:
    found = _LINE.fullmatch(text)
    if found is None:
        do = 'write a name, a sign (<, <=, >, >=, ==, !=) and a number with its unit, such as "latency.p99 < 3s"'
        raise UsageError(f"{text!r} is not a threshold", str(path), do)
    name, sign, number, suffix = found.groups()
    return Threshold(text, name, sign, float(number.replace("_", "")), suffix)


def set_aside(benchmark: Benchmark) -> Benchmark:
    """A benchmark of the contract where only thresholds judge: its reading stays."""
    judged = benchmark.verdict in (Verdict.PASS, Verdict.WARN, Verdict.FAIL)
    return dataclasses.replace(benchmark, verdict=Verdict.INFO, remedy="") if judged else benchmark


def contract_thresholds(limits: Benchmarks) -> str:
    """The contract's benchmarks as a file of thresholds, to begin one's own with."""
    lines = (
        f"latency.p99 < {limits.latency:g}s",
        f"stamped.p99 < {limits.latency:g}s",
        f"connections.held >= {limits.connections}",
        "connections.unexpected == 0",
        f"broadcasts.rate >= {0.99 * limits.broadcasts_per_second:g}/s",
        "delivery.lost == 0",
        "delivery.misdirected == 0",
        "delivery.duplicated == 0",
        "delivery.reordered == 0",
        "frames.invalid == 0",
        f"memory.low <= {limits.bytes_per_connection / 1e3:g}KB",
    )
    quoted = "".join(f'  "{line}",\n' for line in lines)
    return f"# The contract's own limits. Units: us ms s min, B KB MB GB, %, /s.\ncontract = true\nrequire = [\n{quoted}]\n"
