"""How good probabilities of classes are, merged over blocks without rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.scoring.metrics import BlockStats, Floats, group_sums, mean
from pipeline.scoring.sums import exact_sums, value

BINS = 10
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassStats:
    """Exact sums over rows, in the units of :mod:`pipeline.scoring.sums`.

    Attributes:
        weight, correct, log_loss, brier: sums over the rows, times their weights.
        by_class: per class, and of classes not seen in training together, the weight of its rows.
        hits: the same of those that were predicted right.
    """

    rows: int = 0
    weight: int = 0
    correct: int = 0
    log_loss: int = 0
    brier: int = 0
    by_class: tuple[int, ...] = ()
    hits: tuple[int, ...] = ()

    def __add__(self, other: ClassStats) -> ClassStats:
        if not self.by_class or not other.by_class:
            return self if self.by_class else other
        return ClassStats(
            self.rows + other.rows,
            self.weight + other.weight,
            self.correct + other.correct,
            self.log_loss + other.log_loss,
            self.brier + other.brier,
            tuple(a + b for a, b in zip(self.by_class, other.by_class, strict=True)),
            tuple(a + b for a, b in zip(self.hits, other.hits, strict=True)),
        )

    def metrics(self) -> dict[str, float | int | None]:
        """``rows, log_loss, accuracy, balanced_accuracy, brier``, as scikit-learn defines them.

        A class not seen in training has the probability 0, which counts as 2**-52 in the log
        loss, and is never predicted right.
        """
        recalls = [
            float(value(hit) / value(all_))
            for all_, hit in zip(self.by_class, self.hits, strict=True)
            if all_
        ]
        return {
            "rows": self.rows,
            "log_loss": mean(self.log_loss, self.weight),
            "accuracy": mean(self.correct, self.weight),
            "balanced_accuracy": sum(recalls) / len(recalls) if recalls else None,
            "brier": mean(self.brier, self.weight),
        }


def class_stats(
    y: Floats, probabilities: Floats, codes: Codes, keys: Sequence[str], weight: Floats | None
) -> BlockStats:
    """The quality of one block's probabilities.

    Args:
        y: (n_samples,) position of each row's class; -1 for one not seen in training, NaN where
            unknown.
        probabilities: (n_samples, n_classes).
        codes: (n_samples,) segment of each row as a position in ``keys``.
        keys: segment keys.
        weight: (n_samples,) what each row counts; None where all count alike.
    """
    known = np.isfinite(y)
    p, codes = probabilities[known], codes[known]
    classes = p.shape[1]
    true = y[known].astype(np.int64)
    true[true < 0] = classes
    w = np.ones(len(true)) if weight is None else weight[known]
    of_class = np.eye(classes + 1)[true]
    right = p.argmax(axis=1) == true
    squares = ((p - of_class[:, :-1]) ** 2).sum(axis=1) + of_class[:, -1]
    columns = [
        w,
        w * right,
        w * log_losses(p, true),
        w * (squares / 2 if classes == 2 else squares),
        *(w * column for column in of_class.T),
        *(w * right * column for column in of_class.T),
    ]
    stats = {
        key: ClassStats(
            rows, s[0], s[1], s[2], s[3], tuple(s[4 : 5 + classes]), tuple(s[5 + classes :])
        )
        for key, rows, s in group_sums(columns, codes, keys)
    }
    return BlockStats(stats, int(np.count_nonzero(~known)), ClassStats())


def log_losses(p: Floats, true: Codes) -> Floats:
    """(n_samples,) of (n_samples, n_classes) probabilities; ``true`` is n_classes where the class
    was not seen in training."""
    of_true = np.column_stack([p, np.zeros(len(p))])[np.arange(len(p)), true]
    losses: Floats = -np.log(np.maximum(of_true, np.finfo(np.float64).eps))
    return losses


@dataclass(frozen=True)
class Reliability:
    """Rows by their probability, in ten bins of equal width, the last closed on both sides.

    Of two classes it is the probability of the second; of more that of the likeliest one, and
    observed is how often it was right.

    Attributes:
        rows: in each bin.
        weight, probability, observed: exact sums over the rows of each bin, times their weights.
    """

    rows: tuple[int, ...] = (0,) * BINS
    weight: tuple[int, ...] = (0,) * BINS
    probability: tuple[int, ...] = (0,) * BINS
    observed: tuple[int, ...] = (0,) * BINS

    def __add__(self, other: Reliability) -> Reliability:
        mine = (self.rows, self.weight, self.probability, self.observed)
        its = (other.rows, other.weight, other.probability, other.observed)
        return Reliability(
            *(
                tuple(a + b for a, b in zip(left, right, strict=True))
                for left, right in zip(mine, its, strict=True)
            )
        )

    def record(self) -> list[dict[str, Any]]:
        """JSON: per bin ``from, to, rows, mean_probability, observed_share``."""
        return [
            {
                "from": i / BINS,
                "to": (i + 1) / BINS,
                "rows": self.rows[i],
                "mean_probability": mean(self.probability[i], self.weight[i]),
                "observed_share": mean(self.observed[i], self.weight[i]),
            }
            for i in range(BINS)
        ]


def reliability(y: Floats, probabilities: Floats, weight: Floats | None) -> Reliability:
    """The reliability of one block's probabilities; for the arguments see :func:`class_stats`."""
    known = np.isfinite(y)
    p, true = probabilities[known], y[known]
    w = np.ones(len(true)) if weight is None else weight[known]
    binary = p.shape[1] == 2
    chosen = np.ones(len(p), dtype=np.intp) if binary else p.argmax(axis=1)
    of_chosen = p[np.arange(len(p)), chosen]
    bins = np.minimum((of_chosen * BINS).astype(np.int64), BINS - 1)
    columns = (w, w * of_chosen, w * (true == chosen))
    sums = [tuple(exact_sums(column, bins, BINS)) for column in columns]
    return Reliability(tuple(np.bincount(bins, minlength=BINS).tolist()), *sums)
