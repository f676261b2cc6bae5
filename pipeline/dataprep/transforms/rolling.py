"""``rolling`` and ``expanding``: aggregates of what was known when a row asks.

A window of length w is cut at a multiple of w. Time is divided into pieces of that length; what
lies in a window is then the end of one piece and the beginning of the next. Both are running
totals, and they merge. So nothing is ever subtracted: minima and maxima work as sums do, sums do
not lose digits, and a group with most of the rows is spread over its pieces.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.duration import micros
from pipeline.config.transforms import Expanding, Rolling
from pipeline.dataprep.transforms.aggregates import merged, totals_of, value_of
from pipeline.dataprep.transforms.columns import Setting, check_new, check_numbers, number
from pipeline.dataprep.transforms.history import asks_at, check_history, group_columns, known_at
from pipeline.dataprep.transforms.timeline import AT, answer, own_timeline

_PIECE = "__piece"


def expanding(frame: DataFrame, config: Expanding, setting: Setting) -> DataFrame:
    """Add each row's aggregates over all that is known when it asks."""
    names = [name for name, _, _ in config.named()]
    _check(frame, config, setting, names)
    time, groups = config.time or setting.time, group_columns(config.by)
    facts = groups | {AT: known_at(time, config)} | _values(config)
    timeline = own_timeline(frame, facts, groups | {AT: asks_at(time, config)})
    totals = _totals(config, "all")
    answered = answer(timeline, list(groups), totals, inclusive=config.inclusive)
    new = {
        name: value_of(aggregate, _state(config, column, "all"))
        for name, column, aggregate in config.named()
    }
    return _finished(answered, frame, new)


def rolling(frame: DataFrame, config: Rolling, setting: Setting) -> DataFrame:
    """Add each row's aggregates over each window that ends when it asks."""
    names = [name for window in config.windows for name, _, _ in config.named(window)]
    _check(frame, config, setting, names)
    for window in config.windows:
        frame = _with_window(frame, config, window, config.time or setting.time)
    return frame


def _with_window(frame: DataFrame, config: Rolling, window: str, time: str) -> DataFrame:
    width = F.lit(micros(window))
    known, asks = known_at(time, config), asks_at(time, config)
    groups = group_columns(config.by)
    facts = groups | {_PIECE: _piece(known, width), AT: known} | _values(config)
    ends = groups | {_PIECE: _piece(asks, width), AT: asks}
    starts = groups | {_PIECE: _piece(asks, width) - width, AT: asks - width}
    within = [*groups, _PIECE]
    # [start, end) holds a fact at its start but none at its end; (start, end] the other way round.
    earlier = answer(
        own_timeline(frame, facts, starts),
        within,
        _totals(config, "earlier"),
        inclusive=not config.inclusive,
        backwards=True,
    )
    both = answer(
        own_timeline(earlier, facts, ends),
        within,
        _totals(config, "later"),
        inclusive=config.inclusive,
    )
    states = {
        column: merged(_state(config, column, "earlier"), _state(config, column, "later"))
        for column in config.columns
    }
    new = {
        name: value_of(aggregate, states[column])
        for name, column, aggregate in config.named(window)
    }
    return _finished(both, frame, new)


def _piece(at: Column, width: Column) -> Column:
    """The start of the piece of time that an instant lies in; exact, before 1970 too."""
    return at - F.pmod(at, width)


def _check(
    frame: DataFrame, config: Rolling | Expanding, setting: Setting, names: list[str]
) -> None:
    check_history(frame, config, setting)
    if set(config.aggregates) != {"count"}:
        check_numbers(frame, config.columns, setting.where)
    check_new(frame, names, setting.where)


def _values(config: Rolling | Expanding) -> dict[str, Column]:
    if set(config.aggregates) == {"count"}:  # of anything
        return {_value(at): _is_there(name) for at, name in enumerate(config.columns)}
    return {_value(at): number(name) for at, name in enumerate(config.columns)}


def _is_there(name: str) -> Column:
    column = F.col(f"`{name}`")
    return F.when(column.isNotNull(), 1.0)


def _value(at: int) -> str:
    return f"__value_{at}"


def _totals(config: Rolling | Expanding, part: str) -> dict[str, Column]:
    return {
        f"__{part}_{at}_{key}": total
        for at in range(len(config.columns))
        for key, total in totals_of(_value(at), config.aggregates).items()
    }


def _state(config: Rolling | Expanding, column: str, part: str) -> dict[str, Column]:
    at = config.columns.index(column)
    keys = totals_of(_value(at), config.aggregates)
    return {key: F.col(f"__{part}_{at}_{key}") for key in keys}


def _finished(answered: DataFrame, frame: DataFrame, new: dict[str, Column]) -> DataFrame:
    own = (f"`{name}`" for name in frame.columns)
    return answered.select(*own, *(column.alias(name) for name, column in new.items()))
