"""Spans of whole days: what a partition covers, what a backfill is about."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, order=True)
class Days:
    """From ``first`` to ``last``, both included."""

    first: date
    last: date

    def meets(self, other: Days) -> bool:
        """Whether they have a day in common."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        if self.first == self.last:
            return self.first.isoformat()
        return f"{self.first.isoformat()} to {self.last.isoformat()}"


def partition_days(text: str) -> Days | None:
    """The day, month or year that a text names: ``2026-11-02``, ``2026/11`` or ``2026``.

    Whatever stands between the digits does not matter; None where they name no date.
    """
    digits = re.sub(r"\D", "", text)
    if len(digits) not in (4, 6, 8):
        return None
    year, month, day = int(digits[:4]), int(digits[4:6] or 0), int(digits[6:8] or 0)
    try:
        if len(digits) == 8:
            return Days(date(year, month, day), date(year, month, day))
        if len(digits) == 6:
            last = calendar.monthrange(year, month)[1]
            return Days(date(year, month, 1), date(year, month, last))
        return Days(date(year, 1, 1), date(year, 12, 31))
    except ValueError:  # IllegalMonthError is one
        return None
