"""By how much the statistics of a table differ from those of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from pipeline.dataprep.measure import ColumnStatistics, TableStatistics


@dataclass(frozen=True)
class Change:
    """A difference in the unit of its tolerance, and in words."""

    size: float
    words: str


def change(
    measure: str, column: str | None, before: TableStatistics, now: TableStatistics
) -> Change | None:
    """How much a measure changed; None where the earlier run does not know it.

    ``rows`` and ``distinct`` change by a part of what they were, ``mean`` by standard deviations
    of the values as they were, ``null_share`` and ``shares`` by the difference of the shares;
    of ``shares``, the largest difference counts.
    """
    if measure == "rows":
        return _relative("rows", before.rows, now.rows)
    if column is None or column not in before.columns or column not in now.columns:
        return None
    one, other = before.columns[column], now.columns[column]
    if measure == "null_share":
        return _difference(
            "null share", one.nulls / max(before.rows, 1), other.nulls / max(now.rows, 1)
        )
    if measure == "mean":
        return _mean(one, other)
    if measure == "distinct":
        return None if one.distinct is None else _relative("distinct", one.distinct, other.distinct)
    return _shares(one, other)


def _relative(name: str, before: int, now: int | None) -> Change:
    now = now or 0
    size = abs(now - before) / before if before else (inf if now else 0.0)
    return Change(size, f"{name} {now:,}, was {before:,} ({_signed(now - before, before)})")


def _signed(difference: int, before: int) -> str:
    return f"{difference / before:+.1%}" if before else f"{difference:+,}"


def _difference(name: str, before: float, now: float) -> Change:
    return Change(abs(now - before), f"{name} {now:.2%}, was {before:.2%}")


def _mean(before: ColumnStatistics, now: ColumnStatistics) -> Change | None:
    if before.mean is None or before.std is None:
        return None
    if now.mean is None:
        return Change(inf, f"mean of no value, was {before.mean:.6g}")
    difference = abs(now.mean - before.mean)
    size = difference / before.std if before.std else (inf if difference else 0.0)
    return Change(
        size, f"mean {now.mean:.6g}, was {before.mean:.6g} ({size:.2f} standard deviations)"
    )


def _shares(before: ColumnStatistics, now: ColumnStatistics) -> Change | None:
    if before.shares is None or now.shares is None:
        return None
    one, other = before.shares, now.shares
    sizes = {v: abs(other.get(v, 0.0) - one.get(v, 0.0)) for v in (*one, *other)}
    if not sizes:
        return Change(0.0, "no value, as before")
    widest = max(sizes, key=lambda value: (round(sizes[value], 12), other.get(value, 0.0)))
    was, found = one.get(widest, 0.0), other.get(widest, 0.0)
    return Change(sizes[widest], f"share of {widest!r} {found:.2%}, was {was:.2%}")
