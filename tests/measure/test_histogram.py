"""The histogram agrees with the library one sample at a time, with exact order statistics, and with itself when split."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.measure.histogram import LONGEST, SHORTEST, Histogram, Interval

Samples = npt.NDArray[np.int64]

# Cells change their width at powers of two: values beside them are drawn one by one, the mass comes from a seed.
EDGES = sorted({value for bits in range(33) for value in ((1 << bits) - 1, 1 << bits, (1 << bits) + 1) if SHORTEST <= value <= LONGEST})


def samples_of(least: int) -> st.SearchStrategy[Samples]:
    def build(seed: int, size: int, edges: list[int]) -> Samples:
        mass = np.exp(np.random.default_rng(seed).uniform(0, math.log(LONGEST), size))
        return np.concatenate([np.rint(mass).astype(np.int64), np.array(edges, np.int64)])

    edges = st.lists(st.sampled_from([*EDGES, LONGEST]), min_size=least, max_size=least + 8)
    return st.builds(build, st.integers(0, 2**32), st.integers(0, 200), edges)


SAMPLES = samples_of(1)
ANY_SAMPLES = samples_of(0)
QUANTILE = st.integers(0, 1000)


def of(samples: npt.ArrayLike) -> Histogram:
    histogram = Histogram()
    histogram.record(samples)
    return histogram


@settings(max_examples=50)
@given(SAMPLES)
def test_bulk_is_the_library_one_sample_at_a_time(samples: Samples) -> None:
    library = HdrHistogram(SHORTEST, LONGEST, 3)
    for value in samples.tolist():
        assert library.record_value(value)
    ours = of(samples)
    assert ours.encode() == library.encode().decode()
    assert ours.count == library.get_total_count() == samples.size
    assert (ours.min, ours.max) == (library.get_min_value(), library.get_max_value())
    assert ours.mean == pytest.approx(samples.mean(), rel=5e-4)


@settings(max_examples=50)
@given(st.lists(ANY_SAMPLES, max_size=4))
def test_merged_parts_are_the_whole(parts: list[Samples]) -> None:
    merged, added = Histogram(), Histogram()
    for part in parts:
        merged.merge(of(part))
        added.record(part)
    whole = of(np.concatenate([*parts, np.empty(0, np.int64)]))
    assert merged == added == whole
    assert merged.count == whole.count == sum(part.size for part in parts)
    assert (merged.min, merged.max, merged.mean) == (whole.min, whole.max, whole.mean)
    assert merged.encode() == whole.encode()


@settings(max_examples=50)
@given(ANY_SAMPLES, ANY_SAMPLES)
def test_encoding_loses_nothing_and_the_decoded_can_go_on(samples: Samples, more: Samples) -> None:
    histogram = of(samples)
    again = Histogram.decode(histogram.encode())
    assert again == histogram
    assert (again.count, again.min, again.max, again.mean) == (histogram.count, histogram.min, histogram.max, histogram.mean)
    again.record(more)
    histogram.record(more)
    assert again == histogram
    assert again.count == histogram.count


@given(SAMPLES, QUANTILE)
def test_a_quantile_is_the_order_statistic_and_at_most_a_thousandth_more(samples: Samples, thousandths: int) -> None:
    rank = max(1, math.ceil(Fraction(thousandths, 1000) * samples.size))
    exact = int(np.sort(samples)[rank - 1])
    value = of(samples).quantile(thousandths / 1000)
    assert value is not None
    assert exact <= value <= exact * 1.001


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_of_a_big_sample_are_numpys(seed: int) -> None:
    samples = np.rint(np.random.default_rng(seed).lognormal(9, 1.5, 99_991)).astype(np.int64)
    shares = [0.5, 0.9, 0.99, 0.999, 0.9999]
    numpys = np.quantile(samples, shares, method="inverted_cdf")
    assert of(samples).quantiles(shares) == pytest.approx(numpys.tolist(), rel=1e-3)


@given(SAMPLES, st.lists(QUANTILE, min_size=2, max_size=6))
def test_quantiles_rise_within_min_and_max(samples: Samples, thousandths: list[int]) -> None:
    histogram = of(samples)
    values = histogram.quantiles(sorted(q / 1000 for q in thousandths))
    assert all(value is not None for value in values)
    numbers = [value for value in values if value is not None]
    assert numbers == sorted(numbers)
    assert histogram.quantile(1.0) == histogram.max
    assert histogram.min is not None
    assert numbers[0] >= histogram.min


def test_an_empty_histogram_has_no_figures_rather_than_zeros() -> None:
    empty = Histogram()
    empty.record([])
    empty.merge(Histogram())
    for histogram in (empty, Histogram.decode(empty.encode())):
        assert histogram.count == 0
        assert (histogram.min, histogram.max, histogram.mean) == (None, None, None)
        assert histogram.quantile(0.99) is None
        assert histogram.quantiles([0.0, 0.5, 1.0]) == [None, None, None]
        assert histogram.curve(10) == []
        assert histogram.quantile_interval(0.99) == Interval(None, None)


def test_what_lies_outside_counts_at_the_edge_and_is_told() -> None:
    histogram = of(np.array([-5.0, -0.2, 0.0, 0.4, 1.0, LONGEST + 1, math.inf]))
    assert (histogram.count, histogram.negative, histogram.saturated) == (7, 1, 2)
    assert histogram.quantile(5 / 7) == 1.0
    assert histogram.max == pytest.approx(LONGEST, rel=1e-3)
    other = of([-1])
    other.merge(histogram)
    assert (other.count, other.negative, other.saturated) == (8, 2, 2)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "u8", "f2", "f4", "f8"])
def test_every_number_type_counts_the_same(dtype: str) -> None:
    assert of(np.array([1, 5, 100], dtype=dtype)) == of([1, 5, 100])


def test_a_sample_that_is_no_number_is_refused_whole() -> None:
    histogram = Histogram()
    for wrong in ([1.0, math.nan], ["fast"], [True]):
        with pytest.raises(ValueError):
            histogram.record(wrong)
    assert histogram == Histogram()


def test_a_rank_that_floats_overshoot_is_not_the_next_one() -> None:
    assert 0.07 * 100 > 7
    assert of(np.arange(1, 101)).quantile(0.07) == 7


def test_figures_are_not_remembered_past_a_merge() -> None:
    histogram = of([10])
    assert histogram.quantile(1.0) == 10
    histogram.merge(of([20]))
    assert histogram.quantile(1.0) == 20


def test_a_copy_is_independent_and_clear_forgets_all() -> None:
    histogram = of([10, 20, -1])
    twin = histogram.copy()
    assert twin == histogram
    assert twin.quantile(1.0) == 20
    twin.record([30])
    assert twin != histogram
    assert twin.quantile(1.0) == 30  # figures are not remembered past a record
    assert histogram.quantile(1.0) == 20
    twin.clear()
    assert twin == Histogram()
    assert (twin.count, twin.negative, twin.min, twin.quantile(0.5)) == (0, 0, None, None)
    twin.record([7])
    assert (twin.min, twin.max, twin.quantile(0.5)) == (7, 7, 7)


@pytest.mark.parametrize("text", ["", "HISTF", "not base64 at all!", "AAAA", of([3]).encode()[:-8], "é"])
def test_text_that_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HdrHistogram"):
        Histogram.decode(text)


def test_a_histogram_of_another_precision_is_refused() -> None:
    for other in (HdrHistogram(1, LONGEST, 2), HdrHistogram(1, 1000, 3)):
        other.record_value(5)
        with pytest.raises(ValueError, match="another range or precision"):
            Histogram.decode(other.encode().decode())


@given(SAMPLES, st.integers(2, 60))
def test_the_curve_rises_and_never_says_more_than_the_sample(samples: Samples, points: int) -> None:
    histogram = of(samples)
    curve = histogram.curve(points)
    shares, values = [share for share, _ in curve], [value for _, value in curve]
    assert shares == sorted(set(shares))
    assert values == sorted(values)
    assert curve[0] == (0.0, histogram.quantile(0.0))
    assert all((1 - share) * samples.size >= 1 - 1e-5 for share in shares)


def test_the_curve_of_a_big_sample_ends_at_five_nines() -> None:
    curve = of(np.arange(1, 1_000_001)).curve(51)
    assert len(curve) == 51
    assert curve[-1][0] == pytest.approx(0.99999, abs=1e-12)
    assert curve[-1][1] == pytest.approx(999_990, rel=1e-3)


@settings(max_examples=50)
@given(st.integers(1, 80), st.integers(1, 99), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@example(1, 95, 0.9).via("a tail that is reached exactly, and not in floats")
def test_the_interval_has_the_exact_binomial_ranks(n: int, hundredths: int, confidence: float) -> None:
    # With the samples 1..n, every rank is its own value, so bounds are ranks and binomial sums can be done in fractions.
    q, tail = Fraction(hundredths, 100), (1 - Fraction(str(confidence))) / 2

    below = list(itertools.accumulate(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n)))
    low = max((rank for rank in range(1, n + 1) if below[rank - 1] <= tail), default=None)
    high = min((rank for rank in range(1, n + 1) if 1 - below[rank - 1] <= tail), default=None)
    assert of(np.arange(1, n + 1)).quantile_interval(hundredths / 100, confidence) == Interval(low, high)


def test_the_interval_of_a_big_sample_is_narrow_and_around_the_quantile() -> None:
    histogram = of(np.random.default_rng(3).lognormal(9, 1, 1_000_000))
    value, interval = histogram.quantile(0.99), histogram.quantile_interval(0.99)
    assert value is not None
    assert interval.low is not None
    assert interval.high is not None
    assert value * 0.98 < interval.low < value <= interval.high < value * 1.02


def test_quantiles_outside_their_range_are_refused() -> None:
    histogram = of([1])
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="shares"):
            histogram.quantile(wrong)
    for q, confidence in ((0.0, 0.95), (1.0, 0.95), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="between"):
            histogram.quantile_interval(q, confidence)
    with pytest.raises(ValueError, match="points"):
        histogram.curve(1)
