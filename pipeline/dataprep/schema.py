"""Raw rows against the declared columns: typed values, and every reason why a row breaks them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.column import ColumnConfig
from pipeline.config.ingest import SourceConfig
from pipeline.config.rules import parents_of
from pipeline.dataprep.casts import default_of, from_text, is_finite
from pipeline.dataprep.local_times import SKIPPED_BY_CLOCKS
from pipeline.dataprep.raw_rows import IS_HEADER, MAX_VALUE_CHARS
from pipeline.dataprep.read import POSITION
from pipeline.dataprep.rules import (
    Parent,
    TableRules,
    apply_rules,
    table_rules,
)
from pipeline.errors import ConfigError

_NUMERIC = re.compile(r"int|long|float|double|decimal.*")
Check = tuple[Column, Column]
"""(condition that a row breaks a rule, its reason)."""


def source_rules(
    spark: SparkSession, source: SourceConfig, name: str, parents: Collection[str]
) -> TableRules:
    """The key, filters and rules of a source, their SQL analysed over its declared columns.

    Rules that refer to a source that is not among ``parents`` are left out.

    Raises:
        ConfigError: as ``table_rules`` says.
    """
    columns = source.columns.items()
    typed = [F.lit(None).cast(column.type).alias(column_name) for column_name, column in columns]
    rules = {n: r for n, r in source.rules.items() if set(parents_of({n: r})) <= set(parents)}
    where = f"ingest.sources.{name}"
    return table_rules(spark.range(0).select(*typed), where, source.filters, rules, source.key)


def enforce(
    raw: DataFrame,
    source: SourceConfig,
    rules: TableRules | None = None,
    parents: Mapping[str, Parent] | None = None,
    *,
    all_unique: bool = False,
) -> DataFrame:
    """Cast every declared column and say what is wrong with each row.

    Args:
        raw: rows as ``read_source`` gives them.
        source: the declared columns, key and null values.
        rules: the key, and the filters and rules over rows; left out, none.
        parents: what the rules' foreign keys refer to.
        all_unique: as ``apply_rules`` takes it.

    Returns:
        The declared columns in their types; ``_broken``, whether any rule is broken, which costs
        far less than saying which; ``_reasons``, array<struct<rule, column, value>>, empty for a
        good row; ``_is_header``, whether it is a header; and ``_file, _block, _line, _row,
        _raw``; and what ``apply_rules`` adds. Rules, in the order of the columns: the reader's
        own (alone, since such a row has no cells), ``not_a_<type>``, ``null``, ``below_min``,
        ``above_max``, ``not_allowed``, ``pattern``; then those of ``rules``, among them
        ``duplicate_key``, for rows after the first good one with a key, by file and row.

    Raises:
        ConfigError: a limit or pattern does not fit the type of its column.
    """
    check_limits(source)
    names = list(source.columns)
    checks = [check for name in names for check in _checks(name, source)]
    header = F.col(IS_HEADER) if IS_HEADER in raw.columns else F.lit(False)
    # All in one projection: Spark finds what its expressions have in common, and makes it once,
    # while each projection more would copy every row.
    checked = raw.select(
        *(_value(name, source).alias(name) for name in names),
        _is_broken(checks).alias("_broken"),
        _reasons(checks).alias("_reasons"),
        header.alias(IS_HEADER),
        *POSITION,
        "_row",
        "_raw",
    )
    if rules is None:
        return checked
    return apply_rules(checked, rules, POSITION, parents or {}, all_unique=all_unique)


def check_limits(source: SourceConfig) -> None:
    """Refuse limits and patterns that do not fit the types of their columns.

    Raises:
        ConfigError: all of them.
    """
    wrong = []
    for name, column in source.columns.items():
        limited = column.min is not None or column.max is not None
        if limited and not _NUMERIC.fullmatch(column.type):
            wrong.append(f"columns.{name}: min and max are for numbers, not {column.type}")
        if column.pattern is not None and column.type != "string":
            wrong.append(f"columns.{name}: pattern is for strings, not {column.type}")
        if column.format is not None and column.type not in ("date", "timestamp"):
            wrong.append(f"columns.{name}: format is for dates and times, not {column.type}")
        try:
            re.compile(column.pattern or "")
        except re.error as error:
            wrong.append(f"columns.{name}.pattern: {column.pattern!r}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong), hint="remove the limit, or declare another type")


def _is_present(name: str, source: SourceConfig) -> Column:
    """Whether a raw cell is not null, by the source's ``null_values``."""
    cell = F.col(f"`{name}`")
    if not source.typed:
        nulls = list(source.null_values)
        return cell.isNotNull() & ~cell.isin(nulls) if nulls else cell.isNotNull()
    if source.columns[name].type in ("float", "double") and "NaN" in source.null_values:
        return cell.isNotNull() & ~F.isnan(cell)
    return cell.isNotNull()


def _value(name: str, source: SourceConfig) -> Column:
    """The typed value.

    The default stands where the cell is missing, not where it is no value of the type.
    """
    column, present = source.columns[name], _is_present(name, source)
    cell = F.when(present, F.col(f"`{name}`"))
    value = cell if source.typed else from_text(cell, column)
    if column.type in ("float", "double"):
        value = F.when(is_finite(value), value)
    if column.default is None:
        return value
    return F.when(present, value).otherwise(default_of(column))


def _checks(name: str, source: SourceConfig) -> list[Check]:
    column = source.columns[name]
    cell, value = F.col(f"`{name}`"), _value(name, source)
    present = _is_present(name, source)

    def check(rule: str | Column, broken: Column) -> Check:
        shown = F.substring(cell.cast("string"), 1, MAX_VALUE_CHARS)
        named = F.lit(rule) if isinstance(rule, str) else rule
        reason = F.struct(named.alias("rule"), F.lit(name).alias("column"), shown.alias("value"))
        return broken, reason

    kind = column.type.replace(" ", "")
    checks = []
    if kind != "string":
        rule = _rule_of_type(kind, cell, column)
        checks.append(check(rule, value.isNull() & present))
    if not column.nullable or name in source.key:
        checks.append(check("null", value.isNull() & ~present))
    if column.min is not None:
        checks.append(check("below_min", value < F.lit(column.min)))
    if column.max is not None:
        checks.append(check("above_max", value > F.lit(column.max)))
    if column.allowed is not None:
        allowed = [F.lit(str(item)).cast(column.type) for item in column.allowed]
        checks.append(check("not_allowed", ~value.isin(*allowed)))
    if column.pattern is not None:
        checks.append(check("pattern", ~value.rlike(f"^(?:{column.pattern})$")))
    return checks


def _rule_of_type(kind: str, cell: Column, column: ColumnConfig) -> str | Column:
    if column.zone is None:
        return f"not_a_{kind}"
    anywhere = from_text(cell.cast("string"), column.model_copy(update={"zone": None}))
    return F.when(anywhere.isNotNull(), SKIPPED_BY_CLOCKS).otherwise(f"not_a_{kind}")


def _is_broken(checks: list[Check]) -> Column:
    rules = [F.col("_problem").isNotNull(), *(broken for broken, _ in checks)]
    # A comparison with null is null: not broken, unless another rule is.
    return F.coalesce(reduce(or_, rules), F.lit(False))


def _reasons(checks: list[Check]) -> Column:
    problem = F.col("_problem")
    none = F.array().cast("array<struct<rule:string,column:string,value:string>>")
    # Not array_compact: its lambda takes the whole projection out of code generation.
    each = [F.when(broken, F.array(reason)).otherwise(none) for broken, reason in checks]
    return F.when(problem.isNotNull(), F.array(problem)).otherwise(F.concat(none, *each))
