"""``ingest.sources.NAME.incremental``: read what is new or has changed, and keep the rest."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.section import Count, Name, Section


def _pattern(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression. Got {value!r} instead: {error}") from error
    if not groups:
        raise ValueError(
            f"must have a group that is the day, such as (\\d{{4}}-\\d{{2}}-\\d{{2}}). "
            f"Got {value!r} instead"
        )
    return value


class IncrementalConfig(Section):
    """A source is ingested in units: its files, or its partitions by date.

    A unit is read again when one of its files, the source's columns and rules, or the code
    changes; the table is the same as if all of it had been read.
    """

    by: Literal["file", "partition"] = "file"
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
        default=None,
        description="searched in a file's path; its groups together are the partition's day, "
        "month or year: yyyyMMdd, yyyyMM or yyyy, with any marks between the digits",
    )
    column: Name | None = Field(
        default=None, description="a date or timestamp: the partitions that a file has rows of"
    )
    watermark_days: Count | None = Field(
        default=None,
        description="a partition is closed when it ended this many days before the newest one; "
        "files of closed partitions that are new, changed or gone are late",
    )
    late: Literal["take", "reprocess", "refuse"] = Field(
        default="take",
        description="take: read the late files; reprocess: and all others with rows of their "
        "partitions; refuse: end the run, until a backfill names the days",
    )

    @model_validator(mode="after")
    def _partitions_have_a_day(self) -> IncrementalConfig:
        given = [name for name in ("pattern", "column") if getattr(self, name) is not None]
        if self.by == "partition" and len(given) != 1:
            raise ValueError(
                "by: partition must have either pattern or column. "
                f"Got {' and '.join(given) or 'neither'} instead"
            )
        if self.by == "file" and (given or self.watermark_days is not None):
            names = [*given, *(["watermark_days"] if self.watermark_days is not None else [])]
            raise ValueError(f"{', '.join(names)} must go with by: partition")
        if self.late != "take" and self.watermark_days is None:
            raise ValueError(f"late: {self.late} must go with watermark_days")
        return self
