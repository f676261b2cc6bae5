"""Bootstrap replicates of sums over rows, merged over blocks without rounding.

Resampling many rows with replacement gives each of them a number of draws that is Poisson(1)
distributed, independently of the others (Chamandy and others, Estimating uncertainty for massive
data streams, 2012). So a row's draws can come from a hash of its key, the seed and the replicate's
number: they are the same in whatever block, order or process the row is met. The weighted sums are
kept as integers, so that adding blocks up is exact too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

_CHUNK = 4096
"""Rows weighed at once; of 200 replicates they take 6.5 MB."""

_MANTISSA, _LIMB = 24, 8
"""A value counts as a 24-bit integer times a power of two, as a single-precision float does. It is
shifted to the next of every eighth power, its limb, where it stays below 2**32; so some 2**31 rows
fit into the 64 bits of a limb's sum."""


@dataclass(frozen=True)
class Sums:
    """Weighted sums of one group of rows.

    Attributes:
        limbs: by power of two / 8 an (n_values, n_replicates) int64 array; ``a + b`` is exact.
    """

    limbs: Mapping[int, Integers] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        limbs = dict(self.limbs)
        for limb, sums in other.limbs.items():
            limbs[limb] = limbs[limb] + sums if limb in limbs else sums
        return Sums(limbs)

    def totals(self) -> Floats:
        """(n_values, n_replicates) the sums as numbers."""
        parts = [
            np.ldexp(self.limbs[limb].astype(np.float64), limb * _LIMB - _MANTISSA)
            for limb in sorted(self.limbs)
        ]
        return np.sum(parts, axis=0) if parts else np.zeros((0, 0))


def merge(blocks: Iterable[Mapping[str, Sums]]) -> dict[str, Sums]:
    """The sums by group of many blocks: the same whatever the blocks were."""
    merged: dict[str, Sums] = {}
    for block in blocks:
        for key, sums in block.items():
            merged[key] = merged.get(key, Sums()) + sums
    return merged


def row_hashes(columns: Mapping[str, npt.NDArray[np.generic]], seed: int) -> Hashes:
    """(n_samples,) a hash of each row's values in some columns.

    Rows with equal values are drawn together: give the key to resample rows, the day to resample
    whole days.
    """
    values = pd.DataFrame(dict(columns), copy=False)
    hashed = np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)
    return mixed(hashed ^ mixed(np.array([seed]).astype(np.uint64)))


def draws(hashes: Hashes, replicates: int) -> Integers:
    """(n_samples, n_replicates) how often each replicate draws each row; Poisson(1) distributed."""
    streams = np.arange(1, replicates + 1, dtype=np.uint64) * _GOLDEN
    return np.searchsorted(_POISSON, mixed(hashes[:, None] + streams), side="right")


def replicate_sums(
    hashes: Hashes, values: Floats, codes: Integers, keys: Sequence[str], *, replicates: int
) -> dict[str, Sums]:
    """The weighted sums of one block, by group.

    Args:
        hashes: (n_samples,) of :func:`row_hashes`.
        values: (n_samples, n_values) finite; rounded to 24 bits.
        codes: (n_samples,) group of each row as a position in ``keys``.
        keys: names of the groups, each once.
        replicates: how many there are.
    """
    n_samples, n_values = values.shape
    if not n_samples:
        return {}
    integers, powers = _integers(values)
    limbs = powers // _LIMB
    lowest = int(limbs.min())
    shape = (len(keys), int(limbs.max()) - lowest + 1, n_values)
    places = np.ravel_multi_index((codes[:, None], limbs - lowest, np.arange(n_values)), shape)
    used, cells = np.unique(places, return_inverse=True)
    cells = cells.reshape(n_samples, n_values)
    sums = np.zeros((len(used), replicates), dtype=np.int64)
    for start in range(0, n_samples, _CHUNK):
        rows = slice(start, start + _CHUNK)
        sums += _scattered(integers[rows], cells[rows], len(used)) @ draws(hashes[rows], replicates)
    return _by_group(sums, np.unravel_index(used, shape), keys, lowest, n_values)


def _integers(values: Floats) -> tuple[Integers, Integers]:
    """Each value as an integer, already shifted into its limb, and its power of two."""
    mantissas, exponents = np.frexp(values)
    powers = exponents.astype(np.int64)
    integers = np.rint(mantissas * 2.0**_MANTISSA).astype(np.int64)
    return integers << (powers % _LIMB), powers


def _scattered(integers: Integers, cells: Integers, n_cells: int) -> csr_array:
    """(n_cells, n_samples) each row's integers in the cells that they are added to."""
    rows = np.repeat(np.arange(len(integers)), integers.shape[1])
    return csr_array((integers.ravel(), (cells.ravel(), rows)), shape=(n_cells, len(integers)))


def _by_group(
    sums: Integers,
    places: tuple[npt.NDArray[np.intp], ...],
    keys: Sequence[str],
    lowest: int,
    n_values: int,
) -> dict[str, Sums]:
    found: dict[str, dict[int, Integers]] = {}
    for row, (group, limb, value) in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        limbs = found.setdefault(keys[group], {})
        blank = np.zeros((n_values, sums.shape[1]), dtype=np.int64)
        limbs.setdefault(limb + lowest, blank)[value] = sums[row]
    return {key: Sums(limbs) for key, limbs in found.items()}


def mixed(bits: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on every bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_POISSON = np.array(
    [int(p * 2**64) for p in accumulate(math.exp(-1) / math.factorial(k) for k in range(16))],
    dtype=np.uint64,
)
"""Cumulative probabilities of 0 to 15 draws, of 2**64."""
