"""What a sample says about one column: how it is declared, and its values in that type."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.starter.nulls import PLAIN_NULLS, is_marker, sentinels
from pipeline.starter.numbers import NumberPattern, as_number, number_pattern
from pipeline.starter.times import TimePattern, parse, time_pattern

_TRUTH = {"true": True, "false": False, "t": True, "f": False, "yes": True, "no": False} | {
    "y": True,
    "n": False,
}
_OWN = {"split", "fold", "prediction", "baseline", "model", "segment", "as_of", "row_id"}
"""Names that the pipeline's own tables and the SQL have."""

_TIME_NAME = re.compile(r"time|date|epoch|(^|_)(ts|at|when)$|[a-z](At|Ts)$", re.I)
_SINCE_2000, _UNTIL_2100 = 946_684_800, 4_102_444_800

Setting = str | bool


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: what it is called in the pipeline.
        origin: what it is called in the files.
        settings: how it is declared: type, format, decimal and the like.
        values: (n_rows,) its values in the sample, in the declared type.
        notes: what was assumed and could be otherwise.
        nulls: texts that stand for a missing value.
        sql: what makes the values of what is declared, where these are something else.
    """

    name: str
    origin: str
    settings: dict[str, Setting]
    values: pa.Array
    notes: tuple[str, ...] = ()
    nulls: frozenset[str] = field(default_factory=frozenset)
    sql: str | None = None

    @property
    def type(self) -> str:
        return str(self.settings["type"])

    @property
    def is_number(self) -> bool:
        return bool(pa.types.is_integer(self.values.type) or pa.types.is_floating(self.values.type))

    @property
    def is_time(self) -> bool:
        return bool(pa.types.is_temporal(self.values.type))

    @property
    def has_hours(self) -> bool:
        return bool(pa.types.is_timestamp(self.values.type))


def column_of_texts(
    name: str, origin: str, texts: Sequence[str | None], decimal_comma: bool
) -> Column:
    """Find the type of a column of texts; ``None`` is a cell that is not there."""
    distinct = list(dict.fromkeys(text for text in texts if text is not None))
    rest = [text for text in distinct if not is_marker(text)]
    markers = frozenset(distinct) - frozenset(rest)
    bare = list(dict.fromkeys(text.strip() for text in rest))
    if bare and (times := time_pattern(bare)):
        return _times(name, origin, texts, times, markers)
    if bare and (numbers := number_pattern(bare, decimal_comma)):
        return _numbers(name, origin, texts, numbers, markers)
    if bare and {text.lower() for text in bare} <= _TRUTH.keys():
        truth = {text: _TRUTH[text.strip().lower()] for text in rest}
        values = pa.array([truth.get(text) if text else None for text in texts], pa.bool_())
        return Column(name, origin, {"type": "boolean"}, values, (), markers)
    nulls = markers & PLAIN_NULLS
    strings = pa.array([None if text in nulls else text for text in texts], pa.string())
    return Column(name, origin, {"type": "string"}, strings, (), nulls)


def names_of(origins: Sequence[str]) -> list[str]:
    """Names for the pipeline: letters, digits and _; each once, whatever the letters' case."""
    names: list[str] = []
    taken: set[str] = set(_OWN)
    for origin in origins:
        name = origin if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", origin) else _spelled(origin)
        unique, number = name, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{name[:60]}_{number}"
        taken.add(unique.lower())
        names.append(unique)
    return names


def epoch(column: Column) -> Column | None:
    """A column of seconds or milliseconds since 1970 as times, if name and values say so."""
    if not pa.types.is_integer(column.values.type) or not _TIME_NAME.search(column.origin):
        return None
    least = pc.min(column.values).as_py()
    most = pc.max(column.values).as_py()
    for unit, scale in (("seconds", 1), ("millis", 1_000)):
        if least is not None and _SINCE_2000 * scale <= least <= most < _UNTIL_2100 * scale:
            moments = pc.multiply(column.values, 1_000_000 // scale).cast(pa.timestamp("us"))
            note = f"{unit} since 1970, made a time by the SQL"
            sql = f"timestamp_{unit}(`{column.name}`)"
            return replace(column, values=moments, notes=(*column.notes, note), sql=sql)
    return None


def _spelled(origin: str) -> str:
    plain = unicodedata.normalize("NFKD", origin.replace("ß", "ss"))
    ascii_only = plain.encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", ascii_only).strip("_")[:60] or "column"
    return name if name[0].isalpha() else f"c_{name}"


def _times(
    name: str,
    origin: str,
    texts: Sequence[str | None],
    pattern: TimePattern,
    markers: frozenset[str],
) -> Column:
    found = {text: parse(text.strip(), pattern.format) for text in set(texts) if text}
    settings: dict[str, Setting] = {"type": pattern.kind}
    notes = []
    if pattern.format:
        settings["format"] = pattern.format
    if pattern.other:
        notes.append(f"{pattern.other} would fit too")
    if pattern.kind == "timestamp" and not pattern.has_zone:
        notes.append("no zone: taken as UTC; else add for example zone: Europe/Berlin")
    if pattern.format and re.search(r"(?<!y)yy(?!y)", pattern.format):
        notes.append("years from 2000 on")
    moments = pa.array([found.get(text) if text else None for text in texts], pa.timestamp("us"))
    values = moments.cast(pa.date32()) if pattern.kind == "date" else moments
    return Column(name, origin, settings, values, tuple(notes), markers)


def _numbers(
    name: str,
    origin: str,
    texts: Sequence[str | None],
    pattern: NumberPattern,
    markers: frozenset[str],
) -> Column:
    kind: type[int] | type[float] = int if pattern.kind == "long" else float
    found = {
        text: kind(plain)
        for text in set(texts)
        if text and text not in markers
        for plain in [as_number(text.strip(), pattern)]
    }
    settings: dict[str, Setting] = {"type": pattern.kind}
    if pattern.decimal != ".":
        settings["decimal"] = pattern.decimal
    if pattern.thousands:
        settings["thousands"] = pattern.thousands
    notes = ["the marks could be the other way round"] if pattern.guessed else []
    values = [found.get(text) if text else None for text in texts]
    missing = sentinels([value for value in values if value is not None])
    written = frozenset(text for text, value in found.items() if value in missing)
    if written:
        notes.append(f"{', '.join(sorted(written))} far from all others: taken as missing")
        values = [None if value in missing else value for value in values]
    array = pa.array(values, pa.int64() if kind is int else pa.float64())
    column = Column(name, origin, settings, array, tuple(notes), markers | written)
    return epoch(column) or column
