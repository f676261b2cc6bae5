"""Texts as typed values: null where a text is not exactly one value of the type.

Spark's casts are taken as they are where they are strict, and fenced where they are lax: ``12.7``
is not an integer, ``1d`` is not a number, ``2013`` is not a date, and no digit of a decimal is
rounded away.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipeline.config.column import ColumnConfig
from pipeline.dataprep.local_times import as_utc, format_has_offset

_DATE = r"^(?!0000)\d{4}-\d{2}-\d{2}$"
_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)?$"
_TO_SECONDS = rf"^(?!0000)\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}}:\d{{2}}:\d{{2}}(\.\d{{1,9}})?{_ZONE}"
_TO_MINUTES = rf"^((?!0000)\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}}:\d{{2}}){_ZONE}"


def from_text(text: Column, column: ColumnConfig) -> Column:
    """A column of texts as ``column.type``; null where a text is not exactly one value of it.

    Spaces around a value are not part of it, but for strings.

    - int, long: digits with a sign; ``517.0``, as pandas writes integers beside nulls, is 517.
    - float, double: decimal or exponent notation; no ``NaN`` and no infinity.
    - decimal(p, s): digits with at most s of them behind the point, and zeros after those.
    - boolean: true t yes y 1, false f no n 0, in any case.
    - date: yyyy-MM-dd, or ``format``. Years 0001 to 9999.
    - timestamp: ISO 8601 with Z or an offset, to UTC; or ``format``, by the same rule. Without an
      offset it is a time of ``zone``, or UTC where none is declared: a time that the clocks pass
      twice is the earlier one, and one that they skip is none. Digits beyond microseconds are cut.

    Numbers may have the declared ``decimal`` and ``thousands`` marks: ``1.234,50``. Between
    ``thousands`` marks stand three digits; a number may also have none of them.
    """
    kind = column.type
    if kind == "string":
        return text
    if column.decimal != "." or column.thousands is not None:
        text = _plain_number(text, column)
    if kind in ("int", "long"):
        whole = ~F.contains(text, F.lit("."))  # the common case, without a regular expression
        return F.when(whole | text.rlike(r"^[+-]?\d+\.0*$"), text.cast(kind))
    if kind in ("float", "double"):
        # Java also reads 1d, 2f and 0x1p3. Searching for bytes is far cheaper than a pattern.
        java_only = reduce(or_, (F.contains(text, F.lit(mark)) for mark in "dDfFxX"))
        return F.when(~java_only, text.cast(kind))
    if kind == "boolean":
        return text.cast("boolean")
    text = F.trim(text)
    if kind == "date":
        if column.format:
            return _in_years(F.to_date(text, column.format))
        return F.when(text.rlike(_DATE), text.cast("date"))
    if kind == "timestamp":
        return _timestamp(text, column)
    scale = int(kind[8:-1].split(",")[1])
    return F.when(text.rlike(rf"^[+-]?(\d+\.?|\d*\.\d{{1,{max(scale, 1)}}})0*$"), text.cast(kind))


def default_of(column: ColumnConfig) -> Column:
    """The declared default as a value of the column's type; dates and times are ISO 8601."""
    plain = {"format": None, "decimal": ".", "thousands": None}
    return from_text(F.lit(str(column.default)), column.model_copy(update=plain))


def _plain_number(text: Column, column: ColumnConfig) -> Column:
    """The number as programs write it, or null where its marks are not as declared."""
    point, group = f"[{column.decimal}]", f"[{column.thousands}]" if column.thousands else ""
    grouped = rf"\d{{1,3}}({group}\d{{3}})+|" if group else ""
    number = rf"^[+-]?({grouped}\d*)({point}\d*)?([eE][+-]?\d+)?$"
    trimmed = F.trim(text)
    marks = column.decimal + (column.thousands or "")
    return F.when(trimmed.rlike(number), F.translate(trimmed, marks, "."))


def _timestamp(text: Column, column: ColumnConfig) -> Column:
    if column.format:
        found = _in_years(F.to_timestamp(text, column.format))
        has_offset = F.lit(format_has_offset(column.format))
    else:
        found = _iso_timestamp(text)
        has_offset = text.rlike(rf":\d{{2}}(\.\d+)?{_ZONE[:-2]}$")
    if column.zone is None:
        return found
    return F.when(has_offset, found).otherwise(as_utc(found, column.zone))


def _iso_timestamp(text: Column) -> Column:
    # The usual form is told without a regular expression, which costs more than the cast itself,
    # and cast without its Z, which is looked up anew for each value. What is no digit between the
    # marks, the cast finds, but for a last digit that is missing.
    usual = text.like("____-__-__T__:__:__Z") & F.substring(text, 19, 1).between("0", "9")
    usual = usual & ~F.startswith(text, F.lit("0000"))
    with_seconds = F.regexp_replace(text, _TO_MINUTES, "$1:00$2")
    return (
        F.when(
            usual & ~F.startswith(text, F.lit("0000")), F.substring(text, 1, 19).cast("timestamp")
        )
        .when(text.rlike(_TO_SECONDS), text.cast("timestamp"))
        .when(text.rlike(_DATE), text.cast("timestamp"))
        .when(text.rlike(_TO_MINUTES), with_seconds.cast("timestamp"))
    )


def is_finite(value: Column) -> Column:
    """True for floats and doubles that are neither NaN nor infinite; null for null."""
    return ~F.isnan(value) & (F.abs(value) < float("inf"))


def _in_years(value: Column) -> Column:
    return F.when(F.year(value).between(1, 9999), value)
