"""What a SQL step may be, decided on Spark's own parse of it.

The text is parsed and never searched: comments, quoting and letter case cannot hide anything from
the parser that would run the query. Everything that is not known to be harmless is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pyspark.sql import SparkSession

from pipeline.errors import ConfigError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLANS = _names(
    """
    Project Filter Aggregate Join LateralJoin Sort GlobalLimit LocalLimit Offset Tail Union
    Distinct Except Intersect SubqueryAlias UnresolvedSubqueryColumnAliases UnresolvedRelation
    UnresolvedWith WithWindowDefinition UnresolvedHaving UnresolvedInlineTable OneRowRelation
    Generate Pivot Unpivot UnresolvedHint UnresolvedTableValuedFunction LocalRelation
    """
)
_TABLE_FUNCTIONS = frozenset(
    {"range", "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "stack"}
)
_OUTSIDE = _names(
    """
    reflect java_method try_reflect input_file_name input_file_block_start
    input_file_block_length current_user user session_user current_catalog current_database
    current_schema version xpath xpath_boolean xpath_double xpath_number xpath_float xpath_int
    xpath_long xpath_short xpath_string
    """
)
_CHANGING = _names(
    """
    now current_date current_timestamp curdate localtimestamp unix_timestamp rand random randn
    uuid shuffle monotonically_increasing_id spark_partition_id
    """
)
# These are names of functions even without parentheses, where no column has the name.
_KEYWORDS = _names(
    """
    current_date current_timestamp localtimestamp current_user session_user user current_catalog
    current_database
    """
)
_OPEN_ENDED = frozenset({"NamedParameter", "PosParameter", "ExpressionWithUnresolvedIdentifier"})


def check_query(spark: SparkSession, step: str, text: str, views: Sequence[str]) -> None:
    """Refuse a text that is not one SELECT over ``views``.

    Raises:
        ConfigError: naming the step and what it may not do.
        ParseException: Spark's, when the text is not SQL.
    """
    plan = _parsed(spark, f"step {step}", text)
    _Guard(f"step {step}", spark).plan(plan, frozenset(view.lower() for view in views))


def check_catalog_query(spark: SparkSession, what: str, text: str) -> None:
    """Refuse a text that is not one SELECT over tables of Spark's catalog.

    Raises:
        ConfigError: naming ``what`` and what it may not do.
        ParseException: Spark's, when the text is not SQL.
    """

    def is_table(parts: list[str]) -> bool:
        # Only what is known as a table: Spark takes text.`/etc/passwd` for a file otherwise.
        quoted = (f"`{part.replace('`', '``')}`" for part in parts)
        return spark.catalog.tableExists(".".join(quoted))

    _Guard(what, spark, is_table).plan(_parsed(spark, what, text), frozenset())


def _parsed(spark: SparkSession, what: str, text: str) -> Any:
    if not text.strip():
        raise ConfigError(f"{what} is empty", hint="write one SELECT")
    session: Any = spark._jsparkSession  # the parser is not part of PySpark's interface
    return session.sessionState().sqlParser().parsePlan(text)


def check_condition(spark: SparkSession, where: str, text: str) -> list[str]:
    """Refuse a text that is not one expression over the columns of a row.

    Returns:
        The names in it that are not qualified, in order, columns among them.

    Raises:
        ConfigError: naming ``where`` and what the text may not do.
        ParseException: Spark's, when the text is not SQL.
    """
    session: Any = spark._jsparkSession
    parsed = session.sessionState().sqlParser().parseExpression(text)
    _Guard(where, spark).expression(parsed, frozenset())
    return list(dict.fromkeys(_attributes(parsed)))


def _attributes(node: Any) -> Iterator[str]:
    if _kind(node) == "UnresolvedAttribute" and node.nameParts().size() == 1:
        yield str(node.nameParts().apply(0))
    for child in _items(node.children()):
        yield from _attributes(child)


class _Guard:
    """Walks one parsed query; names are compared as Spark does, without case."""

    def __init__(
        self, what: str, spark: SparkSession, is_table: Callable[[list[str]], bool] | None = None
    ) -> None:
        self._what = what
        self._is_table = is_table
        jvm: Any = spark._jvm
        self._builtin = jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry.builtin()
        self._identifier = jvm.org.apache.spark.sql.catalyst.FunctionIdentifier

    def plan(self, node: Any, views: frozenset[str]) -> None:
        kind = _kind(node)
        if kind not in _PLANS:
            self._refuse(f"{kind} is not part of one SELECT", "write a single SELECT or WITH query")
        if kind == "UnresolvedRelation":
            self._relation(list(_items(node.multipartIdentifier())), views)
        if kind == "UnresolvedTableValuedFunction":
            name = ".".join(_items(node.name()))
            if name.lower() not in _TABLE_FUNCTIONS:
                self._refuse(f"table function {name} is not allowed", "use a source or a step")
        if kind == "UnresolvedWith":
            for relation in _items(node.cteRelations()):
                self.plan(relation._2(), views)
                views |= {str(relation._1()).lower()}
        if kind == "WithWindowDefinition":  # held in a map, which expressions() passes over
            for definition in _items(node.windowDefinitions().values().toSeq()):
                self.expression(definition, views)
        for expression in _items(node.expressions()):
            self.expression(expression, views)
        for child in _items(node.children()):
            self.plan(child, views)

    def expression(self, node: Any, views: frozenset[str]) -> None:
        kind = _kind(node)
        if kind in _OPEN_ENDED:
            self._refuse(f"{node.toString()} is not fixed", "use ${name} and preprocess.params")
        if kind in ("UnresolvedFunction", "UnresolvedGenerator"):
            self._function(node, kind)
        if kind == "UnresolvedAttribute" and node.nameParts().size() == 1:
            self._function_name(str(node.nameParts().apply(0)), _KEYWORDS)
        if kind in ("ScalarSubquery", "Exists", "ListQuery", "LateralSubquery"):
            self.plan(node.plan(), views)
        for child in _items(node.children()):
            self.expression(child, views)

    def _relation(self, parts: list[str], views: frozenset[str]) -> None:
        if len(parts) == 1 and parts[0].lower() in views:
            return
        name = ".".join(parts)
        if self._is_table is not None:
            if self._is_table(parts):
                return
            self._refuse(f"there is no table {name!r} in Spark's catalog", "correct its name")
        near = get_close_matches(name.lower(), sorted(views), 1)
        known = f"there is {near[0]!r}" if near else f"there are {', '.join(sorted(views))}"
        if not views:
            self._refuse(f"{name!r} is another table", "use the columns of the row alone")
        self._refuse(
            f"{name!r} is neither a source nor an earlier step ({known})",
            "files, catalogs and later steps cannot be read; declare a source under ingest",
        )

    def _function(self, node: Any, kind: str) -> None:
        if kind == "UnresolvedFunction":
            parts = [str(part) for part in _items(node.nameParts())]
        else:
            name = node.name()
            database = [str(name.database().get())] if name.database().isDefined() else []
            parts = [*database, str(name.funcName())]
        if len(parts) > 1:
            self._refuse(f"function {'.'.join(parts)} belongs to a catalog", "use a built-in one")
        self._function_name(parts[0], _OUTSIDE | _CHANGING)
        if not self._builtin.functionExists(self._identifier(parts[0].lower())):
            self._refuse(f"function {parts[0]} is not one of Spark's", "use a built-in one")

    def _function_name(self, name: str, refused: frozenset[str]) -> None:
        lowered = name.lower()
        if lowered not in refused:
            return
        if lowered in _CHANGING:
            self._refuse(
                f"{name} gives another value in every run",
                "use a value of the configuration, or order by a key",
            )
        self._refuse(f"{name} reaches outside the query's tables", "remove it")

    def _refuse(self, what: str, hint: str) -> None:
        raise ConfigError(f"{self._what}: {what}", hint=hint)


def _kind(node: Any) -> str:
    """A node's class, without its package and Scala's mark for objects."""
    return str(node.getClass().getSimpleName()).rstrip("$")


def _items(sequence: Any) -> Iterator[Any]:
    """A Scala sequence's items."""
    return (sequence.apply(index) for index in range(sequence.size()))
