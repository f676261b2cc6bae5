"""The configuration as commented YAML: what was assumed, and what could be chosen instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.field_path import as_step
from pipeline.config.train import Task
from pipeline.starter.column import Column
from pipeline.starter.keys import find_key
from pipeline.starter.roles import Roles
from pipeline.starter.sql import KEY, Names
from pipeline.starter.table import Table
from pipeline.starter.yaml_text import entry, names, opened, remark

_FEW_ROWS = 1000
_STORES = ("data/store", "store", "pipeline-store")


@dataclass(frozen=True)
class Starter:
    """Everything that was found out, or told.

    Attributes:
        name: of the pipeline.
        root: the folder that paths are relative to.
        tables: the main one first.
        key: the columns of the main table that are unique together; none if there are none.
        why_target: why the target is the target.
        split: settings of ``preprocess.split``.
        split_meaning: what they mean.
        sql: the SQL step's path, relative to the root.
    """

    name: str
    root: Path
    tables: tuple[Table, ...]
    target: Column
    why_target: str
    task: Task
    key: tuple[str, ...]
    roles: Roles
    names: Names
    split: dict[str, Any]
    split_meaning: str
    sql: str

    @property
    def main(self) -> Table:
        return self.tables[0]


def config_text(starter: Starter) -> str:
    """The configuration's text."""
    tables = ", ".join(table.name for table in starter.tables)
    head = remark(
        0,
        f"Written by pipeline init from a look at {tables}. Change it freely; comments say what "
        "was assumed.",
    )
    return "\n".join(
        (
            *head,
            entry(0, "name", starter.name),
            *_store(starter),
            "",
            *_ingest(starter),
            "",
            *_preprocess(starter),
            "",
            *_train(starter),
            "",
        )
    )


def _store(starter: Starter) -> list[str]:
    """The first usual place outside of the input, and of its folders: they may be read again."""
    root = starter.root.resolve()
    inputs = {_fixed(root / path) for table in starter.tables for path in table.group.paths}
    inputs |= {f.resolve().parent for table in starter.tables for f in table.group.files} - {root}
    for store in _STORES:
        inside = [path for path in inputs if (root / store).is_relative_to(path)]
        if not inside:
            return [] if store == _STORES[0] else [entry(0, "store", store)]
    return [entry(0, "store", str(root.parent / f"{starter.name}-store"), "the root is read")]


def _fixed(pattern: Path) -> Path:
    """The folder above the first part of a path that has a glob's characters."""
    fixed = [part for part in pattern.parts]
    for position, part in enumerate(fixed):
        if any(mark in part for mark in "*?["):
            return Path(*fixed[:position])
    return pattern


def _ingest(starter: Starter) -> list[str]:
    lines = [opened(0, "ingest"), opened(1, "sources")]
    for table in starter.tables:
        lines += _source(table, starter)
    return lines


def _source(table: Table, starter: Starter) -> list[str]:
    paths = table.group.paths
    lines = [opened(2, table.name, table.size)]
    lines.append(entry(3, "path", paths[0] if len(paths) == 1 else list(paths)))
    lines += _format(table)
    key = starter.key if table is starter.main else find_key(table, ())
    if key:
        seen = "all rows" if table.whole else "the rows that were looked at"
        lines.append(entry(3, "key", list(key), f"unique in {seen}; the first row of each is kept"))
    lines.append(opened(3, "columns"))
    for column in table.columns:
        lines.append(entry(4, column.name, _declared(table, column, key), "; ".join(column.notes)))
    lines += [
        line
        for name, why in table.unusable
        for line in remark(4, f"{name or 'one column'} is left out: {why}")
    ]
    return lines


def _format(table: Table) -> list[str]:
    lines = []
    if table.group.format != "csv":
        lines.append(entry(3, "format", table.group.format))
    dialect = table.dialect
    if dialect is None:
        return lines
    if dialect.delimiter != ",":
        lines.append(entry(3, "delimiter", dialect.delimiter))
    if dialect.quote != '"':
        lines.append(entry(3, "quote", dialect.quote))
    if dialect.encoding != "UTF-8":
        other = " (or windows-1252)" if dialect.encoding == "ISO-8859-1" else ""
        lines.append(entry(3, "encoding", dialect.encoding, f"no valid UTF-8{other}"))
    if not table.header:
        lines.append(entry(3, "header", False, "the first line looks like data"))
    if table.multiline:
        lines.append(entry(3, "multiline", True, "quoted cells go over line ends"))
    lines.append(entry(3, "null_values", table.null_values, "these cells are missing values"))
    return lines


def _declared(table: Table, column: Column, key: Sequence[str]) -> dict[str, Any]:
    declared: dict[str, Any] = dict(column.settings)
    if column.origin != column.name:
        typed = table.group.format == "parquet"  # whose names are paths in the configuration
        declared["from"] = as_step(column.origin) if typed else column.origin
    if column.name in key:
        declared["nullable"] = False
    return declared


def _preprocess(starter: Starter) -> list[str]:
    roles, given = starter.roles, starter.names
    lines = [
        opened(0, "preprocess"),
        opened(1, "steps"),
        f"    - {{name: features, sql: {starter.sql}}}",
        entry(1, "main", starter.main.name),
        entry(1, "key", list(given.key), _about_key(starter)),
        entry(1, "time", given.time, _about_time(roles)),
        entry(1, "segment", list(given.segment), _about_segment(roles)),
        entry(1, "target", given.target, f"{starter.task}; {starter.why_target}"),
        opened(1, "features"),
        *names(2, "numeric", [c.name for c in roles.numeric] + [d.name for d in roles.derived]),
        *names(2, "categorical", [column.name for column in roles.categorical]),
    ]
    if roles.left_out:
        lines += remark(2, "Left out; to use one, add it here and to the SQL:")
    lines += [line for n, why in roles.left_out for line in remark(2, f"  {n}: {why}")]
    return [*lines, *_split(starter)]


def _about_key(starter: Starter) -> str:
    if starter.names.key == (KEY,):
        return "no columns tell the rows apart: the SQL makes one of all of them"
    return ""


def _about_time(roles: Roles) -> str:
    if roles.time is None:
        return "no column holds a time: it is the same in every row"
    return f"or {', '.join(roles.other_times)}" if roles.other_times else ""


def _about_segment(roles: Roles) -> str:
    could = "; ".join(f"{name} ({why})" for name, why in roles.segments)
    if roles.segment:
        return f"one model for each; could be {could}" if could else "one model for each"
    return f"one model in all; could be {could}" if could else "one model in all"


def _split(starter: Starter) -> list[str]:
    lines = [opened(1, "split", f"the test is {starter.split_meaning}")]
    return [*lines, *(entry(2, key, value) for key, value in starter.split.items())]


def _train(starter: Starter) -> list[str]:
    lines = [opened(0, "train")]
    if starter.task != "regression":
        lines.append(entry(1, "task", starter.task))
    lines.append(entry(1, "preset", "standard", "or fast, or thorough; or your own candidates"))
    rows = starter.main.rows
    if rows < _FEW_ROWS:
        least = max(10, rows // 5)
        lines.append(entry(1, "min_rows", least, "a segment with fewer gets a wider model"))
        lines.append(entry(1, "min_validation_rows", max(2, rows // 50)))
    return lines
