"""Latencies as an HdrHistogram: microseconds from 1 us to 1 hour at 3 significant digits, filled by numpy in bulk.

The library keeps and encodes the counters (HdrHistogram V2, base64), so any HdrHistogram tool reads our journals; here
they are filled and read through a numpy view of the same memory. An empty histogram has no quantiles: None, never 0.
"""

from __future__ import annotations

import binascii
import math
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram

__all__ = ["LONGEST", "SHORTEST", "Histogram", "Interval"]

SHORTEST = 1
"""Microseconds: the least that is told from nothing. Shorter samples count as this."""

LONGEST = 3_600_000_000
"""Microseconds: one hour. Longer samples count as this, and are counted in `saturated`."""

_DIGITS = 3
_ROUNDING = 1e-9  # of the floats in a sum of binomial probabilities: a tail that is reached exactly is reached
_CURVE_END = 5  # decades: 1 - 10**-5 is the 99.999th percentile
_BROKEN = (HdrCookieException, HdrLengthException, HdrHistogramSettingsException, binascii.Error, zlib.error)


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a quantile, microseconds. None on a side that a sample of this size cannot bound."""

    low: float | None
    high: float | None


class Histogram:
    """Counts of latencies. `negative` (samples below 0) and `saturated` are of this process: `encode` leaves them out."""

    __slots__ = ("_counts", "_cumulated", "_hdr", "negative", "saturated")

    def __init__(self) -> None:
        self._adopt(HdrHistogram(SHORTEST, LONGEST, _DIGITS))
        self.negative = 0
        self.saturated = 0

    def _adopt(self, hdr: Any) -> None:
        self._hdr = hdr
        self._counts: npt.NDArray[np.uint64] = np.frombuffer(hdr.counts, dtype=np.uint64)
        self._cumulated: npt.NDArray[np.uint64] | None = None

    def record(self, us: npt.ArrayLike) -> None:
        """Add samples, microseconds, of any real dtype (fractions are rounded). Raises ValueError when one is NaN."""
        samples = np.asarray(us).ravel()
        if not samples.size:
            return
        if samples.dtype.kind not in "fiu":
            raise ValueError(f"latencies are numbers, not {samples.dtype}")
        if samples.dtype.kind == "f":
            samples = np.rint(samples.astype(np.float64, copy=False))
            if np.isnan(samples).any():
                raise ValueError("a latency is NaN: leave out what did not arrive")
        elif samples.dtype != np.uint64:
            samples = samples.astype(np.int64, copy=False)
        self.negative += int(np.count_nonzero(samples < 0))
        self.saturated += int(np.count_nonzero(samples > LONGEST))
        values = np.clip(samples, SHORTEST, LONGEST).astype(np.int64)
        found = np.bincount(self._index(values)).astype(np.uint64)
        self._counts[: found.size] += found
        self._cumulated = None
        hdr = self._hdr
        hdr.total_count += values.size
        hdr.min_value = min(hdr.min_value, int(values.min()))
        hdr.max_value = max(hdr.max_value, int(values.max()))

    def _index(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        # HdrHistogram's own index: buckets double in width, each after the first has half a bucket of new cells.
        half_bits = self._hdr.sub_bucket_half_count_magnitude
        bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
        bucket = np.maximum(bits - (half_bits + 1), 0)
        index: npt.NDArray[np.int64] = (bucket << half_bits) + (values >> bucket)
        return index

    def merge(self, other: Histogram) -> None:
        """Add all of another's counts to this one."""
        self.negative += other.negative
        self.saturated += other.saturated
        if other.count:
            self._hdr.add(other._hdr)
            self._cumulated = None

    def copy(self) -> Self:
        """An independent histogram with the same counts."""
        twin = type(self)()
        twin.merge(self)
        return twin

    def clear(self) -> None:
        """Forget everything."""
        # The library's own reset walks the counters one by one in Python.
        self._counts[:] = 0
        self._cumulated = None
        self._hdr.total_count = self._hdr.max_value = 0
        self._hdr.min_value = sys.maxsize
        self.negative = self.saturated = 0

    def encode(self) -> str:
        """HdrHistogram V2, compressed, base64: text of a few hundred to a few thousand bytes."""
        return str(self._hdr.encode().decode("ascii"))

    @classmethod
    def decode(cls, text: str) -> Self:
        """What `encode` gave. Raises ValueError for anything else."""
        try:
            hdr = HdrHistogram.decode(text.encode("ascii"))
        except (*_BROKEN, ValueError) as error:
            raise ValueError(f"not an HdrHistogram in base64: {text[:20]!r}...") from error
        mine = cls()
        same = ("lowest_trackable_value", "highest_trackable_value", "significant_figures")
        if any(getattr(hdr, name) != getattr(mine._hdr, name) for name in same):
            raise ValueError("an HdrHistogram of another range or precision: its readings cannot be added to ours")
        mine._adopt(hdr)
        return mine

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return bool(np.array_equal(self._counts, other._counts))

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min={self.min}, max={self.max})"

    @property
    def count(self) -> int:
        """How many samples there are."""
        return int(self._hdr.total_count)

    @property
    def min(self) -> float | None:
        """Microseconds, at most 0.1 % below the least sample; None when empty."""
        return float(self._hdr.get_min_value()) if self.count else None

    @property
    def max(self) -> float | None:
        """Microseconds, at most 0.1 % above the greatest sample; None when empty."""
        return float(self._hdr.get_max_value()) if self.count else None

    @property
    def mean(self) -> float | None:
        """Microseconds, within 0.05 % of the samples' mean; None when empty."""
        if not self.count:
            return None
        cells = np.flatnonzero(self._counts)
        low, high = self._edges(cells)
        return float(np.average((low + high) / 2, weights=self._counts[cells]))

    def _edges(self, cells: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        half_bits = self._hdr.sub_bucket_half_count_magnitude
        bucket = np.maximum((cells >> half_bits) - 1, 0)
        low = (cells - (bucket << half_bits)) << bucket
        return low, low + (1 << bucket) - 1

    def cells(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The counting cells in use, in rising order: their upper ends (microseconds) and how many samples each holds."""
        used = np.flatnonzero(self._counts)
        return self._edges(used)[1].astype(np.float64), self._counts[used].astype(np.int64)

    def quantile(self, q: float) -> float | None:
        """Microseconds: the least value that at least a share q (0..1) of the samples does not exceed; None when empty.

        At most 0.1 % above the sample itself, never below. Raises ValueError unless 0 <= q <= 1.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Iterable[float]) -> list[float | None]:
        """`quantile` of each."""
        wanted = list(qs)
        if any(not 0 <= q <= 1 for q in wanted):
            raise ValueError(f"quantiles are shares from 0 to 1, not {wanted}")
        if not self.count:
            return [None] * len(wanted)
        return [self._at_rank(max(1, _ceil(q * self.count)))[1] for q in wanted]

    def _at_rank(self, rank: int) -> tuple[float, float]:
        """The cell (microseconds, both ends included) of the sample of that rank, 1 being the least."""
        if self._cumulated is None:
            self._cumulated = np.cumsum(self._counts)
        cell = np.searchsorted(self._cumulated, np.uint64(rank))
        low, high = self._edges(np.asarray([cell]))
        return float(low[0]), float(high[0])

    def curve(self, points: int) -> list[tuple[float, float]]:
        """(share, microseconds) pairs for a plot of quantiles, evenly spaced in the number of nines up to 99.999 %.

        It ends where a single sample would decide: no point says more than the sample does. Empty when there is none.
        """
        if points < 2:
            raise ValueError(f"{points} points: a curve needs at least 2")
        shares = [1 - 10 ** (-_CURVE_END * step / (points - 1)) for step in range(points)]
        shares = [share for share in shares if round((1 - share) * self.count, 6) >= 1]
        return [(share, value) for share, value in zip(shares, self.quantiles(shares), strict=True) if value is not None]

    def quantile_interval(self, q: float, confidence: float = 0.95) -> Interval:
        """Where the quantile of the population lies, given that the samples are independent of each other.

        Order statistics: whatever the distribution, the number of samples at or below its quantile is binomial (Hahn and
        Meeker, Statistical Intervals, 5.2). Deliveries of one broadcast are not independent: for those it is too narrow.
        """
        if not (0 < q < 1 and 0 < confidence < 1):
            raise ValueError(f"q is {q}, confidence {confidence}: both must lie between 0 and 1")
        low, high = _ranks(self.count, q, (1 - confidence) / 2)
        # Outward to the edges of the counting cells, or the interval would be narrower than the histogram's own precision.
        return Interval(
            None if low is None else self._at_rank(low)[0],
            None if high is None else self._at_rank(high)[1],
        )


def _ceil(rank: float) -> int:
    # 0.07 * 100 is 7.000000000000001 in floats and must be rank 7.
    return math.ceil(round(rank, 6))


def _ranks(n: int, q: float, tail: float) -> tuple[int | None, int | None]:
    """The greatest rank that exceeds the quantile with a chance of at most `tail`, and the least that falls short of it."""
    if not n:
        return None, None
    # The binomial probabilities within 12 standard deviations of the mean, from their ratios: beyond lies less than 1e-30.
    reach = math.ceil(12 * math.sqrt(n * q * (1 - q))) + 40
    first, last = max(0, math.floor(n * q) - reach), min(n, math.ceil(n * q) + reach)
    k = np.arange(first, last)
    logs = np.concatenate(([0.0], np.cumsum(np.log((n - k) / (k + 1)) + math.log(q / (1 - q)))))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    # The l-th least sample exceeds the quantile when fewer than l samples are at or below it; the u-th falls short when u are.
    below = np.cumsum(weights)
    tail *= 1 + _ROUNDING
    low = first + int(np.count_nonzero(below <= tail))
    above = np.cumsum(weights[::-1])[::-1]
    high = last + 1 - int(np.count_nonzero(above <= tail))
    return (low if low >= 1 else None), (high if high <= n else None)
