"""How good predicted quantiles are, merged over blocks without rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.scoring.metrics import BlockStats, Floats, group_sums, mean


@dataclass(frozen=True)
class QuantileStats:
    """Exact sums over rows, in the units of :mod:`pipeline.scoring.sums`.

    Attributes:
        weight: of the rows.
        inside: weight of the rows from the lowest quantile to the highest.
        losses: per quantile the pinball losses, times the weights.
        below: per quantile the weight of the rows at or below it.
    """

    quantiles: tuple[float, ...] = ()
    rows: int = 0
    weight: int = 0
    inside: int = 0
    losses: tuple[int, ...] = ()
    below: tuple[int, ...] = ()

    def __add__(self, other: QuantileStats) -> QuantileStats:
        if not self.rows or not other.rows:
            return self if self.rows else other
        return QuantileStats(
            self.quantiles,
            self.rows + other.rows,
            self.weight + other.weight,
            self.inside + other.inside,
            tuple(a + b for a, b in zip(self.losses, other.losses, strict=True)),
            tuple(a + b for a, b in zip(self.below, other.below, strict=True)),
        )

    def metrics(self) -> dict[str, object]:
        """``rows, pinball`` (mean over the quantiles, in the target's unit), ``coverage`` (share
        of the rows from the lowest quantile to the highest) and ``below`` (share of the rows at or
        below each quantile; best equal to it)."""
        losses = [mean(loss, self.weight) for loss in self.losses]
        known = [loss for loss in losses if loss is not None]
        return {
            "rows": self.rows,
            "pinball": sum(known) / len(known) if known else None,
            "coverage": mean(self.inside, self.weight),
            "below": {
                f"{level:g}": mean(rows, self.weight)
                for level, rows in zip(self.quantiles, self.below, strict=True)
            },
        }


def quantile_stats(
    target: Floats,
    predicted: Floats,
    quantiles: Sequence[float],
    codes: npt.NDArray[np.int64],
    keys: Sequence[str],
    weight: Floats | None,
) -> BlockStats:
    """The quality of one block's quantiles.

    Args:
        target: (n_samples,) true values; NaN where unknown.
        predicted: (n_samples, n_quantiles) ascending in each row.
        quantiles: their levels.
        codes: (n_samples,) segment of each row as a position in ``keys``.
        keys: segment keys.
        weight: (n_samples,) what each row counts; None where all count alike.
    """
    known = np.isfinite(target)
    y, q, codes = target[known], predicted[known], codes[known]
    w = np.ones(len(y)) if weight is None else weight[known]
    levels = np.array(quantiles)
    error = y[:, None] - q
    losses = np.maximum(levels * error, (levels - 1) * error)
    inside = (q[:, 0] <= y) & (y <= q[:, -1])
    columns = [w, w * inside, *(w * column for column in (*losses.T, *(error <= 0).T))]
    n = len(levels)
    stats = {
        key: QuantileStats(
            tuple(quantiles), rows, s[0], s[1], tuple(s[2 : 2 + n]), tuple(s[2 + n :])
        )
        for key, rows, s in group_sums(columns, codes, keys)
    }
    return BlockStats(stats, int(np.count_nonzero(~known)), QuantileStats())
