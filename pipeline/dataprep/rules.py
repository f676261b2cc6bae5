"""Rows against declared filters and rules: which are dropped, and which break what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import TypeVar

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.rules import (
    DUPLICATE_KEY,
    AnyRule,
    CompleteRule,
    ConditionRule,
    ForeignKeyRule,
    UniqueRule,
)
from pipeline.dataprep.raw_rows import MAX_VALUE_CHARS
from pipeline.dataprep.sql_guard import check_condition
from pipeline.errors import ConfigError

_Rule = TypeVar("_Rule")
DROPPED = "_dropped"
"""The column with the name of the filter that drops a row; null if none does."""
_WithColumns = UniqueRule | ForeignKeyRule | CompleteRule
BROADCAST_ROWS = 1_000_000
"""Up to so many rows of a parent, every task is given all of its keys."""


@dataclass(frozen=True)
class TableRules:
    """Filters and rules that fit a table.

    Attributes:
        filters: SQL condition by name.
        rules: rule by name.
        shown: of each rule that counts rows, the columns that show why a row breaks it.
    """

    filters: Mapping[str, str]
    rules: Mapping[str, AnyRule]
    shown: Mapping[str, tuple[str, ...]]

    def of_kind(self, kind: type[_Rule]) -> dict[str, _Rule]:
        return {name: rule for name, rule in self.rules.items() if isinstance(rule, kind)}


@dataclass(frozen=True)
class Parent:
    """The rows that came out of a source that others refer to."""

    frame: DataFrame
    rows: int


def table_rules(
    table: DataFrame,
    where: str,
    filters: Mapping[str, str],
    rules: Mapping[str, AnyRule],
    key: tuple[str, ...] = (),
) -> TableRules:
    """Filters and rules over a table's columns, their SQL analysed; nothing runs.

    Args:
        table: has the columns; its rows do not matter.
        where: key path of the table, for messages.
        filters, rules: as declared.
        key: columns that are unique together; a rule of its own, before the others.

    Raises:
        ConfigError: conditions that are not one expression over a row's columns, or that call
            a function that reaches outside or differs from run to run; all of them at once.
    """
    if key:
        rules = {DUPLICATE_KEY: UniqueRule(kind="unique", columns=key), **rules}
    shown = {n: r.columns for n, r in rules.items() if isinstance(r, _WithColumns)}
    problems = []
    for name, sql in filters.items():
        _, problem = _columns_of(table, f"{where}.filters.{name}", sql)
        problems += problem
    for name, rule in rules.items():
        if isinstance(rule, ConditionRule):
            shown[name], problem = _columns_of(table, f"{where}.rules.{name}.sql", rule.sql)
            problems += problem
    if problems:
        raise ConfigError("\n".join(p.message for p in problems), hint=problems[0].hint)
    return TableRules(filters, rules, shown)


def _columns_of(
    table: DataFrame, where: str, sql: str
) -> tuple[tuple[str, ...], list[ConfigError]]:
    """The columns that a condition reads, and what is wrong with it."""
    if "${" in sql:  # Spark itself would put in environment variables and system properties
        return (), [ConfigError(f"{where}: '${{' is not allowed", hint="write the value itself")]
    try:
        names = {name.lower() for name in check_condition(table.sparkSession, where, sql)}
        table.filter(sql)  # which, unlike a selected column, may hold no aggregate
    except ConfigError as error:
        return (), [error]
    except (ParseException, AnalysisException) as error:
        first = str(error).strip().splitlines()[0]
        hint = "write one SQL condition over the declared columns of a row"
        return (), [ConfigError(f"{where}: {first}", hint=hint)]
    return tuple(name for name in table.columns if name.lower() in names), []


def flag(rule: str) -> str:
    """The column that says whether a row breaks a rule; null if it is not checked against it."""
    return f"_rule_{rule}"


def is_good() -> Column:
    """Whether a row comes out, as far as it has been checked."""
    return ~F.col("_broken") & F.col(DROPPED).isNull()


def value_of(columns: Iterable[str]) -> Column:
    """The values of columns as one text, joined by commas and shortened."""
    texts = [F.coalesce(F.col(f"`{name}`").cast("string"), F.lit("null")) for name in columns]
    return F.substring(F.concat_ws(",", *texts), 1, MAX_VALUE_CHARS)


def apply_rules(
    checked: DataFrame,
    table: TableRules,
    order: Sequence[str],
    parents: Mapping[str, Parent],
    *,
    all_unique: bool = False,
) -> DataFrame:
    """Say of each row which filter drops it and which rules it breaks.

    Rows that are not broken meet the filters first, in their order; those that none drops meet
    all conditions and foreign keys; those that none of these sets aside meet each ``unique``
    rule in its turn. So no row loses to one that is set aside.

    Args:
        checked: rows with ``_broken`` and ``_reasons``.
        table: filters and rules.
        order: columns that order the rows; the first of equal ones is kept.
        parents: what foreign keys refer to.
        all_unique: take it that no row breaks a ``unique`` rule: comparing rows moves all of them
            across the engine.

    Returns:
        ``checked`` with quarantining rules in ``_broken`` and ``_reasons``; ``_dropped``; and
        ``flag(name)`` of each rule that counts rows.
    """
    marked = checked.select("*", _dropped(table.filters).alias(DROPPED))
    conditions = table.of_kind(ConditionRule)
    marked = marked.select("*", *(_unmet(r).alias(flag(n)) for n, r in conditions.items()))
    foreign_keys = table.of_kind(ForeignKeyRule)
    for name, foreign_key in foreign_keys.items():
        parent = parents[foreign_key.parent]
        marked = _flag_orphans(marked, name, foreign_key, parent, order)
    marked = _set_aside(marked, table, [*conditions, *foreign_keys])
    for name, unique in table.of_kind(UniqueRule).items():
        again = F.when(_is_compared(unique), F.lit(False)) if all_unique else _again(unique, order)
        marked = marked.select("*", again.alias(flag(name)))
        if not all_unique:
            marked = _set_aside(marked, table, [name])
    complete = table.of_kind(CompleteRule)
    return marked.select("*", *(_incomplete(r).alias(flag(n)) for n, r in complete.items()))


def _dropped(filters: Mapping[str, str]) -> Column:
    dropped = F.lit(None).cast("string")
    if not filters:  # a literal costs no projection of its own
        return dropped
    for name, sql in reversed(list(filters.items())):
        dropped = F.when(F.coalesce(F.expr(sql), F.lit(False)), dropped).otherwise(F.lit(name))
    return F.when(~F.col("_broken"), dropped)


def _unmet(rule: ConditionRule) -> Column:
    fits_where_null = F.lit(rule.nulls == "pass")
    return F.when(is_good(), ~F.coalesce(F.expr(rule.sql), fits_where_null))


def _flag_orphans(
    frame: DataFrame,
    name: str,
    rule: ForeignKeyRule,
    parent: Parent,
    order: Sequence[str],
) -> DataFrame:
    keys = [f"_parent_{index}" for index in range(len(rule.columns))]
    named = [
        F.col(f"`{own}`").alias(key) for own, key in zip(rule.parent_columns, keys, strict=True)
    ]
    known = (
        parent.frame.select(*named).na.drop().distinct().select("*", F.lit(True).alias("_known"))
    )
    is_small = parent.rows <= BROADCAST_ROWS
    same = [F.col(f"`{own}`") == F.col(key) for own, key in zip(rule.columns, keys, strict=True)]
    joined = frame.join(F.broadcast(known) if is_small else known, same, "left")
    orphan = F.when(is_good() & _filled(rule.columns), F.col("_known").isNull())
    flagged = joined.select(*(f"`{column}`" for column in frame.columns), orphan.alias(flag(name)))
    # A join that moves rows leaves them in the order in which they happen to arrive.
    return flagged if is_small else flagged.sortWithinPartitions(*order)


def _again(rule: UniqueRule, order: Sequence[str]) -> Column:
    """Whether a row is not the one that is kept of those with its values."""
    by = [F.col(f"`{rule.by}`")] if rule.by else []
    places = [F.col(f"`{name}`") for name in order]
    if rule.keep == "first":
        ordered = [*(c.asc_nulls_last() for c in by), *(c.asc() for c in places)]
    else:
        ordered = [c.desc_nulls_last() for c in (*by, *places)]
    compared = _is_compared(rule)
    # Rows that are not compared are scattered, else all nulls would meet in one task.
    scattered = F.when(~compared, F.xxhash64(*places))
    columns = [F.col(f"`{name}`") for name in rule.columns]
    same = Window.partitionBy(*columns, scattered).orderBy(*ordered)
    return F.when(compared, F.row_number().over(same) > 1)


def _is_compared(rule: UniqueRule) -> Column:
    return is_good() & _filled(rule.columns)


def _incomplete(rule: CompleteRule) -> Column:
    return F.when(is_good(), ~_filled(rule.columns))


def _filled(columns: Sequence[str]) -> Column:
    return reduce(and_, (F.col(f"`{name}`").isNotNull() for name in columns))


def _set_aside(frame: DataFrame, table: TableRules, names: Sequence[str]) -> DataFrame:
    """Take the rows that break quarantining rules for broken, with the reasons."""
    quarantining = [name for name in names if table.rules[name].level == "quarantine"]
    if not quarantining:
        return frame
    unmet = [F.coalesce(F.col(flag(name)), F.lit(False)) for name in quarantining]
    reasons = [
        F.when(F.col(flag(name)), F.array(_reason(name, table.shown[name]))).otherwise(
            F.array().cast("array<struct<rule:string,column:string,value:string>>")
        )
        for name in quarantining
    ]
    marked = {
        "_broken": F.col("_broken") | reduce(or_, unmet),
        "_reasons": F.concat("_reasons", *reasons),
    }
    return frame.select(
        *(marked.get(name, F.col(f"`{name}`")).alias(name) for name in frame.columns)
    )


def _reason(rule: str, columns: Sequence[str]) -> Column:
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(",".join(columns)).alias("column"),
        value_of(columns).alias("value"),
    )
