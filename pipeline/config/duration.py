"""Lengths of time as people write them: ``90s``, ``2h``, ``7d``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_MICROS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_MICROS |= {"d": 24 * _MICROS["h"], "w": 7 * 24 * _MICROS["h"]}
_LONGEST = 36_525 * _MICROS["d"]


def micros(duration: str) -> int:
    """Microseconds; a day is 24 hours, also when clocks are put back or forth."""
    return int(duration[:-1]) * _MICROS[duration[-1]]


def _duration(value: str) -> str:
    if not re.fullmatch(r"\d{1,9}[smhdw]", value) or micros(value) > _LONGEST:
        raise ValueError(
            "must be a whole number of seconds, minutes, hours, days or weeks, at most 100 years: "
            f"90s, 30m, 2h, 7d, 4w. Got {value!r} instead"
        )
    return value


def _positive(value: str) -> str:
    if not micros(value):
        raise ValueError(f"must be longer than nothing. Got {value!r} instead")
    return value


Duration = Annotated[str, AfterValidator(_duration)]
"""A length of time, zero included."""

Span = Annotated[Duration, AfterValidator(_positive)]
"""A length of time above zero."""
