"""Numbers as a reader wants them: a unit that fits, three digits that mean something, and a dash for what is not there.

A missing number is never shown as 0.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from harness.verdict import THRESHOLDS, Benchmark

__all__ = ["MISSING", "count", "in_unit", "limit", "margin", "measured", "moment", "percent", "size", "span", "time", "visible"]

MISSING = "–"
_SIGN = re.compile("[<>=!]=?")
_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}
_NARROW = "\u202f"
# Controls, format characters that reorder or hide text (bidirectional marks, zero widths), and halves of surrogate pairs.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with every character that a reader would not see, or that would move what he sees, written as its number."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def time(seconds: float | None) -> str:
    """Seconds, milliseconds or microseconds, to three digits."""
    if seconds is None:
        return MISSING
    size = abs(seconds)
    if size >= 1.0 or size == 0.0:
        return f"{_three(seconds)}{_NARROW}s"
    if size >= 1e-3:
        return f"{_three(seconds * 1e3)}{_NARROW}ms"
    return f"{_three(seconds * 1e6)}{_NARROW}µs"


def size(value: float | None) -> str:
    """Bytes in decimal kilobytes and megabytes, as the contract's "~10KB" is read."""
    if value is None:
        return MISSING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if abs(value) >= scale:
            return f"{_three(value / scale)}{_NARROW}{unit}"
    return f"{value:.0f}{_NARROW}B"


def count(value: float | None) -> str:
    """A whole number in groups of three, or up to two decimals where it is not whole."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def percent(share: float | None) -> str:
    """A share as per cent. What is short of all is never rounded up to 100 %, and what is more than none never down to 0 %."""
    if share is None:
        return MISSING
    text = f"{share * 100:.2f}".rstrip("0").rstrip(".")
    if text == "100" and share < 1:
        text = f">{_NARROW}99.99"
    elif text == "0" and share > 0:
        text = f"<{_NARROW}0.01"
    return f"{text}{_NARROW}%"


def span(seconds: float) -> str:
    """How long something lasted: 65 s, 10 min 5 s, 1 h 2 min."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(t: float) -> str:
    """Date and time in UTC."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def measured(benchmark: Benchmark) -> str:
    """What a benchmark measured, in its unit."""
    return in_unit(benchmark.measured, benchmark.unit)


def limit(benchmark: Benchmark) -> str:
    """What the contract, or a line of one's own, allows, with the side on which it holds."""
    if benchmark.limit is None:
        return MISSING
    value = in_unit(benchmark.limit, benchmark.unit)
    if benchmark.section == THRESHOLDS:
        (sign,) = _SIGN.findall(benchmark.title)
        return f"{_SIGNS.get(sign, sign)} {value}"
    match benchmark.unit:
        case "s":
            return f"< {value}"
        case "bytes":
            return f"about {value}"
        case "count" | "ratio":
            return value
        case "most per second":
            return f"≤ {value}"
        case _:
            return f"≥ {value}"


def margin(benchmark: Benchmark) -> str:
    """The room that is left (+) or lacking (-), as per cent of the limit."""
    if benchmark.margin is None:
        return MISSING
    share = benchmark.margin * 100
    text = f"{abs(share):.0f}" if abs(share) >= 10 or share == 0 else f"{abs(share):.2g}"
    sign = "−" if share < 0 else "+" if share > 0 else ""
    if text == "100" and abs(share) < 100:
        return f"> {sign}99{_NARROW}%"
    return f"{sign}{text}{_NARROW}%"


def in_unit(value: float | None, unit: str) -> str:
    """A value in the unit of a benchmark."""
    if value is None:
        return MISSING
    match unit:
        case "s":
            return time(value)
        case "bytes":
            return size(value)
        case "ratio":
            return percent(value)
        case "per second" | "most per second":
            return f"{count(value)}/s"
        case _:
            return count(value)


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")
