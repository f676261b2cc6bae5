"""How the columns of files differ from the declared ones, and which differences are let pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from pipeline.config.ingest import SourceConfig
from pipeline.errors import DataRefused


@dataclass(frozen=True)
class FileDrift:
    """What is different in one file, and was let pass by the source's policies.

    Attributes:
        extra: names in the file that are not declared.
        missing: declared columns that the file lacks.
        retyped: ``column: found, not declared`` of columns with another type.
        reordered: whether the declared columns stand in another order.
    """

    extra: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    reordered: bool = False


NO_DRIFT = FileDrift()


@dataclass(frozen=True)
class Drift:
    """The same of all files of a source: each difference with the number of files that have it."""

    extra: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    retyped: dict[str, int] = field(default_factory=dict)
    reordered: int = 0

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            _added(self.extra, other.extra),
            _added(self.missing, other.missing),
            _added(self.retyped, other.retyped),
            self.reordered + other.reordered,
        )


def sum_drift(files: Iterable[tuple[FileDrift, int]]) -> Drift:
    """Add up what groups of files have, given the number of files in each."""
    total = Drift()
    for drift, count in files:
        extra, missing, retyped = (
            dict.fromkeys(names, count) for names in (drift.extra, drift.missing, drift.retyped)
        )
        total += Drift(extra, missing, retyped, count * drift.reordered)
    return total


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(Counter(one) + Counter(other))


def check_names(
    path: str, names: Sequence[str], source: SourceConfig, *, missing: Sequence[str] | None = None
) -> FileDrift:
    """Compare the names in a file with the declared ones.

    Args:
        path: the file or table, for messages.
        names: the names at the top of its records, in the order of the file.
        source: the declared columns and the policies.
        missing: the declared columns that the file lacks, where names alone do not tell.

    Raises:
        DataRefused: two names are equal but for their case, or a policy refuses a difference.
    """
    folded = [name.casefold() for name in names if name]
    twice = sorted({name for name in names if name and folded.count(name.casefold()) > 1})
    if twice:
        raise DataRefused(
            f"{path}: names of columns that are equal but for their case: {', '.join(twice)}",
            hint="rename one of them",
        )
    wanted = {column: source.top_name(column) for column in source.columns}
    if missing is None:
        missing = [column for column, name in wanted.items() if name not in names]
    _refuse_missing(path, missing, names, source)
    extra = [name for name in names if name not in wanted.values()]
    if extra and source.extra_columns == "refuse":
        raise DataRefused(
            f"{path}: columns that are not declared: {', '.join(extra)}",
            hint="declare them, or set extra_columns: ignore",
        )
    order = [name for name in dict.fromkeys(wanted.values()) if name in names]
    reordered = order != [name for name in names if name in order]
    return FileDrift(tuple(extra), tuple(missing), reordered=reordered)


def _refuse_missing(
    path: str, missing: Sequence[str], names: Sequence[str], source: SourceConfig
) -> None:
    if missing and source.missing_columns == "refuse":
        wanted = [source.names_in_files[column] for column in missing]
        raise DataRefused(
            f"{path}: {', '.join(describe_missing(wanted, names))}; "
            f"it has {', '.join(names) or 'none'}",
            hint="add the column there, remove it from the source's columns, or set "
            "missing_columns: fill",
        )
    needed = [c for c in missing if not source.columns[c].nullable or c in source.key]
    needed = [c for c in needed if source.columns[c].default is None]
    if needed:
        raise DataRefused(
            f"{path}: no column {', '.join(map(repr, needed))}, which must not be null and has no "
            "default",
            hint="add the column there, or declare a default",
        )


def describe_missing(missing: Sequence[str], names: Sequence[str]) -> list[str]:
    """One phrase a missing column, with the nearest name that is there."""
    by_case = {name.casefold(): name for name in names}
    phrases = []
    for column in missing:
        near = [by_case[column.casefold()]] if column.casefold() in by_case else []
        near = near or get_close_matches(column, names, 1)
        phrases.append(f"no column {column!r}" + (f" (there is {near[0]!r})" if near else ""))
    return phrases
