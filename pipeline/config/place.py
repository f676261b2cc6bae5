"""Where a source's rows come from: files, a database, or a catalog that Spark knows."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from pipeline.config.jdbc import JdbcConfig
from pipeline.config.section import Name, Section
from pipeline.config.uri import is_remote

ROWS = "rows"
"""The format of what has no files: rows of a table, all their values being taken as texts."""


def _table(value: str) -> str:
    if not re.fullmatch(r"\w+(\.\w+){0,2}", value):
        raise ValueError(f"must be table, database.table or catalog.database.table. Got {value!r}")
    return value


class SourcePlace(Section):
    """Exactly one of ``path``, ``jdbc``, ``table`` and ``sql``."""

    path: str | tuple[str, ...] | None = Field(
        default=None,
        description="file, folder, glob, URI, or a list of these, relative to the project's root",
    )
    storage: dict[Name, SecretStr | bool | int | float] = Field(
        default={}, description="of a URI: what its file system is made with, such as endpoints"
    )
    jdbc: JdbcConfig | None = None
    table: Annotated[str, AfterValidator(_table)] | None = Field(
        default=None, description="a table of Spark's catalog"
    )
    sql: str | None = Field(default=None, description="one SELECT over tables of Spark's catalog")

    @model_validator(mode="after")
    def _one_place(self) -> SourcePlace:
        places = {"path": self.path, "jdbc": self.jdbc, "table": self.table, "sql": self.sql}
        given = [name for name, value in places.items() if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"must have one of path, jdbc, table and sql. Got {found} instead")
        return self

    @model_validator(mode="after")
    def _rows_have_no_format(self) -> SourcePlace:
        source: Any = self  # the section that this one is a part of has the format
        found = source.format
        given = "format" in self.model_fields_set and found != ROWS
        if given if self.path is None else found == ROWS:
            raise ValueError(f"format is of files, and {ROWS} of none. Got {found!r} instead")
        if self.path is None:
            # The section is frozen for all others; a validator is the last hand on it.
            object.__setattr__(self, "format", ROWS)
            if "null_values" not in self.model_fields_set:  # a database has nulls of its own
                object.__setattr__(self, "null_values", ())
        return self

    @model_validator(mode="after")
    def _storage_is_of_uris(self) -> SourcePlace:
        if self.storage and not any(is_remote(path) for path in self.paths):
            raise ValueError("storage is of a path that is a URI, such as s3://bucket/file.csv")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths and URIs; none where rows come from a database or a catalog."""
        if self.path is None:
            return ()
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def is_local(self) -> bool:
        """Whether all of it are files of this machine's file system."""
        return bool(self.paths) and not any(is_remote(path) for path in self.paths)

    @property
    def place(self) -> str:
        """What is read in place of files, in a few words."""
        if self.jdbc is not None:
            return self.jdbc.place
        return self.table or "sql"
