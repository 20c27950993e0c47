"""Thresholds of one's own: a TOML file of lines such as "latency.p99 < 3s", each judged like a benchmark.

    contract = true                                     # keep judging by the contract as well; false: only by these lines
    require = ["latency.p99 < 500ms", "delivery.lost == 0", "memory.each <= 4KB"]

A copy lies in the run folder, so that a run is judged again by the thresholds it was made with. What figures there are is not known here:
`harness.figure_names` says it before a run, and the analysis and the live page hand them over by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.verdict import THRESHOLDS, Benchmark, Verdict, room_below
from harness.words import in_unit
from schemas import Benchmarks

__all__ = [
    "FILE",
    "Metric",
    "Threshold",
    "Thresholds",
    "contract_thresholds",
    "keep_thresholds",
    "read_thresholds",
    "required_of",
    "thresholds_in",
    "unshown",
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
    "most per second": {"": 1.0, "/s": 1.0},
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

    def check(self, units: Mapping[str, str | None]) -> None:
        """Raise UsageError for a name that is not among these, or a suffix that is none of its unit (None: not known before the run)."""
        if self.metric not in units:
            near = difflib.get_close_matches(self.metric, units, n=3)
            do = f"did you mean {' or '.join(near)}?" if near else f"this run has: {', '.join(sorted(units))}"
            raise UsageError(f"there is no figure {self.metric!r}", self.text, do)
        unit = units[self.metric]
        if unit is not None:
            self.limit(unit)
        elif not any(self.suffix in scales for scales in _SCALES.values()):
            allowed = ", ".join(dict.fromkeys(name for scales in _SCALES.values() for name in scales if name))
            raise UsageError(f"{self.suffix!r} is no unit", self.text, f"use one of: {allowed}, or none")

    def judge(self, place: int, metrics: Mapping[str, Metric]) -> Benchmark:
        """As a benchmark. A figure that the run does not have is INCONCLUSIVE. Raises UsageError for a name that no run has."""
        self.check({name: metric.unit or None for name, metric in metrics.items()})
        metric = metrics[self.metric]
        limit, value = self.limit(metric.unit), metric.value
        verdict, detail = Verdict.INCONCLUSIVE, f"This run has no {self.metric}."
        remedy = "Give the run what this figure takes (`roadmap-harness doctor` tries each hook of a profile), or leave the line out."
        if value is not None and math.isfinite(value) and metric.samples:
            holds = self.holds(value, metric.unit)
            verdict = Verdict.PASS if holds else Verdict.FAIL
            detail = f"{self.metric} is {in_unit(value, metric.unit)}; asked was: {self.text.strip()}."
            remedy = "" if holds else "See this figure's own section below, or change the line in the file of thresholds."
        margin = room_below(limit, value) if self.sign in ("<", "<=") else None
        name = f"threshold_{place}"
        return Benchmark(
            name, self.text.strip(), "", THRESHOLDS, limit, value, metric.unit, margin, verdict, metric.samples, detail, remedy
        )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A whole file. contract: whether the contract's own benchmarks go on to judge."""

    contract: bool
    lines: tuple[Threshold, ...]

    def check(self, units: Mapping[str, str | None]) -> None:
        """Before a run that will have figures of these names and units. Raises UsageError as `Threshold.check` does."""
        for line in self.lines:
            line.check(units)

    def judge(self, metrics: Mapping[str, Metric], benchmarks: Sequence[Benchmark]) -> tuple[Benchmark, ...]:
        """Each line, and after them the contract's benchmarks: as they are, or not judged where only the lines judge."""
        own = (line.judge(place, metrics) for place, line in enumerate(self.lines, 1))
        return (*own, *(benchmarks if self.contract else map(_set_aside, benchmarks)))


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


def required_of(benchmarks: Iterable[Benchmark]) -> tuple[Benchmark, ...]:
    """Those that are lines of one's own: who asked for them is not content with a run that cannot tell."""
    return tuple(benchmark for benchmark in benchmarks if benchmark.section == THRESHOLDS)


def unshown(benchmarks: Iterable[Benchmark]) -> str:
    """In one sentence, which lines of one's own a run could not tell; empty where it told all of them."""
    missing = [benchmark.title for benchmark in required_of(benchmarks) if benchmark.verdict is Verdict.INCONCLUSIVE]
    if not missing:
        return ""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"A threshold that was asked for could not be judged: {missing[0]}{more}; the run does not have that figure."


def _set_aside(benchmark: Benchmark) -> Benchmark:
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
