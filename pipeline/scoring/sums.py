"""Sums of doubles without rounding, so that they do not depend on how rows were split in blocks.

A double is a 53-bit integer times a power of two. The integers are added per exponent in machine
words, and the few results as Python integers, in units of 2**-1127, below
the smallest double. The idea is Neal's superaccumulator, https://arxiv.org/abs/1505.05571.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

_UNIT = 1074 + 53
_HALF = 2**27
_CHUNK = 2**24
"""Rows added at once: 2**24 halves below 2**27 stay below 2**53, where doubles count exactly."""


def exact_sums(
    values: npt.NDArray[np.float64], codes: npt.NDArray[np.int64], n_groups: int
) -> list[int]:
    """The sum of each group, in units of 2**-1127.

    Args:
        values: (n_samples,) finite.
        codes: (n_samples,) group of each value, from 0 to ``n_groups - 1``.
        n_groups: how many groups there are.

    Raises:
        OverflowError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise OverflowError("only finite values can be summed exactly")
    sums = [0] * n_groups
    for start in range(0, len(values), _CHUNK):
        part = slice(start, start + _CHUNK)
        _add(sums, values[part], codes[part])
    return sums


def value(total: int) -> Fraction:
    """A sum as a number."""
    return Fraction(total, 2**_UNIT)


def _add(sums: list[int], values: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> None:
    if not len(values):
        return
    mantissas, exponents = np.frexp(values)
    integers = (mantissas * 2.0**53).astype(np.int64)
    lowest = int(exponents.min())
    span = int(exponents.max()) - lowest + 1
    cells = codes * span + (exponents - lowest)
    names = None
    if len(sums) * span > 4 * len(values):  # few of the cells are used: number those alone
        names, cells = np.unique(cells, return_inverse=True)
    high, low = integers >> 27, integers & (_HALF - 1)
    highs, lows = np.bincount(cells, weights=high), np.bincount(cells, weights=low)
    for at in np.flatnonzero((highs != 0) | (lows != 0)).tolist():
        group, above = divmod(at if names is None else int(names[at]), span)
        total = int(highs[at]) * _HALF + int(lows[at])
        sums[group] += total << (lowest + above + _UNIT - 53)
