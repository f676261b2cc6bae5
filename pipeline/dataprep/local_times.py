"""Times as the clocks of a place show them, as instants."""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

SKIPPED_BY_CLOCKS = "skipped_by_clocks"
"""The rule that a time breaks which the clocks of its zone never show."""


def as_utc(local: Column, zone: str) -> Column:
    """The instant at which the clocks of ``zone`` show a time.

    Where clocks are put back they show an hour twice: the earlier instant is taken, as java.time
    does. Where they are put forward an hour is never shown: null, for it is a mistake in the data
    and no instant is right.

    Args:
        local: timestamps whose time in UTC is the one that the clocks show.
        zone: the name of a time zone.
    """
    instant = F.to_utc_timestamp(local, zone)
    return F.when(F.from_utc_timestamp(instant, zone) == local, instant)


def format_has_offset(pattern: str) -> bool:
    """Whether one of Spark's date and time patterns reads a zone or an offset."""
    without_text = re.sub(r"'[^']*'", "", pattern)
    return re.search("[VzOXxZ]", without_text) is not None
