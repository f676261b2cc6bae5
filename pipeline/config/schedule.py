"""``schedule``: when ``pipeline schedule`` runs the pipeline."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from pipeline.config.section import Section


class ScheduleConfig(Section):
    """A cron expression of five fields, read in a named time zone."""

    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(
                "must be five fields: minute hour day-of-month month day-of-week. "
                f"Got {value!r} instead"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"must be a name of the IANA time zone data base, such as Europe/Berlin. "
                f"Got {value!r} instead"
            ) from error
        return value
