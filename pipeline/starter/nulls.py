"""Texts and numbers that stand for a missing value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

PLAIN_NULLS = frozenset({"", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "#N/A", "\\N"})
"""Taken as missing in every column."""

_MARKS = PLAIN_NULLS | {
    "?",
    "-",
    "--",
    ".",
    "None",
    "none",
    "nil",
    "missing",
    "(null)",
    "NaT",
    "na",
}
_LEAST_OFTEN = 2
_FAR = 3


def is_marker(text: str) -> bool:
    """Whether a text is no value, provided that all others in its column are numbers or times."""
    return text.strip() in _MARKS


def sentinels(numbers: Sequence[float]) -> set[float]:
    """Numbers such as -999 that come more than once and lie far outside of all others."""
    counts = Counter(numbers)
    found = {n for n, often in counts.items() if often >= _LEAST_OFTEN and _is_nines(n)}
    rest = [number for number in counts if number not in found]
    if not rest:
        return set()
    low, high = min(rest), max(rest)
    reach = max(high - low, abs(high), abs(low), 1.0)
    return {n for n in found if n < low - _FAR * reach or n > high + _FAR * reach} | {
        n for n in found if n <= -99 and low >= 0
    }


def _is_nines(number: float) -> bool:
    digits = str(abs(int(number))) if float(number).is_integer() else ""
    return len(digits) > 1 and set(digits) == {"9"}
