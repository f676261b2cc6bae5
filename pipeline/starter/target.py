"""What could be predicted, and how sure one can be of it by a look at the columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow.compute as pc

from pipeline.config.train import Task
from pipeline.errors import ConfigError
from pipeline.starter.column import Column
from pipeline.starter.keys import is_id_name
from pipeline.starter.table import Table, shown

_SURE = re.compile(r"^(target|label|y|class|outcome|response|dependent)$", re.I)
_LIKELY = re.compile(
    r"price|sales|revenue|amount|demand|churn|default|fraud|delay|score|rating|quality|"
    r"survived|income|cost|profit|consumption|load|yield|turnover|umsatz|preis|ziel",
    re.I,
)
_MOST_CLASSES = 50
_FEW_VALUES = 2


@dataclass(frozen=True)
class Candidate:
    """A column that could be the target, and why."""

    column: Column
    why: str
    rank: int


def find_target(tables: list[Table], given: str | None) -> tuple[Table, Column, str]:
    """The table that models are trained on, its target, and why it is that one.

    Raises:
        ConfigError: no table has the column that was given; or none was given and there is not
            one that is named like a target. The message lists candidates.
    """
    if given is not None:
        for table in tables:
            if (column := table.column(given)) is not None:
                return table, column, "you named it"
        names = [column.origin for table in tables for column in table.columns]
        raise ConfigError(f"no column {given!r}", hint=f"the columns are {shown(names, 40)}")
    table = tables[0]
    found = candidates(table)
    sure = [candidate for candidate in found if candidate.rank == 0]
    if len(sure) == 1:
        return table, sure[0].column, sure[0].why
    listed = "".join(f"\n  {c.column.origin}: {c.why}" for c in (sure or found)[:8])
    raise ConfigError(
        f"what is to be predicted? Candidates in {table.name}:{listed or ' none'}",
        hint="name it with --target"
        + (f", for example --target {found[0].column.origin}" if found else ""),
    )


def candidates(table: Table) -> list[Candidate]:
    """Columns of the table that could be the target, the likeliest first."""
    last = table.columns[-1].name
    found = []
    for column in table.columns:
        kind = task_of(column)
        if column.is_time or is_id_name(column.origin) or kind is None:
            continue
        what = "a number" if kind == "regression" else "classes"
        if _SURE.search(column.origin):
            found.append(Candidate(column, f"{what}, named like a target", 0))
        elif _LIKELY.search(column.origin):
            found.append(Candidate(column, f"{what}, often predicted by this name", 1))
        elif column.name == last:
            found.append(Candidate(column, f"{what}, and the last column", 2))
        elif column.type in ("double", "float") or kind == "classification":
            found.append(Candidate(column, what, 3))
    return sorted(found, key=lambda candidate: candidate.rank)


def task_of(column: Column) -> Task | None:
    """What kind of target a column is; None if it is none: it is constant, a time or free text."""
    distinct = pc.count_distinct(column.values, mode="only_valid").as_py()
    if distinct < _FEW_VALUES or column.is_time:
        return None
    if column.type == "string":
        return "classification" if distinct <= _MOST_CLASSES else None
    if column.type == "boolean":
        return "classification"
    whole = column.type in ("int", "long")
    return "classification" if whole and distinct == _FEW_VALUES else "regression"


def check_target(column: Column) -> Task:
    """The task of a target that was named.

    Raises:
        ConfigError: it cannot be predicted.
    """
    task = task_of(column)
    if task is not None:
        return task
    distinct = pc.count_distinct(column.values, mode="only_valid").as_py()
    if column.is_time:
        what = "holds dates or times; predict a duration or a number instead"
    elif distinct < _FEW_VALUES:
        what = f"has {distinct} different values; there is nothing to predict"
    else:
        what = f"has {distinct:,} different texts, too many to be classes"
        if column.notes:
            what += f" ({'; '.join(column.notes)})"
    raise ConfigError(f"--target {column.origin}: it {what}", hint="name another column")
