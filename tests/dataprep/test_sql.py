"""What SQL steps may do, and what they are told when they may not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipeline.dataprep.sql import run_query, substitute
from pipeline.dataprep.steps import run_steps
from pipeline.errors import ConfigError


def run(spark: SparkSession, *texts: str, **params: Any) -> DataFrame:
    views = {"shops": spark.createDataFrame([(1, "a"), (2, "b"), (3, None)], "id int, town string")}
    steps = [(f"step{number}", text) for number, text in enumerate(texts, 1)]
    texts = substitute(steps, params)
    queries = [(name, partial(run_query, spark, name, text)) for name, text in texts]
    return run_steps(spark, queries, views)


def rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.collect()), key=str)


def test_a_step_reads_sources_and_the_steps_before_it(spark: SparkSession) -> None:
    first = "-- why\nSELECT id * 2 AS double, town FROM Shops WHERE town IS NOT NULL;"
    second = """
        WITH c AS (SELECT max(double) AS m FROM step1), d AS (SELECT m FROM c)
        SELECT s.double, d.m, row_number() OVER (ORDER BY s.double) AS n
        FROM step1 s JOIN d WHERE EXISTS (SELECT 1 FROM shops)
        AND s.double IN (SELECT double FROM step1)
    """
    assert rows(run(spark, first, second)) == [(2, 4, 1), (4, 4, 2)]
    assert not [table for table in spark.catalog.listTables() if table.name in ("shops", "step1")]


def test_parameters_are_literals(spark: SparkSession) -> None:
    text = "SELECT id - ${off} AS x, ${name} AS name FROM shops WHERE id > ${low} AND id < ${high}"
    found = run(spark, text, off=-1, name="New York", low=1.5, high=3)
    assert rows(found) == [(3, "New York")]


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("SELECT ${hours}", {"hour": 1}, r"step1, line 1: unknown parameter '\$\{hours\}'.*'hour'"),
        ("SELECT 1 AS x", {"hour": 1}, r"preprocess\.params\.hour: no step uses it"),
        ("SELECT\n'${a}'", {"a": "x"}, "step1, line 2: write .* without quotes"),
        ("SELECT '${env:HOME}'", {}, r"unknown parameter '\$\{env:HOME\}'"),
        ("SELECT '${system:user.name", {}, "unknown parameter"),
        ("SELECT ${a}", {"a": "x' OR '1'='1"}, "characters that are not allowed"),
    ],
)
def test_a_wrong_parameter_is_a_config_error(
    spark: SparkSession, text: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(spark, text, **params)


REFUSED = {
    "a file": "SELECT * FROM parquet.`/etc`",
    "a text file in a subquery": "SELECT (SELECT max(value) FROM text.`/etc/passwd`) AS x",
    "a catalog": "SELECT * FROM spark_catalog.default.shops",
    "an unknown table": "SELECT * FROM shop",
    "a table behind a name of an inner scope": (
        "SELECT * FROM (WITH hidden AS (SELECT 1) SELECT * FROM hidden) JOIN hidden"
    ),
    "a built name": "SELECT * FROM IDENTIFIER('parquet.`/etc`')",
    "reflect": "SELECT reflect('java.lang.System', 'getenv', 'HOME')",
    "reflect in capitals and comments": "SELECT /* x */ ReFlEcT /* y */ ('a', 'b')",
    "java_method in a lambda": "SELECT transform(array(1), x -> java_method('a', 'b'))",
    "reflect in a window": "SELECT sum(id) OVER (ORDER BY reflect('a', 'b')) FROM shops",
    "reflect in a named window": (
        "SELECT sum(id) OVER w FROM shops WINDOW w AS (ORDER BY reflect('a', 'b'))"
    ),
    "reflect in values": "SELECT * FROM VALUES (reflect('a', 'b')) AS t(x)",
    "reflect in a lateral view": "SELECT x FROM shops LATERAL VIEW explode(reflect('a')) AS x",
    "reflect in ORDER BY": "SELECT id FROM shops ORDER BY reflect('a', 'b')",
    "reflect in a pivot": "SELECT * FROM shops PIVOT (max(reflect('a')) FOR town IN ('a'))",
    "reflect in HAVING": "SELECT town FROM shops GROUP BY town HAVING max(reflect('a')) > 1",
    "reflect in GROUPING SETS": (
        "SELECT 1 FROM shops GROUP BY GROUPING SETS ((reflect('a', 'b')), (town))"
    ),
    "reflect in a filter": "SELECT count(*) FILTER (WHERE reflect('a', 'b') = 'x') FROM shops",
    "reflect in a join": "SELECT 1 FROM shops a JOIN shops b ON a.id = reflect('a', 'b')",
    "an external entity": "SELECT xpath_string('<a/>', 'a')",
    "the file name": "SELECT input_file_name() FROM shops",
    "a catalog's function": "SELECT db.f(1)",
    "a function of the session": "SELECT my_function(1)",
    "a shell": "SELECT TRANSFORM (id) USING 'cat' AS (x) FROM shops",
    "the clock": "SELECT now()",
    "the clock without parentheses": "SELECT current_timestamp",
    "chance": "SELECT rand(1)",
    "a random sample": "SELECT * FROM shops TABLESAMPLE (10 PERCENT)",
    "two statements": "SELECT 1; SELECT 2",
    "an insert": "INSERT INTO shops SELECT 1, 'x'",
    "a view": "CREATE TEMPORARY VIEW v AS SELECT 1",
    "a drop": "DROP TABLE shops",
    "a setting": "SET spark.sql.ansi.enabled=true",
    "a jar": "ADD JAR '/tmp/x.jar'",
    "an explain": "EXPLAIN SELECT 1",
    "a describe": "DESCRIBE shops",
    "a parameter marker": "SELECT :x",
    "another table function": "SELECT * FROM read_files('/etc')",
    "nothing": " ",
    "no SQL": "hello",
}


@pytest.mark.parametrize("case", REFUSED)
def test_sql_that_reaches_beyond_its_tables_is_refused(spark: SparkSession, case: str) -> None:
    with pytest.raises(ConfigError, match="step1"):
        run(spark, REFUSED[case])


def test_every_builtin_that_runs_code_or_reads_outside_is_refused(spark: SparkSession) -> None:
    names = [row[0] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect()]
    reaching = ("reflect", "java", "file", "user", "catalog", "schema()", "xpath", "version")
    for name in names:
        if any(part in name for part in reaching):
            with pytest.raises(ConfigError, match="step1"):
                run(spark, f"SELECT {name}('a', 'b') FROM shops")


def test_an_unknown_column_is_a_config_error_with_its_line(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"step step1, line 2: .*`twon`.*`town`"):
        run(spark, "SELECT id,\n  twon\nFROM shops")


def test_a_syntax_error_is_a_config_error_with_its_line(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"step step1, line 3: .*Syntax error"):
        run(spark, "SELECT id\nFROM shops\nWHERE (id")


def test_a_step_may_not_take_a_sources_name(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(1)
    with pytest.raises(ConfigError, match="'a' is the name of a source already"):
        run_steps(spark, [("a", lambda views: views["a"])], {"a": frame})
