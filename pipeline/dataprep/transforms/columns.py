"""What transforms ask of the columns that they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.dataprep.drift import describe_missing
from pipeline.errors import ConfigError

_TIMES = (T.TimestampType, T.TimestampNTZType, T.DateType)
_NUMBERS = (T.NumericType, T.BooleanType)
Types = tuple[type[T.DataType], ...]
_WORDS: dict[Types, str] = {
    _TIMES: "a timestamp or a date",
    _NUMBERS: "a number",
    (T.StringType,): "text",
}


@dataclass(frozen=True)
class Setting:
    """What a transform may know besides its rows.

    Attributes:
        where: the step and transform, for messages.
        views: the sources and the steps before this one, by name.
        time: the column of ``preprocess.time``.
        train_until: from this time on rows are not trained on, and nothing is learned from them;
            None where the test is not by time.
    """

    where: str
    views: Mapping[str, DataFrame]
    time: str
    train_until: datetime | None


def check_columns(
    frame: DataFrame, names: Iterable[str], where: str, types: Types = (T.DataType,)
) -> None:
    """Refuse columns that are missing or of another type than ``types``.

    Raises:
        ConfigError: naming them all, with the nearest name there is.
    """
    names = list(dict.fromkeys(names))
    known = {field.name: field.dataType for field in frame.schema}
    missing = [name for name in names if name not in known]
    problems = describe_missing(missing, frame.columns)
    problems += [
        f"{name} must be {_WORDS[types]}. Got {kind.simpleString()} instead"
        for name in names
        if (kind := known.get(name)) is not None and not isinstance(kind, types)
    ]
    if problems:
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))


def check_times(frame: DataFrame, names: Iterable[str], where: str) -> None:
    """Refuse columns that are no timestamps or dates."""
    check_columns(frame, names, where, _TIMES)


def check_numbers(frame: DataFrame, names: Iterable[str], where: str) -> None:
    """Refuse columns that are neither numbers nor booleans."""
    check_columns(frame, names, where, _NUMBERS)


def check_texts(frame: DataFrame, names: Iterable[str], where: str) -> None:
    """Refuse columns that are no text."""
    check_columns(frame, names, where, (T.StringType,))


def with_new(frame: DataFrame, new: Mapping[str, Column], where: str) -> DataFrame:
    """The frame with columns behind its own."""
    check_new(frame, list(new), where)
    return frame.select("*", *(column.alias(name) for name, column in new.items()))


def check_new(frame: DataFrame, names: list[str], where: str) -> None:
    """Refuse new columns whose names are taken, by the frame or by each other."""
    taken = [name.lower() for name in (*frame.columns, *names)]  # Spark does not tell the case
    twice = [name for name in names if taken.count(name.lower()) > 1]
    if twice:
        raise ConfigError(
            f"{where}: there is a column {twice[0]!r} already",
            hint="set a prefix or a name, or name each column and window once",
        )


def number(name: str) -> Column:
    """A column of numbers as doubles, NaN as null."""
    value = F.col(f"`{name}`").cast("double")
    return F.when(~F.isnan(value), value)


def instant(name: str) -> Column:
    """A column of times as microseconds since 1970 in UTC; a date is its midnight in UTC."""
    return F.unix_micros(F.col(f"`{name}`").cast("timestamp"))
