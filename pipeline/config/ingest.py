"""``ingest``: the sources, their columns and what to do with rows that break a rule."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipeline.config.incremental import IncrementalConfig
from pipeline.config.section import Name, Section

_TYPES = ("string", "int", "long", "float", "double", "boolean", "date", "timestamp")


def _known_type(value: str) -> str:
    if value not in _TYPES and not re.fullmatch(r"decimal\(\d{1,2}, ?\d{1,2}\)", value):
        allowed = ", ".join((*_TYPES, "decimal(precision, scale)"))
        raise ValueError(f"must be one of {allowed}. Got {value!r} instead")
    return value


ColumnType = Annotated[str, AfterValidator(_known_type)]
Scalar = bool | int | float | str


class ColumnConfig(Section):
    """One declared column. A row that breaks any part of it is quarantined with the reason."""

    type: ColumnType
    nullable: bool = True
    min: int | float | None = None
    max: int | float | None = None
    allowed: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    format: str | None = Field(
        default=None, description="Spark's date or time pattern, for example yyyy-MM-dd HH:mm"
    )
    unit: str | None = None
    description: str | None = None


class SourceConfig(Section):
    """One raw table: where its files are, how they are written, which columns they must have."""

    path: str | tuple[str, ...] = Field(
        description="file, folder, glob, or a list of these, relative to the project's root"
    )
    format: Literal["csv", "parquet"] = "csv"
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=4)] = ","
    quote: Annotated[str, StringConstraints(min_length=1, max_length=1)] = '"'
    encoding: str = "UTF-8"
    multiline: bool = False
    null_values: tuple[str, ...] = ("", "NA")
    extra_columns: Literal["ignore", "refuse"] = "ignore"
    columns: Annotated[dict[Name, ColumnConfig], Field(min_length=1)]
    key: tuple[Name, ...] = Field(
        default=(), description="columns that are unique together; the first row of a key is kept"
    )
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

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


class IngestConfig(Section):
    """Raw files become typed Parquet, one folder a source, and a quarantine."""

    sources: Annotated[dict[Name, SourceConfig], Field(min_length=1)]
