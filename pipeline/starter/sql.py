"""The SQL step: one row of the main table each, with the columns that have a role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.starter.column import Column
from pipeline.starter.roles import Roles
from pipeline.starter.table import Table

SEGMENT, TIME, KEY = "segment", "as_of", "row_id"
"""Columns that the SQL makes where the table has none."""


@dataclass(frozen=True)
class Names:
    """The columns of the SQL's result that are not features."""

    key: tuple[str, ...]
    time: str
    segment: tuple[str, ...]
    target: str


def names_of_roles(key: Sequence[str], roles: Roles, target: Column) -> Names:
    """What the roles are called; columns that the table lacks are made by the SQL."""
    return Names(
        key=tuple(key) or (KEY,),
        time=roles.time.name if roles.time else TIME,
        segment=tuple(column.name for column in roles.segment) or (SEGMENT,),
        target=target.name,
    )


def select(table: Table, others: Sequence[Table], roles: Roles, names: Names) -> str:
    """The text of the step."""
    lines = [*_made(table, roles, names)]
    made = {KEY, SEGMENT, names.time}
    features = [column.name for column in (*roles.numeric, *roles.categorical)]
    plain = dict.fromkeys((*names.key, *names.segment, names.target, *features))
    lines += [_column(table, name) for name in plain if name not in made]
    lines += [f"{feature.sql} AS `{feature.name}`" for feature in roles.derived]
    return "\n".join(
        (
            f"-- One row for each row of {table.name}. Whatever is added here must be known before",
            f"-- {names.target} is: features that come later would not be there when it is needed.",
            *_joins(table, others),
            "SELECT\n  " + ",\n  ".join(lines),
            f"FROM `{table.name}`\n",
        )
    )


def _made(table: Table, roles: Roles, names: Names) -> list[str]:
    lines = []
    if names.key == (KEY,):
        columns = ", ".join(f"`{column.name}`" for column in table.columns)
        digest = f"md5(to_json(struct({columns})))"
        # Equal rows are told apart by a number; which gets which makes no difference.
        lines.append(
            f"concat({digest}, '-', row_number() OVER (PARTITION BY {digest} ORDER BY {digest}))"
            f" AS `{KEY}`"
        )
    if roles.time is None:
        lines.append(f"DATE '2000-01-01' AS `{TIME}`  /* no column holds a time */")
    else:
        lines.append(f"{roles.time.sql} AS `{names.time}`" if roles.time.sql else f"`{names.time}`")
    if names.segment == (SEGMENT,):
        lines.append(f"'all' AS `{SEGMENT}`")
    return lines


def _column(table: Table, name: str) -> str:
    column = table.column(name)
    return f"{column.sql} AS `{name}`" if column and column.sql else f"`{name}`"


def _joins(table: Table, others: Sequence[Table]) -> list[str]:
    """How the other tables could be joined, as comments."""
    lines = []
    mine = {column.name for column in table.columns}
    for other in others:
        shared = [column.name for column in other.columns if column.name in mine]
        using = f" USING ({', '.join(shared)})" if shared else " ON …"
        lines.append(f"-- Not used yet: LEFT JOIN `{other.name}`{using}")
    return lines
