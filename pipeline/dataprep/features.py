"""The feature table: the columns that models may see, in their roles' types, checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.preprocess import FOLD, SPLIT, PreprocessConfig
from pipeline.dataprep.drift import describe_missing
from pipeline.dataprep.folds import with_folds
from pipeline.dataprep.held_out import is_trained, with_split
from pipeline.dataprep.session import prepare_session
from pipeline.errors import ConfigError, DataRefused

_COUNTABLE = (T.NumericType, T.BooleanType)
_CLASSES = (T.StringType, T.BooleanType)
_ORDERED = (T.TimestampType, T.TimestampNTZType, T.DateType)


@dataclass(frozen=True)
class Segments:
    """Segments of a feature table, in its order, with what the layout needs to know of them.

    Attributes:
        row_bytes: mean bytes of a row in memory.
        untrained: segments without a training row that has a target.
        untested: segments without a test row.
    """

    values: list[tuple[str | None, ...]]
    rows: list[int]
    row_bytes: float
    untrained: int = 0
    untested: int = 0

    @property
    def total(self) -> int:
        return sum(self.rows)


def feature_table(frame: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Take the columns that have a role, in the type of the role.

    Returns:
        ``config.columns`` in order and ``split``. Numeric features and the target are doubles
        (NaN becomes null), but a target of text or booleans, which names classes, is as it is;
        categorical features and segment columns are strings, ``time`` a UTC timestamp, keys as
        they are. ``split`` is ``train``, ``test`` or ``gap``: see ``with_split``. Where folds are
        not by time, ``fold`` comes last: see ``with_folds``.

    Raises:
        ConfigError: a column is missing, with the nearest name there is; or its type cannot play
            its role.
    """
    prepare_session(frame.sparkSession)
    _check_columns(frame, config)
    strings = {*config.features.categorical, *config.segment}
    doubles = {*config.features.numeric, *config.carry}
    if not isinstance(frame.schema[config.target].dataType, _CLASSES):
        doubles.add(config.target)

    def cast(name: str) -> Column:
        column = F.col(f"`{name}`")
        if name in doubles:
            value = column.cast("double")
            return F.when(~F.isnan(value), value).alias(name)
        if name == config.time:
            return column.cast("timestamp").alias(name)
        return (column.cast("string") if name in strings else column).alias(name)

    table = with_split(frame.select(*(cast(name) for name in config.columns)), config)
    return with_folds(table, config, is_trained(config))


def check_rows(table: DataFrame, config: PreprocessConfig) -> Segments:
    """Check what models rely on, and measure the segments, in two small jobs.

    Returns:
        Segments in ascending order, null first, by the bytes of their UTF-8.

    Raises:
        DataRefused: there is no row; a time or a key is null; a number is infinite; or two rows
            have one key. The message shows one of them.
    """
    names = list(config.segment)
    numbers = [f.name for f in table.schema if isinstance(f.dataType, T.DoubleType)]
    infinite = [F.abs(name) == float("inf") for name in numbers if name not in config.key]
    strings = [F.coalesce(F.octet_length(name), F.lit(0)) for name in _strings(table)]
    broken = {
        "time": F.col(config.time).isNull(),
        "key": _any([F.col(name).isNull() for name in config.key]),
        "infinite": F.coalesce(_any(infinite), F.lit(False)),
    }
    rows = (
        table.groupBy(*names)
        .agg(
            F.count("*").alias("_rows"),
            F.sum(_total(strings)).alias("_text_bytes"),
            F.count_if(is_trained(config)).alias("_trained"),
            F.count_if(F.col(SPLIT) == "test").alias("_tested"),
            *(F.count_if(condition).alias(f"_{kind}") for kind, condition in broken.items()),
        )
        .collect()
    )
    total = sum(row["_rows"] for row in rows)
    if not total:
        raise DataRefused("the feature table has no row", hint="check the steps' joins and filters")
    for kind, condition in broken.items():
        if count := sum(row[f"_{kind}"] for row in rows):
            raise _broken_rows(table, config, kind, condition, count)
    _check_unique(table, config)
    ordered = sorted(rows, key=lambda row: [_sort_key(row[name]) for name in names])
    text_bytes = sum(row["_text_bytes"] for row in rows)
    return Segments(
        values=[tuple(row[name] for name in names) for row in ordered],
        rows=[row["_rows"] for row in ordered],
        # 8 bytes a value, as Arrow holds numbers, times and the offsets of strings.
        row_bytes=8 * len(table.columns) + text_bytes / total,
        untrained=sum(not row["_trained"] for row in rows),
        untested=sum(not row["_tested"] for row in rows),
    )


def _check_columns(frame: DataFrame, config: PreprocessConfig) -> None:
    missing = [name for name in config.columns if name not in frame.columns]
    problems = [f"step {config.output}: {p}" for p in describe_missing(missing, frame.columns)]
    types = {field.name: field.dataType for field in frame.schema.fields}
    for name in (config.target, *config.features.numeric, *config.carry):
        if name == config.target and isinstance(types.get(name), _CLASSES):
            continue
        if name in types and not isinstance(types[name], _COUNTABLE):
            problems.append(f"{name} must be a number. Got {types[name].simpleString()} instead")
    for name in (*config.key, *config.segment, *config.features.categorical):
        if name in types and not isinstance(types[name], T.AtomicType):
            problems.append(f"{name} must be one value. Got {types[name].simpleString()} instead")
    if config.time in types and not isinstance(types[config.time], _ORDERED):
        found = types[config.time].simpleString()
        problems.append(f"time: {config.time} must be a timestamp or a date. Got {found} instead")
    for name in {*config.segment, *config.features.categorical, config.time} & {
        *(() if isinstance(types.get(config.target), _CLASSES) else (config.target,)),
        *config.features.numeric,
    }:
        problems.append(f"{name} is a number in one role and none in another")
    own = {SPLIT} if config.split.kind == "time" else {SPLIT, FOLD}
    for name in config.columns:
        if name.lower() in own:  # Spark does not tell the letters' case
            problems.append(f"{name!r} is the pipeline's own column; name yours otherwise")
    if problems:
        raise ConfigError("\n".join(problems), hint="correct preprocess or the last step's SQL")


def _broken_rows(
    table: DataFrame, config: PreprocessConfig, kind: str, condition: Column, count: int
) -> DataRefused:
    row = table.filter(condition).orderBy(*config.key).first()
    values = row.asDict() if row else {}
    if kind == "infinite":
        names = [name for name, value in values.items() if value in (float("inf"), -float("inf"))]
        what = f"an infinite number, in {', '.join(names)}"
    else:
        what = f"no {config.time}" if kind == "time" else "a null in its key"
    shown = {name: values.get(name) for name in (*config.key, config.time)}
    return DataRefused(
        f"{count:,} rows of step {config.output} have {what}; for example {shown}",
        hint="filter or correct these rows in the SQL",
    )


def _check_unique(table: DataFrame, config: PreprocessConfig) -> None:
    names = list(config.key)
    twice = table.groupBy(*names).agg(F.count("*").alias("_rows")).filter("_rows > 1")
    found = twice.orderBy(*names).limit(1).collect()
    if found:
        row = found[0]
        raise DataRefused(
            f"preprocess.key ({', '.join(names)}) is not unique in step {config.output}: "
            f"{row['_rows']} rows have { ({name: row[name] for name in names}) }",
            hint="a join multiplied rows, or the key lacks a column",
        )


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda left, right: left | right, conditions)


def _total(values: list[Column]) -> Column:
    return reduce(lambda left, right: left + right, values, F.lit(0).cast("long"))


def _strings(table: DataFrame) -> list[str]:
    return [field.name for field in table.schema if isinstance(field.dataType, T.StringType)]


def _sort_key(value: str | None) -> tuple[bool, bytes]:
    # Spark compares strings by bytes and puts null first; Python compares code points, equally.
    return value is not None, (value or "").encode("utf-8", "surrogatepass")
