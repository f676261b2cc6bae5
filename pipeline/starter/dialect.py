"""How CSV files are written: their encoding, delimiter and quotes, found in a piece of them."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_DELIMITERS = (",", ";", "\t", "|", ":")
_BOMS = {
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_LINES = 200


@dataclass(frozen=True)
class Dialect:
    """What a reader must know before it can cut lines into cells."""

    encoding: str
    delimiter: str
    quote: str


def encoding_of(pieces: Sequence[bytes]) -> str:
    """UTF-8 where all of it is; else UTF-16 by its mark, or one of the two Western code pages."""
    for mark, name in _BOMS.items():
        if pieces and pieces[0].startswith(mark):
            return name
    try:
        for piece in pieces:
            piece.decode("utf-8")
    except UnicodeDecodeError:
        # ISO-8859-1 has control characters where windows-1252 has quotes, dashes and the euro.
        codes = bytes(range(0x80, 0xA0))
        return "windows-1252" if any(set(piece) & set(codes) for piece in pieces) else "ISO-8859-1"
    return "UTF-8"


def dialect_of(lines: Sequence[str], encoding: str) -> Dialect:
    """The delimiter and quote that cut most lines into the same number of cells, above one."""
    some = [line for line in lines[:_LINES] if line.strip()]
    best = Dialect(encoding, ",", '"')
    best_found: tuple[float, int] = (0.0, 1)
    for quote in ('"', "'"):
        if quote == "'" and not _is_quoted(some):
            continue
        for delimiter in _DELIMITERS:
            found = _evenness(some, delimiter, quote)
            if found[1] > 1 and found > best_found:
                best, best_found = Dialect(encoding, delimiter, quote), found
    return best


def cut(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The cells of each record; blank lines are none."""
    rows = csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote)
    return [row for row in rows if any(cell.strip() for cell in row)]


def _evenness(lines: Sequence[str], delimiter: str, quote: str) -> tuple[float, int]:
    """The share of the records with the most frequent number of cells, in tenths; that number."""
    try:
        widths = Counter(
            len(row) for row in csv.reader(lines, delimiter=delimiter, quotechar=quote)
        )
    except csv.Error:
        return 0.0, 1
    if not widths:
        return 0.0, 1
    width, count = widths.most_common(1)[0]
    return round(count / widths.total(), 1), width


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether single quotes stand around cells, and are no apostrophes."""
    starts = sum(line.startswith("'") or ",'" in line or ";'" in line for line in lines)
    return starts > len(lines) / 2 and not any('"' in line for line in lines)
