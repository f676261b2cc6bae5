"""The roles of a table's columns: time, segment, features; and why others have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.starter.column import Column
from pipeline.starter.keys import is_id_name
from pipeline.starter.leaks import leaks
from pipeline.starter.table import Table, shown

_MOST_CATEGORIES = 1000
_LONG_TEXT = 60
_MOSTLY_DIFFERENT = 0.5
_ALL_DIFFERENT = 0.95
_SEGMENTS = range(2, 501)
_SEGMENT_ROWS = 300


@dataclass(frozen=True)
class Derived:
    """A feature that the SQL computes of the time column."""

    name: str
    sql: str


@dataclass(frozen=True)
class Roles:
    """What each column is for.

    Attributes:
        time: the column to split by; None if there is none.
        other_times: columns that could be it.
        segment: columns that have a model for each of their values; none for one model in all.
        segments: columns that could be, and why.
        numeric, categorical: features.
        derived: numeric features made of the time.
        left_out: the other columns, and why they are no features.
    """

    time: Column | None
    other_times: tuple[str, ...]
    segment: tuple[Column, ...]
    segments: tuple[tuple[str, str], ...]
    numeric: tuple[Column, ...]
    categorical: tuple[Column, ...]
    derived: tuple[Derived, ...]
    left_out: tuple[tuple[str, str], ...]


def find_roles(
    table: Table,
    target: Column,
    key: Sequence[str],
    segment_by: Sequence[str],
    time: str | None,
) -> Roles:
    """Give each column a role.

    Raises:
        ConfigError: a column that was named is not there or cannot play its role, or no column is
            left to be a feature.
    """
    segment = tuple(_named(table, name, "--segment-by") for name in segment_by)
    chosen, others = _time(table, target, time)
    left_out = _left_out(table, target, key, chosen)
    taken = {target.name, *(chosen.name for chosen in [chosen] if chosen)}
    taken |= {column.name for column in segment} | left_out.keys()
    usable = [column for column in table.columns if column.name not in taken]
    # The segment's own value says nothing within it, but pooled models are told it.
    categorical = [*segment, *(column for column in usable if column.type == "string")]
    numeric = [c for c in usable if c.type != "string" and not c.is_time]
    derived = _derived(table, chosen) if chosen else ()
    if not numeric and not categorical and not derived:
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        raise ConfigError(
            f"no column of {table.name} can be a feature:{reasons}",
            hint="name other roles with --time and --segment-by, or add columns",
        )
    return Roles(
        time=chosen,
        other_times=others,
        segment=segment,
        segments=_segments(table, [*categorical, *numeric], segment),
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        derived=derived,
        left_out=tuple((n, why) for n, why in left_out.items() if n not in segment_by),
    )


def _named(table: Table, name: str, option: str) -> Column:
    column = table.column(name)
    if column is None:
        names = [c.origin for c in table.columns]
        raise ConfigError(
            f"{option}: no column {name!r} in {table.name}", hint=f"there are {shown(names, 40)}"
        )
    return column


def _time(table: Table, target: Column, given: str | None) -> tuple[Column | None, tuple[str, ...]]:
    """The column to split by: the one that was named, or the fullest of those that vary most."""
    usable = [c for c in table.columns if c.is_time and c.name != target.name]
    if given is not None:
        column = _named(table, given, "--time")
        if not column.is_time:
            raise ConfigError(
                f"--time {given}: it holds {column.type} values, not dates or times",
                hint=f"there are {shown([c.origin for c in usable])}" if usable else None,
            )
        return column, tuple(c.name for c in usable if c is not column)
    whole = [c for c in usable if not c.values.null_count]
    varied = [c for c in whole if pc.count_distinct(c.values).as_py() >= 5]
    # The earliest of several is what is known first: an order's date before its delivery's.
    ranked = sorted(varied, key=lambda c: pc.min(c.values).as_py().isoformat())
    chosen = ranked[0] if ranked else None
    return chosen, tuple(c.name for c in usable if c is not chosen)


def _date_of_parts(table: Table) -> Column | None:
    """A date that the SQL makes of the columns year, month and day."""
    by_name = {c.name.lower(): c for c in table.columns if c.type in ("int", "long")}
    found = [by_name.get(part) for part in ("year", "month", "day")]
    parts = [column for column in found if column and not column.values.null_count]
    if len(parts) < 2 or parts[:2] != found[:2] or by_name.keys() & {"date"}:
        return None
    rows = zip(*(column.values.to_pylist() for column in parts), strict=True)
    try:
        values = pa.array([date(*row, *[1] * (3 - len(parts))) for row in rows], pa.date32())
    except (ValueError, OverflowError):
        return None
    written = [f"`{column.name}`" for column in parts] + ["1"] * (3 - len(parts))
    return Column("date", "", {"type": "date"}, values, sql=f"make_date({', '.join(written)})")


def _left_out(
    table: Table, target: Column, key: Sequence[str], time: Column | None
) -> dict[str, str]:
    found = {
        column.name: why
        for column in table.columns
        if column.name != target.name
        and column is not time
        and (why := _why_no_feature(column, table.sampled))
    }
    for name, why in leaks(table, target).items():
        if time is None or name != time.name:
            found.setdefault(name, why)
    if len(key) == 1 and (time is None or key[0] != time.name):
        found.setdefault(key[0], "it is the key")
    return found


def _why_no_feature(column: Column, rows: int) -> str | None:
    values = column.values
    if values.null_count == rows:
        return "it is empty"
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    filled = rows - values.null_count
    if distinct == 1 and not values.null_count:
        return "it is constant"
    if column.is_time:
        return "a time; derive what matters, such as a difference, in the SQL"
    if column.type in ("int", "long"):
        unique = distinct > _ALL_DIFFERENT * filled and filled > 20
        return "an identifier" if unique and is_id_name(column.origin) else None
    if column.type != "string":
        return None
    if distinct > _ALL_DIFFERENT * filled and filled > 20:
        return "a different text in nearly every row"
    if pc.mean(pc.utf8_length(values)).as_py() > _LONG_TEXT and distinct > 20:
        return "free text"
    if distinct > _MOST_CATEGORIES or distinct > _MOSTLY_DIFFERENT * filled:
        return f"{distinct:,} different texts in {filled:,} rows"
    return None


def _segments(
    table: Table, columns: Sequence[Column], given: Sequence[Column]
) -> tuple[tuple[str, str], ...]:
    """Columns with not too many values, each of them in many rows."""
    found = []
    for column in columns:
        if column.type not in ("string", "int", "long") or column in given:
            continue
        distinct = pc.count_distinct(column.values, mode="only_valid").as_py()
        rows = table.rows // max(distinct, 1)
        likely = column.type == "string" or is_id_name(column.origin)
        if likely and distinct in _SEGMENTS and rows >= _SEGMENT_ROWS:
            found.append((column.name, f"{distinct} values, about {rows:,} rows each"))
    return tuple(found[:5])


def _derived(table: Table, time: Column) -> tuple[Derived, ...]:
    """Parts of the time that vary."""
    taken = {column.name.lower() for column in table.columns}
    parts = {"month": ("MONTH", pc.month), "weekday": ("WEEKDAY", pc.day_of_week)}
    if time.has_hours:
        parts["hour"] = ("HOUR", pc.hour)
    made = []
    for part, (function, compute) in parts.items():
        name = f"{time.name}_{part}"[:64]
        if pc.count_distinct(compute(time.values)).as_py() > 1 and name.lower() not in taken:
            made.append(Derived(name, f"{function}({time.sql or f'`{time.name}`'})"))
    return tuple(made)
