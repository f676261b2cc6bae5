"""A table and what a sample of its rows says about its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.starter.column import Column
from pipeline.starter.dialect import Dialect


@dataclass(frozen=True)
class FileGroup:
    """Files that hold one table: they share their format, delimiter and column names."""

    name: str
    format: str
    files: tuple[Path, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        group: its files.
        columns: what was found, in the order of the first file.
        rows: how many rows it has, about, unless ``whole``.
        whole: whether the sample is all of it.
        dialect: how its CSV is written; None for other formats.
        header: whether CSV files begin with the columns' names.
        multiline: whether quoted cells go over line ends.
        unusable: columns that cannot be declared, and why.
    """

    group: FileGroup
    columns: tuple[Column, ...]
    rows: int
    whole: bool
    dialect: Dialect | None = None
    header: bool = True
    multiline: bool = False
    unusable: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def sampled(self) -> int:
        return len(self.columns[0].values)

    @property
    def size(self) -> str:
        """Its files and rows in words."""
        files = len(self.group.files)
        about = "" if self.whole else "about "
        return f"{files} file{'s' if files > 1 else ''}, {about}{self.rows:,} rows"

    @property
    def arrow(self) -> pa.Table:
        return pa.table({column.name: column.values for column in self.columns})

    @property
    def null_values(self) -> list[str]:
        """Every text that means a missing value in some column, the empty one first."""
        found = {"", "NA", *(text for column in self.columns for text in column.nulls)}
        return sorted(found, key=lambda text: (text != "", text))

    def column(self, name: str) -> Column | None:
        """The column of this name, in the pipeline or in the files."""
        by_origin = {column.origin: column for column in self.columns}
        return next((c for c in self.columns if c.name == name), by_origin.get(name))


def shown(names: Sequence[str], most: int = 12) -> str:
    """Names in a sentence, not too many of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
