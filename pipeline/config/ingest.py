"""``ingest``: the sources, their columns and what to do with rows that break a rule."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pipeline.config.column import ColumnConfig
from pipeline.config.field_path import FieldPath, Step, parse_path
from pipeline.config.incremental import IncrementalConfig
from pipeline.config.place import ROWS, SourcePlace
from pipeline.config.rules import (
    Filters,
    Rules,
    problems_between,
    problems_of_rules,
    problems_of_units,
)
from pipeline.config.section import Count, Name, Section

__all__ = ["ColumnConfig", "IngestConfig", "SourceConfig"]

Mark = Annotated[str, StringConstraints(min_length=1, max_length=1)]
"""One character that has a meaning of its own in a file."""

_ONLY_FOR = {
    "header": ("csv",),
    "escape": ("csv",),
    "comment": ("csv", "text"),
    "multiline": ("csv", "json"),
    "pattern": ("text",),
    "explode": ("json", "parquet", "orc"),
    "changed_types": ("parquet", "orc"),
}
"""Keys that mean something in some formats alone."""


class SourceConfig(SourcePlace):
    """One raw table: where its rows are, how files are written, which columns it must have."""

    format: Literal["csv", "json", "text", "parquet", "orc", "rows"] = "csv"
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=4)] = ","
    quote: Mark = '"'
    escape: Mark | None = Field(
        default=None, description="takes a quote's meaning in a quoted cell; else it is doubled"
    )
    header: bool = Field(
        default=True, description="false: the files hold the declared columns, in their order"
    )
    comment: Mark | None = Field(default=None, description="begins a line that is no record")
    encoding: str = "UTF-8"
    multiline: bool = Field(
        default=False,
        description="csv: quoted cells hold line ends; json: a file is a document or an array",
    )
    pattern: str | None = Field(
        default=None, description="text: what a whole line matches; its named groups are columns"
    )
    explode: FieldPath | None = Field(
        default=None, description="an array in each record whose elements become rows"
    )
    max_record_mb: Count = Field(default=1, description="a longer record is quarantined unread")
    null_values: tuple[str, ...] = ("", "NA")
    extra_columns: Literal["ignore", "refuse"] = "ignore"
    missing_columns: Literal["refuse", "fill"] = Field(
        default="refuse", description="fill: with the column's default, or null"
    )
    changed_types: Literal["refuse", "cast"] = Field(
        default="refuse", description="cast: read the values that fit the declared type"
    )
    columns: Annotated[dict[Name, ColumnConfig], Field(min_length=1)]
    key: tuple[Name, ...] = Field(
        default=(), description="columns that are unique together; the first row of a key is kept"
    )
    filters: Filters = Field(
        default={},
        description="name → SQL condition over a row; rows that do not meet it are dropped and "
        "counted",
    )
    rules: Rules = Field(default={}, description="what must hold of the rows, by name")
    max_quarantined_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    incremental: IncrementalConfig | None = Field(
        default=None, description="read new and changed files only; left out, all at every ingest"
    )
    corrections: str | None = Field(
        default=None,
        description="CSV file of corrected rows, as quarantine show writes it; left out, in the "
        "store",
    )
    description: str | None = None

    @model_validator(mode="after")
    def _key_is_declared(self) -> SourceConfig:
        for name in self.key:
            if name not in self.columns:
                raise ValueError(f"key column {name!r} is not among the declared columns")
        return self

    @model_validator(mode="after")
    def _partitions_are_days(self) -> SourceConfig:
        name = self.incremental.column if self.incremental else None
        kind = self.columns[name].type if name in self.columns else "not declared"
        if name is not None and kind not in ("date", "timestamp"):
            raise ValueError(
                f"incremental.column must be a declared date or timestamp. {name!r} is {kind}"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_format(self) -> SourceConfig:
        defaults = {name: type(self).model_fields[name].default for name in _ONLY_FOR}
        for name, formats in _ONLY_FOR.items():
            if self.format not in formats and getattr(self, name) != defaults[name]:
                raise ValueError(f"{name} is for format {' or '.join(formats)}, not {self.format}")
        if self.comment is not None and self.multiline:
            raise ValueError("comment and multiline exclude each other")
        return self

    @model_validator(mode="after")
    def _columns_can_be_found(self) -> SourceConfig:
        if self.format in ("json", "parquet", "orc"):
            for column, config in self.columns.items():
                try:
                    parse_path(config.from_ or column)
                except ValueError as error:
                    raise ValueError(f"columns.{column}.from {error}") from error
        if self.format == "text":
            groups = named_groups(self.pattern)
            for column, config in self.columns.items():
                if (config.from_ or column) not in groups:
                    raise ValueError(
                        f"pattern must have a group (?P<{config.from_ or column}>…) for column "
                        f"{column!r}; it has {', '.join(groups) or 'none'}"
                    )
        return self

    @model_validator(mode="after")
    def _local_files_alone(self) -> SourceConfig:
        given = {"incremental": self.incremental, "corrections": self.corrections}
        for name, value in given.items():
            if value is not None and not self.is_local:
                raise ValueError(f"{name} is of local files, not of URIs, databases and catalogs")
        return self

    @model_validator(mode="after")
    def _rules_fit_the_columns(self) -> SourceConfig:
        problems = problems_of_rules(self.rules, self.columns)
        if self.incremental:
            problems += problems_of_units(self.rules)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def typed(self) -> bool:
        """Whether the files themselves have types; else all their values are texts."""
        return self.format in ("parquet", "orc")

    @property
    def has_header(self) -> bool:
        """Whether each file begins with a record of names."""
        return self.format == "csv" and self.header

    @property
    def names_in_files(self) -> dict[str, str]:
        """By column: its name in the files, or its path in nested records."""
        return {column: config.from_ or column for column, config in self.columns.items()}

    def top_name(self, column: str) -> str:
        """The name at the top of a record under which a column's value is found."""
        name = self.names_in_files[column]
        if self.format in ("csv", "text", ROWS):
            return name
        return str(self.steps_to(column)[0])

    def steps_to(self, column: str) -> tuple[Step, ...]:
        """The path to a column's value in a nested record."""
        return parse_path(self.names_in_files[column])

    @property
    def array(self) -> tuple[Step, ...]:
        """The path to the array whose elements become rows; empty for none."""
        return parse_path(self.explode) if self.explode else ()


def named_groups(pattern: str | None) -> tuple[str, ...]:
    """The named groups of a regular expression.

    Raises:
        ValueError: there is no pattern, or it is not one.
    """
    if pattern is None:
        raise ValueError("pattern must be set where format is text")
    try:
        return tuple(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error


class IngestConfig(Section):
    """Raw files become typed Parquet, one folder a source, and a quarantine."""

    sources: Annotated[dict[Name, SourceConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _references_exist(self) -> IngestConfig:
        if problems := problems_between(self.sources):
            raise ValueError("; ".join(problems))
        return self
