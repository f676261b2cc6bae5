"""``pipeline init``: look at tables, and write a configuration and SQL that run as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.loader import load_config
from pipeline.errors import ConfigError
from pipeline.starter.config import Starter, config_text
from pipeline.starter.files import file_groups, relative
from pipeline.starter.keys import find_key
from pipeline.starter.roles import find_roles
from pipeline.starter.sample import look_at
from pipeline.starter.split import split_of
from pipeline.starter.sql import names_of_roles, select
from pipeline.starter.table import Table, shown
from pipeline.starter.target import check_target, find_target
from pipeline.store.layout import write_text


@dataclass(frozen=True)
class Assumption:
    """One line of what is said at the end."""

    what: str
    assumed: str
    why: str


def write_starter(
    inputs: Sequence[str],
    target: str | None,
    segment_by: Sequence[str],
    time: str | None,
    output: Path,
    force: bool = False,
) -> list[Assumption]:
    """Write ``output`` and its SQL; returns what was assumed.

    Args:
        inputs: files, folders and globs; the first table that has the target is the one that
            models are trained on, the others are declared, so that its SQL can join them.
        target: the column to predict; None takes one that is named like a target.
        segment_by: columns that have a model for each of their values.
        time: the column to split by; None takes the first that fits.
        output: the configuration's file.
        force: whether files that exist are replaced.

    Raises:
        ConfigError: a file or column is missing, or a file exists; or there is no target.
        DataRefused: a file cannot be read.
    """
    root = output.parent.parent if output.resolve().parent.name == "conf" else output.parent
    sql = output.parent / "sql" / output.stem / "features.sql"
    taken = [path for path in (output, sql) if path.exists()]
    if taken and not force:
        raise ConfigError(
            f"{' and '.join(map(str, taken))} exist{'s' if len(taken) == 1 else ''} already",
            hint="choose another file with -o, or replace with --force",
        )
    groups, ignored = file_groups(inputs, root)
    tables = [look_at(group) for group in groups]
    starter = _decide(tables, target, segment_by, time, output.stem, root, relative(sql, root))
    text = select(starter.main, starter.tables[1:], starter.roles, starter.names)
    _write(output, config_text(starter), sql, text)
    return _assumptions(starter, ignored, output, sql)


def _write(output: Path, config: str, sql: Path, text: str) -> None:
    """Write both files, if the configuration is valid; else none of them, and say why."""
    draft = output.with_name(f".{output.name}.draft")
    write_text(draft, config)
    try:
        load_config(draft)
        write_text(sql, text)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


def _decide(
    tables: list[Table],
    target: str | None,
    segment_by: Sequence[str],
    time: str | None,
    name: str,
    root: Path,
    sql: str,
) -> Starter:
    main, column, why = find_target(tables, target)
    task = check_target(column)
    key = find_key(main, (column.name,))
    roles = find_roles(main, column, key, segment_by, time)
    split, meaning = split_of(roles.time, main.rows)
    return Starter(
        name=name,
        root=root,
        tables=(main, *(table for table in tables if table is not main)),
        target=column,
        why_target=why,
        task=task,
        key=key,
        roles=roles,
        names=names_of_roles(key, roles, column),
        split=split,
        split_meaning=meaning,
        sql=sql,
    )


def _assumptions(
    starter: Starter, ignored: Sequence[Path], output: Path, sql: Path
) -> list[Assumption]:
    roles, given, main = starter.roles, starter.names, starter.main
    found = [_about_table(table) for table in starter.tables]
    if ignored:
        found.append(Assumption("ignored", shown([p.name for p in ignored], 5), "no tables"))
    could = "; ".join(f"{name}: {why}" for name, why in roles.segments)
    features = len(roles.numeric) + len(roles.derived), len(roles.categorical)
    renamed = [f"{c.origin} → {c.name}" for c in main.columns if c.origin != c.name]
    found += [
        Assumption("target", given.target, f"{starter.task}; {starter.why_target}"),
        Assumption("key", ", ".join(given.key), "unique" if starter.key else "made of all columns"),
        Assumption("time", given.time, _why_time(starter)),
        Assumption("segment", ", ".join(given.segment), f"could be {could}" if could else ""),
        Assumption("test", starter.split_meaning, ""),
        Assumption("features", f"{features[0]} numeric, {features[1]} categorical", ""),
    ]
    found += [Assumption("left out", name, why) for name, why in roles.left_out[:20]]
    found += [Assumption("renamed", shown(renamed, 8), "letters, digits and _")] if renamed else []
    notes = [(column.name, "; ".join(column.notes)) for column in main.columns if column.notes]
    found += [Assumption("column", name, note) for name, note in notes[:20]]
    return [*found, Assumption("wrote", f"{output} and {sql}", f"next: pipeline run -c {output}")]


def _about_table(table: Table) -> Assumption:
    how = table.group.format
    if table.dialect is not None and how == "csv":
        how += f", delimiter {table.dialect.delimiter!r}, {table.dialect.encoding}"
    return Assumption("table", table.name, f"{table.size}, {len(table.columns)} columns; {how}")


def _why_time(starter: Starter) -> str:
    if starter.roles.time is None:
        return "no column holds a time: the test is drawn by the key"
    others = starter.roles.other_times
    return f"could be {', '.join(others)}" if others else "the only one"
