"""``schedule``: when ``pipeline schedule`` runs the pipeline."""

from __future__ import annotations

from pydantic import field_validator

from pipeline.config.section import Section
from pipeline.config.time_zone import TimeZone


class ScheduleConfig(Section):
    """A cron expression of five fields, read in a named time zone."""

    cron: str
    timezone: TimeZone = "UTC"

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(
                "must be five fields: minute hour day-of-month month day-of-week. "
                f"Got {value!r} instead"
            )
        return value
