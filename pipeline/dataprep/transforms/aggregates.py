"""Aggregates that merge: of two parts of a window into those of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipeline.config.transforms import Aggregate

State = Mapping[str, Column]
"""Of some values: their count ``n``, ``sum``, ``min``, ``max`` and variance ``var`` (by n)."""

_NEEDS: Mapping[Aggregate, tuple[str, ...]] = {
    "count": ("n",),
    "sum": ("sum",),
    "mean": ("n", "sum"),
    "min": ("min",),
    "max": ("max",),
    "std": ("n", "sum", "var"),
}
_TOTALS = {"n": F.count, "sum": F.sum, "min": F.min, "max": F.max, "var": F.var_pop}


def totals_of(value: str, aggregates: Sequence[Aggregate]) -> dict[str, Column]:
    """The aggregates of Spark that make up the state that ``aggregates`` need."""
    needed = dict.fromkeys(part for aggregate in aggregates for part in _NEEDS[aggregate])
    return {part: _TOTALS[part](value) for part in needed}


def merged(left: State, right: State) -> dict[str, Column]:
    """The state of the values of both."""
    zero = F.lit(0)
    both = {}
    for part, a in left.items():
        b = right[part]
        if part == "n":
            both[part] = a + b
        elif part == "sum":
            both[part] = F.coalesce(a + b, a, b)
        elif part in ("min", "max"):
            both[part] = (F.least if part == "min" else F.greatest)(a, b)
    if "var" in left:
        # Chan, Golub and LeVeque: no difference of large sums, so that nothing cancels out.
        n_a, n_b = left["n"], right["n"]
        apart = left["sum"] / n_a - right["sum"] / n_b
        within = (left["var"] * n_a + right["var"] * n_b) / (n_a + n_b)
        between = apart * apart * n_a * n_b / ((n_a + n_b) * (n_a + n_b))
        both["var"] = (
            F.when(n_b == zero, left["var"])
            .when(n_a == zero, right["var"])
            .otherwise(within + between)
        )
    return both


def value_of(aggregate: Aggregate, state: State) -> Column:
    """An aggregate of a state; null where it has too few values."""
    if aggregate == "mean":
        return F.when(state["n"] > 0, state["sum"] / state["n"])
    if aggregate == "std":
        n = state["n"]
        return F.when(n > 1, F.sqrt(state["var"] * n / (n - 1)))
    return state["n" if aggregate == "count" else aggregate]
