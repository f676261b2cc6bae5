"""``preprocess.steps[].transforms``: what is built in, one section a kind.

A transform adds columns and leaves the others as they are; ``deduplicate`` alone drops rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.duration import Duration, Span
from pipeline.config.section import Name, Section

Item = TypeVar("Item")


def _each_once(values: tuple[Item, ...]) -> tuple[Item, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"must name each once. Got {', '.join(map(str, values))} instead")
    return values


Some = Annotated[tuple[Item, ...], Field(min_length=1), AfterValidator(_each_once)]
"""One or more, each once."""

Names = Some[Name]
Aggregate = Literal["count", "sum", "mean", "min", "max", "std"]
DatePart = Literal[
    "year", "quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute"
]
Period = Literal["hour", "day", "week", "month", "year"]


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError) as error:
        wanted = "must be a time zone such as Europe/Paris or UTC"
        raise ValueError(f"{wanted}. Got {value!r} instead") from error


Zone = Annotated[str, AfterValidator(_zone)]


class _Transform(Section):
    """What all transforms can say of themselves."""

    def made_of(self) -> dict[str, tuple[str, ...]]:
        """New column → the columns of the same row that its value is computed from."""
        return {}


class _OfEach(_Transform):
    """A new column for each of some columns."""

    columns: Names

    def name(self, column: str) -> str:
        """The new column's name."""
        raise NotImplementedError

    def made_of(self) -> dict[str, tuple[str, ...]]:
        return {self.name(column): (column,) for column in self.columns}


class ImputeFlags(_OfEach):
    """``COLUMN_missing``: 1 where the column is null or NaN, else 0."""

    kind: Literal["impute_flags"]

    def name(self, column: str) -> str:
        return f"{column}_missing"


class Log(_OfEach):
    """``COLUMN_log``: the natural logarithm of the column plus ``plus``; null where not above 0."""

    kind: Literal["log"]
    plus: Annotated[float, Field(ge=0)] = 0.0

    def name(self, column: str) -> str:
        return f"{column}_log"


class Clip(_OfEach):
    """``COLUMN_clipped``: values below ``low`` become ``low``, those above ``high`` ``high``."""

    kind: Literal["clip"]
    low: float | None = None
    high: float | None = None

    def name(self, column: str) -> str:
        return f"{column}_clipped"

    @model_validator(mode="after")
    def _has_an_order(self) -> Clip:
        if self.low is None and self.high is None:
            raise ValueError("must set low, high or both. Got neither instead")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high. Got {self.low:g} and {self.high:g}")
        return self


class TextLength(_OfEach):
    """``COLUMN_length``: how many characters the text has; null stays null."""

    kind: Literal["text_length"]

    def name(self, column: str) -> str:
        return f"{column}_length"


class TextHash(_OfEach):
    """``COLUMN_hash``: CRC-32 of the text's UTF-8, modulo ``buckets``; null stays null."""

    kind: Literal["text_hash"]
    buckets: Annotated[int, Field(ge=2, le=2**32)]

    def name(self, column: str) -> str:
        return f"{column}_hash"


class TopCategories(_OfEach):
    """``COLUMN_top``: the ``top`` most frequent values, all others as ``other``; null stays null.

    Learned, so on training rows alone: those with a time before ``split.test_from``. Ties go to
    the value that comes first by its bytes.
    """

    kind: Literal["top_categories"]
    top: Annotated[int, Field(gt=0, le=10_000)]
    other: str = "other"

    def name(self, column: str) -> str:
        return f"{column}_top"


class DateParts(_Transform):
    """``COLUMN_PART`` of a time in ``zone``: weekday 0 is Monday, week is ISO 8601's."""

    kind: Literal["date_parts"]
    column: Name
    parts: Some[DatePart]
    zone: Zone = "UTC"

    def made_of(self) -> dict[str, tuple[str, ...]]:
        return {f"{self.column}_{part}": (self.column,) for part in self.parts}


class CyclicTime(_Transform):
    """``COLUMN_PERIOD_sin`` and ``_cos``: where in each period a time is, by the clock of ``zone``.

    To the second. Periods are as long as they are: a year has 365 or 366 days, a month 28 to 31.
    """

    kind: Literal["cyclic_time"]
    column: Name
    periods: Some[Period]
    zone: Zone = "UTC"

    def made_of(self) -> dict[str, tuple[str, ...]]:
        names = (f"{self.column}_{p}_{wave}" for p in self.periods for wave in ("sin", "cos"))
        return {name: (self.column,) for name in names}


class Ratio(_Transform):
    """``NUMERATOR_per_DENOMINATOR``, or ``name``; null where the denominator is 0 or null."""

    kind: Literal["ratio"]
    numerator: Name
    denominator: Name
    name: Name | None = None

    @property
    def output(self) -> str:
        return self.name or f"{self.numerator}_per_{self.denominator}"

    def made_of(self) -> dict[str, tuple[str, ...]]:
        return {self.output: (self.numerator, self.denominator)}


class Deduplicate(_Transform):
    """Of rows with equal values in ``by``, null being a value, one is kept: the winner.

    It is the ``keep``, first or last, by the columns of ``order``, null lowest; where these tie,
    by all other columns from left to right.
    """

    kind: Literal["deduplicate"]
    by: Names
    order: Names
    keep: Literal["first", "last"]


class History(_Transform):
    """Of other rows, what is known when a row asks: at its time minus ``horizon``.

    A row's values are known from its time on, or ``known_after``: a delay such as ``1d``, or a
    column with the instant (null: never). They are never known before the row's own time. What
    becomes known at the very instant counts only if ``inclusive``. Rows without a time or without
    a value in each column of ``by`` have no history, and are none to others.
    """

    columns: Names
    by: tuple[Name, ...] = Field(
        default=(), description="columns whose values together are a group; none: one group"
    )
    time: Name | None = Field(default=None, description="preprocess.time when left out")
    horizon: Duration = "0s"
    known_after: Duration | Name | None = None
    inclusive: bool = False
    prefix: Name | None = Field(default=None, description="put before the new columns' names")

    def prefixed(self, name: str) -> str:
        return f"{self.prefix}_{name}" if self.prefix else name

    @property
    def known_column(self) -> str | None:
        """The column that ``known_after`` names, if it names one."""
        known = self.known_after
        return None if known is None or known[0].isdigit() else known

    @property
    def delay(self) -> Duration:
        return self.known_after if self.known_after and not self.known_column else "0s"


class _Aggregates(History):
    aggregates: Some[Aggregate]

    def named(self, window: str | None = None) -> Iterator[tuple[str, str, Aggregate]]:
        """(new column, column, aggregate) of one window."""
        for column in self.columns:
            for aggregate in self.aggregates:
                end = f"_{window}" if window else ""
                yield self.prefixed(f"{column}_{aggregate}{end}"), column, aggregate


class Rolling(_Aggregates):
    """``COLUMN_AGGREGATE_WINDOW`` over what became known in the last ``windows`` before it asks.

    A window of 7d that ends at t is [t - 7d, t), or (t - 7d, t] if ``inclusive``. Without a value
    in it, ``count`` is 0 and the others are null; ``std`` (n - 1) needs two.
    """

    kind: Literal["rolling"]
    windows: Some[Span]


class Expanding(_Aggregates):
    """``COLUMN_AGGREGATE`` over everything that is known when a row asks."""

    kind: Literal["expanding"]


class Lag(History):
    """``COLUMN_lag_N``: of the rows that are known, the value of the N-th last to become known.

    Rows that became known at one instant are ordered by time and then by the values of
    ``columns``, null lowest.
    """

    kind: Literal["lag"]
    offsets: Some[Annotated[int, Field(gt=0, le=1000)]] = (1,)

    def named(self) -> Iterator[tuple[str, str, int]]:
        for column in self.columns:
            for offset in self.offsets:
                yield self.prefixed(f"{column}_lag_{offset}"), column, offset


class JoinAsOf(History):
    """Columns of the newest row of ``table`` that is known when a row asks, within ``tolerance``.

    ``time`` is the asking row's; ``table_time``, ``table_by`` and ``known_after`` are the table's.
    Of rows with one time the one with the greatest values wins, by ``columns`` from left to right.
    """

    kind: Literal["join_as_of"]
    table: Name = Field(description="a source or an earlier step")
    table_time: Name | None = Field(default=None, description="the same name as time if left out")
    table_by: tuple[Name, ...] | None = Field(default=None, description="by when left out")
    tolerance: Span | None = Field(
        default=None, description="how old the table's row may be when the row asks"
    )
    inclusive: bool = True

    @model_validator(mode="after")
    def _pairs_columns(self) -> JoinAsOf:
        if self.table_by is not None and len(self.table_by) != len(self.by):
            raise ValueError(
                "table_by must name a column for each of by. "
                f"Got {len(self.table_by)} for {len(self.by)} instead"
            )
        return self


Transform = Annotated[
    Clip
    | CyclicTime
    | DateParts
    | Deduplicate
    | Expanding
    | ImputeFlags
    | JoinAsOf
    | Lag
    | Log
    | Ratio
    | Rolling
    | TextHash
    | TextLength
    | TopCategories,
    Field(discriminator="kind"),
]
