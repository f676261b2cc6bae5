"""Whether a CSV file begins with the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.starter.numbers import number_pattern
from pipeline.starter.times import time_pattern

_YEAR = re.compile(r"(19|20)\d\d")


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: text stands above numbers or times, or all is text."""
    first, rest = rows[0], rows[1:]
    if not rest:
        return True
    above = [
        cell.strip()
        for position, cell in enumerate(first)
        if _is_value([row[position] for row in rest if position < len(row)])
    ]
    years = len(set(above)) == len(above) and all(_YEAR.fullmatch(cell) for cell in above)
    return not above or years or not all(_is_value([cell]) or not cell for cell in above)


def header_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """The columns' names; without a header ``column_1`` and on."""
    if has_header(rows):
        return [cell.strip() for cell in rows[0]]
    return [f"column_{number}" for number in range(1, len(rows[0]) + 1)]


def _is_value(cells: Sequence[str]) -> bool:
    texts = list(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))
    return bool(texts) and bool(number_pattern(texts, False) or time_pattern(texts))
