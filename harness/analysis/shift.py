"""Did a quantile move from one stretch of time to another, and by how much: a difference with its confidence interval.

Deliveries of one second share its fate, so seconds are what is drawn again (a bootstrap of blocks of neighbouring seconds; Kunsch 1989),
never single deliveries: ten thousand of them in one bad second are one observation, not ten thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.measure.histogram import Histogram

__all__ = ["Shift", "shift_of"]

_DRAWS = 600
_BLOCK = 2  # seconds that are drawn together
_LEAST = 3  # blocks on either side: with fewer there is no spread to speak of
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Shift:
    """Seconds. `low` and `high`: the 95 % interval of `difference` (after less before), None where there is too little for one;
    `blocks` counts the independent observations on the two sides, `n` the samples."""

    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    blocks: tuple[int, int]
    n: tuple[int, int]


def shift_of(before: Sequence[Histogram], after: Sequence[Histogram], q: float, seed: int = 1) -> Shift | None:
    """Compare quantile `q` of two stretches, each given as one histogram (microseconds) a second; None when one of them is empty."""
    one, other = _blocks(before), _blocks(after)
    if not one or not other:
        return None
    cells = np.unique(np.concatenate([each.cells()[0] for each in (*one, *other)]))
    left, right = _matrix(one, cells), _matrix(other, cells)
    start, end = (float(_quantile(counts.sum(axis=0, keepdims=True), cells, q)[0]) * _MICRO for counts in (left, right))
    low = high = None
    if min(len(one), len(other)) >= _LEAST:
        rng = np.random.default_rng(seed)
        drawn = _drawn(right, cells, q, rng) - _drawn(left, cells, q, rng)
        low, high = (float(bound) * _MICRO for bound in np.quantile(drawn, (0.025, 0.975)))
    return Shift(start, end, end - start, low, high, (len(one), len(other)), (int(left.sum()), int(right.sum())))


def _blocks(seconds: Sequence[Histogram]) -> list[Histogram]:
    filled = [each for each in seconds if each.count]
    size = _BLOCK if len(filled) >= _BLOCK * _LEAST else 1
    blocks = []
    for start in range(0, len(filled), size):
        block = filled[start].copy()
        for other in filled[start + 1 : start + size]:
            block.merge(other)
        blocks.append(block)
    return blocks


def _matrix(blocks: Sequence[Histogram], cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    matrix = np.zeros((len(blocks), len(cells)))
    for row, block in zip(matrix, blocks, strict=True):
        values, counts = block.cells()
        row[np.searchsorted(cells, values)] = counts
    return matrix


def _drawn(matrix: npt.NDArray[np.float64], cells: npt.NDArray[np.float64], q: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    blocks = len(matrix)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=_DRAWS).astype(np.float64)
    return _quantile(weights @ matrix, cells, q)


def _quantile(counts: npt.NDArray[np.float64], cells: npt.NDArray[np.float64], q: float) -> npt.NDArray[np.float64]:
    """Of each row: the value of the cell that holds the sample of that rank."""
    below = np.cumsum(counts, axis=1)
    ranks = np.maximum(1.0, np.ceil(np.round(below[:, -1:] * q, 6)))
    found: npt.NDArray[np.float64] = cells[np.argmax(below >= ranks, axis=1)]
    return found
