"""A row as an example of each broken rule, with its place in its file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import unquote

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.dataprep.measure import VALUE
from pipeline.dataprep.quarantine import Reason
from pipeline.dataprep.verdict import Example
from pipeline.store.objects import with_uris

_Name = TypeVar("_Name")
Place = tuple[str, int]
"""(file's URI, first byte of its part)."""


def examples_of(
    first: Mapping[str, Mapping[str, Any]],
    reasons: Sequence[Reason],
    raw: DataFrame,
    first_row: int,
) -> dict[str, Example]:
    """Examples by rule: of quarantined rows from their counted reasons, of others from ``first``.

    Args:
        first: rule → ``_file, _block, _line, _row`` and the value of the first row that breaks
            it and is not set aside; ``_row`` is missing where reading could not know it.
        reasons: of the quarantined rows.
        raw: all rows as they were read. Their lines are counted only where a number is missing,
            which takes no parsing.
        first_row: the number of a file's first row: 0 where that is a header.
    """
    return examples_of_reasons(reasons) | examples_at(first, raw, first_row)


def examples_of_reasons(reasons: Sequence[Reason]) -> dict[str, Example]:
    """The first row that was set aside, by rule."""
    return {r.rule: Example(r.value, r.file, r.row) for r in reasons}


def examples_at(
    first: Mapping[_Name, Mapping[str, Any]], raw: DataFrame, first_row: int
) -> dict[_Name, Example]:
    """The rows at some places, as ``examples_of`` is given them."""
    unnumbered = any("_row" not in place for place in first.values())
    offsets = _offsets(raw, first_row) if unnumbered else {}
    found = {}
    for name, place in first.items():
        offset = offsets.get((place["_file"], place["_block"]), 0)
        row = place.get("_row", place["_line"] + offset)
        path = unquote(re.sub("^file:/*", "/", place["_file"]))  # a table's place has no scheme
        found[name] = Example(place[VALUE], with_uris(path), row)
    return found


def _offsets(raw: DataFrame, first_row: int) -> dict[Place, int]:
    """What makes of a line's id its row number, by part of a file; see ``with_row_numbers``."""
    counted = raw.groupBy("_file", "_block").agg(F.min("_line"), F.max("_line"))
    parts = sorted(tuple(row) for row in counted.collect())
    offsets: dict[Place, int] = {}
    for _, of_file in groupby(parts, key=lambda part: part[0]):
        earlier = first_row
        for file, block, first_line, last_line in of_file:
            offsets[file, block] = earlier - first_line
            earlier += last_line - first_line + 1
    return offsets
