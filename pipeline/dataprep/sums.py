"""Sums of doubles that do not depend on the order of the rows, nor on how they were cut.

:func:`exact_sum` rounds nothing. :func:`grid_sum` rounds each number to a multiple of ``2**-52``,
whatever its neighbours are, and is faster; both add whole numbers from there on.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID = 52
"""Bits of a number between -1 and 1 that :func:`to_grid` keeps."""

_HALF = 27
_UNIT = 1074 + 53  # binary places of the smallest double's last bit


def exact_sum(values: Floats, rows: Ints) -> Fraction:
    """The sum of ``values * rows``.

    Args:
        values: (n_values,) finite; fastest in ascending order.
        rows: (n_values,) how often each value occurs, at least 0; 2**35 in all at most.
    """
    if not len(values):
        return Fraction(0)
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    # Neighbours with one exponent are added as machine words: halves, so that none overflows.
    starts = np.flatnonzero(np.diff(exponents, prepend=exponents[0] - 1))
    high = np.add.reduceat((whole >> _HALF) * rows, starts).tolist()
    low = np.add.reduceat((whole & (2**_HALF - 1)) * rows, starts).tolist()
    shifts = (exponents[starts] - 53 + _UNIT).tolist()
    total = sum(
        ((h << _HALF) + part) << shift for h, part, shift in zip(high, low, shifts, strict=True)
    )
    return Fraction(total, 2**_UNIT)


def to_grid(values: Floats) -> Ints:
    """Numbers between -1 and 1 in units of ``2**-52``."""
    return np.rint(np.ldexp(values, GRID)).astype(np.int64)


def grid_sum(values: Floats) -> int:
    """The sum of at most 2**35 numbers between -1 and 1, in units of ``2**-52``."""
    high, low = halves(to_grid(values))
    return joined(int(high.sum()), int(low.sum()))


def halves(values: Ints) -> tuple[Ints, Ints]:
    """Two numbers for each, whose sums do not overflow; see :func:`joined`."""
    return values >> _HALF, values & (2**_HALF - 1)


def joined(high: int, low: int) -> int:
    """The sum of numbers from the sums of their halves."""
    return (high << _HALF) + low
