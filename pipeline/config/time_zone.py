"""Names of time zones."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(
            "must be a name of the IANA time zone data base, such as Europe/Berlin. "
            f"Got {value!r} instead"
        ) from error
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""A name of the IANA time zone data base."""
