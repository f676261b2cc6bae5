"""What a parser that is written in Python makes of a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Cells(NamedTuple):
    """One row of a record: its element's number from 1 if it was exploded, and its texts.

    A record that cannot be read is one row with a rule, what was found, and no text.
    """

    item: int | None
    texts: Sequence[str | None]
    rule: str | None = None
    found: str | None = None


Parse = Callable[[str], Iterable[Cells]]
"""The rows of one record; it raises nothing, for a record that is broken is a row."""
