"""Which units the files of a source make, which of them are late, and which need no reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline.config.incremental import IncrementalConfig
from pipeline.errors import DataRefused
from pipeline.store.days import Days, partition_days
from pipeline.store.units import unit_key

BATCH_BYTES = 32 << 20
BATCH_FILES = 2_000

_SHAPE_NO_ROW = ("path", "max_quarantined_share", "description", "incremental", "corrections")
_DESCRIBE_COLUMN = ("unit", "description")
_ROW_ALONE = ("condition", "complete")
_JUDGE_RULE = ("description", "max_share", "max_rows")


@dataclass(frozen=True)
class RawUnit:
    """Files that are read together, and whose rows are kept together.

    Attributes:
        name: a file's path from the project's root, or a partition's name.
        files: path → content hash, by path.
        bytes: the files' size.
        days: what a partition by pattern covers.
        key: the name under which it is kept when it was read.
    """

    name: str
    files: dict[str, str]
    bytes: int
    days: Days | None
    key: str


def plan_units(
    name: str, incremental: IncrementalConfig, files: Mapping[str, str], root: Path, how: str
) -> list[RawUnit]:
    """The units that files (absolute path → content hash) make, by their first file.

    Raises:
        DataRefused: the pattern finds no date in a path.
    """
    groups: dict[str, list[str]] = {}
    days: dict[str, Days] = {}
    for file in sorted(files):
        shown = shown_path(file, root)
        if incremental.pattern is not None:
            text, days[text] = _partition(name, incremental.pattern, shown)
            shown = text
        groups.setdefault(shown, []).append(file)
    return [
        _unit(shown, {file: files[file] for file in group}, days.get(shown), how)
        for shown, group in groups.items()
    ]


def shown_path(file: str, root: Path) -> str:
    """A file's path as people read it: from the project's root where it lies below."""
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _unit(name: str, files: dict[str, str], days: Days | None, how: str) -> RawUnit:
    size = sum(Path(file).stat().st_size for file in files)
    return RawUnit(name, files, size, days, unit_key(files, how))


def _partition(source: str, pattern: str, shown: str) -> tuple[str, Days]:
    match = re.search(pattern, shown)
    text = "-".join(filter(None, match.groups())) if match else ""
    days = partition_days(text)
    if days is None:
        found = f"the digits of {text!r} are no date" if match else "it does not match"
        raise DataRefused(
            f"source {source}: {shown}: incremental.pattern {pattern!r} must find a day, month "
            f"or year in its path; {found}",
            hint="Correct the pattern, or leave the file out of the source's path.",
        )
    return partition_name(days), days


def partition_name(days: Days) -> str:
    """``2026-11-02``, ``2026-11`` or ``2026``."""
    if days.first == days.last:
        return days.first.isoformat()
    return days.first.isoformat()[: 7 if days.first.month == days.last.month else 4]


def batches(units: Sequence[RawUnit]) -> list[list[RawUnit]]:
    """Units to read in one Spark job each; one that is big stands alone."""
    found: list[list[RawUnit]] = []
    size = count = 0
    for unit in units:
        full = size + unit.bytes > BATCH_BYTES or count + len(unit.files) > BATCH_FILES
        if not found or full:
            found.append([])
            size = count = 0
        found[-1].append(unit)
        size, count = size + unit.bytes, count + len(unit.files)
    return found


def is_big(unit: RawUnit) -> bool:
    """Whether a unit is more than goes into one batch, so that Spark alone must write it."""
    return unit.bytes > BATCH_BYTES


def what_shapes(section: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a source's section that its rows depend on, one file by itself.

    What only describes a source, or is about all of its rows together, is not.
    """
    kept = {key: value for key, value in section.items() if key not in _SHAPE_NO_ROW}
    columns = {
        name: {key: value for key, value in column.items() if key not in _DESCRIBE_COLUMN}
        for name, column in section["columns"].items()
    }
    rules = [
        [name, {key: value for key, value in rule.items() if key not in _JUDGE_RULE}]
        for name, rule in section["rules"].items()
        if rule["kind"] in _ROW_ALONE
    ]
    # As lists, for their order matters: a row is counted by the first filter that drops it.
    ordered = {"filters": [list(item) for item in section["filters"].items()], "rules": rules}
    by = section["incremental"] or {}
    return kept | ordered | {"columns": columns, "days_of": by.get("column")}


def only_relaxes(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether rows that were good under an old section are so, with equal values, under a new one.

    Both as ``what_shapes`` gives them, with whatever else names the way of reading.
    """
    first, second = dict(old), dict(new)
    first_columns, second_columns = first.pop("columns", None), second.pop("columns", None)
    if first != second or not first_columns or not second_columns:
        return False
    return list(first_columns) == list(second_columns) and all(
        _relaxes(first_columns[name], second_columns[name]) for name in first_columns
    )


def _relaxes(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    limits = ("nullable", "min", "max", "allowed", "pattern")
    others = {*old, *new} - set(limits)
    return (
        all(old.get(key) == new.get(key) for key in others)
        and (new["nullable"] or not old["nullable"])
        and (new["min"] is None or (old["min"] is not None and new["min"] <= old["min"]))
        and (new["max"] is None or (old["max"] is not None and new["max"] >= old["max"]))
        and (
            new["allowed"] is None
            or (old["allowed"] is not None and set(old["allowed"]) <= set(new["allowed"]))
        )
        and new["pattern"] in (None, old["pattern"])
    )


def closed_before(newest: date | None, incremental: IncrementalConfig) -> date | None:
    """The first day that is still open; None if every day is.

    Args:
        newest: the last day that the last published ingest has of the source.
    """
    if newest is None or incremental.watermark_days is None:
        return None
    return newest - timedelta(days=incremental.watermark_days)


def late_days(changed: Iterable[Days], open_from: date | None, allowed: Days | None) -> list[Days]:
    """Of partitions whose files are new, changed or gone, those that are closed.

    Args:
        open_from: as ``closed_before`` gives it.
        allowed: days that a backfill names: they are open.
    """
    if open_from is None:
        return []
    closed = {days for days in changed if days.last < open_from}
    return sorted(days for days in closed if allowed is None or not days.meets(allowed))
