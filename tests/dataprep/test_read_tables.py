"""Tables of a real PostgreSQL, of SQLite and of Spark's catalog as sources."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.config.jdbc import JdbcPartition
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.ingest import SourceResult, ingest_source
from pipeline.dataprep.landing import Landed, land
from pipeline.dataprep.read_jdbc import conditions
from pipeline.engines.database import ask_version
from pipeline.errors import ConfigError, DataRefused, StageFailed
from tests.dataprep.postgres import PASSWORD, READER, Postgres, driver, postgres_server

Row = dict[str, Any]
ORDERS = {
    "id": {"type": "int", "nullable": False},
    "amount": {"type": "decimal(12,4)", "min": 0},
    "at": {"type": "timestamp"},
    "local": {"type": "timestamp"},
    "day": {"type": "date"},
    "paid": {"type": "boolean"},
    "weight": {"type": "double"},
    "note": {"type": "string"},
}


def source(columns: Row | None = None, **changes: Any) -> SourceConfig:
    settings = {"columns": columns or ORDERS, "max_quarantined_share": 0.99}
    return SourceConfig.model_validate_json(json.dumps(settings | changes))


class Ingested:
    """What became of a table: its good rows by id, and its quarantine."""

    def __init__(self, landed: Landed, result: SourceResult, folder: Path) -> None:
        self.landed, self.result = landed, result
        self.good = {row["id"]: row for row in read_rows(folder / "good")}
        self.bad = read_rows(folder / "bad")

    @property
    def rules(self) -> set[tuple[str, str | None]]:
        return {(reason["rule"], reason["value"]) for row in self.bad for reason in row["reasons"]}


def read_rows(folder: Path) -> list[Row]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    return [dict(row) for row in pa.concat_tables(tables).to_pylist()]


Ingest = Callable[..., Ingested]


@pytest.fixture
def ingest(spark: SparkSession, tmp_path: Path) -> Ingest:
    def run(declared: SourceConfig, jar: Path | None = None) -> Ingested:
        landed = land(spark, declared, "orders", jar, tmp_path / "landed")
        good, bad = tmp_path / "good", tmp_path / "bad"
        files = [str(file) for file in landed.files]
        result = ingest_source(spark, declared, "orders", files, good, bad)
        return Ingested(landed, result, tmp_path)

    return run


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    driver("postgresql.jar")
    with postgres_server() as server:
        server.execute(
            """
            CREATE TABLE orders (id bigint, amount numeric, at timestamptz, local timestamp,
                day date, paid boolean, weight float8, note text, place point);
            INSERT INTO orders VALUES
              (1, 12.3400, '2024-03-31 01:30:00.123456+02', '2024-03-31 02:30:00', '2024-02-29',
               true, 0.1, 'é; "x"', '(1,2)'),
              (2, 0.00001, NULL, NULL, NULL, NULL, NULL, '', NULL),
              (3, 'NaN', 'infinity', 'infinity', '0044-03-15 BC', false, 'NaN', NULL, NULL),
              (3000000000, -1, '1890-01-01 00:00:00+00', NULL, NULL, NULL, 'Infinity', 'NA', NULL),
              (5, 99999999.9999, '1890-01-01 00:00:00+00', '1890-01-01', '9999-12-31', NULL, 1e-300,
               'NA', NULL),
              (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
            """
            f"GRANT SELECT ON orders TO {READER};"
        )
        yield server


def in_postgres(server: Postgres, **changes: Any) -> SourceConfig:
    table = {} if "query" in changes else {"table": "public.orders"}
    jdbc = {"url": server.url, "user": READER, "password": PASSWORD, **table}
    columns = changes.pop("columns", None)
    return source(columns, jdbc=jdbc | changes)


def test_a_table_of_postgres_has_its_exact_values(postgres: Postgres, ingest: Ingest) -> None:
    found = ingest(in_postgres(postgres, fetch_size=2), driver("postgresql.jar"))
    utc = timezone.utc
    assert found.good == {
        1: {
            "id": 1,
            "amount": Decimal("12.3400"),
            "at": datetime(2024, 3, 30, 23, 30, 0, 123456, utc),
            "local": datetime(2024, 3, 31, 2, 30, tzinfo=utc),
            "day": date(2024, 2, 29),
            "paid": True,
            "weight": 0.1,
            "note": 'é; "x"',
        },
        5: {
            "id": 5,
            "amount": Decimal("99999999.9999"),
            "at": datetime(1890, 1, 1, tzinfo=utc),
            "local": datetime(1890, 1, 1, tzinfo=utc),
            "day": date(9999, 12, 31),
            "paid": None,
            "weight": 1e-300,
            "note": "NA",
        },
    }
    assert found.rules == {
        ("not_a_decimal(12,4)", "0.00001"),
        ("not_a_decimal(12,4)", "NaN"),
        ("not_a_timestamp", "infinity"),
        ("not_a_date", "0044-03-15 BC"),
        ("not_a_double", "NaN"),
        ("not_a_int", "3000000000"),
        ("below_min", "-1"),
        ("not_a_double", "Infinity"),
        ("null", None),
    }
    assert (found.result.rows_in, found.result.rows_quarantined) == (6, 4)
    assert {row["file"] for row in found.bad} == {"public.orders"}
    raw = {json.loads(row["raw"])["id"]: json.loads(row["raw"]) for row in found.bad}
    assert raw["2"]["note"] == "" and raw["2"]["at"] is None


def test_a_query_in_parts_reads_every_row_once(postgres: Postgres, ingest: Ingest) -> None:
    declared = in_postgres(
        postgres,
        query="SELECT * FROM orders",
        columns={"id": {"type": "long"}, "note": {"type": "string"}},
        version="SELECT count(*) FROM orders",
        partition={"column": "id", "lower": 1, "upper": 6, "num_partitions": 3},
    )
    found = ingest(declared, driver("postgresql.jar"))
    assert sorted(found.good, key=str) == [1, 2, 3, 3000000000, 5, None]


def test_parts_cut_numbers_days_and_times() -> None:
    def cut(lower: int | str, upper: int | str) -> list[str]:
        part = JdbcPartition(column="x", lower=lower, upper=upper, num_partitions=3)
        return list(conditions(part, '"'))

    assert cut(0, 30) == ['"x" < 10 OR "x" IS NULL', '"x" >= 10 AND "x" < 20', '"x" >= 20']
    assert cut("2024-01-01", "2024-01-07")[1] == "\"x\" >= '2024-01-03' AND \"x\" < '2024-01-05'"
    assert cut("2024-01-01 00:00", "2024-01-01 03:00")[2] == "\"x\" >= '2024-01-01 02:00:00'"


def test_a_database_is_not_written_to(
    postgres: Postgres, spark: SparkSession, tmp_path: Path
) -> None:
    jar = driver("postgresql.jar")
    postgres.execute(
        f"""CREATE TABLE log (n int); GRANT ALL ON log TO {READER};
        CREATE FUNCTION note() RETURNS int LANGUAGE sql AS
        $$ INSERT INTO log VALUES (1) RETURNING n $$;"""
    )
    writing = in_postgres(postgres, query="SELECT note() AS id", columns={"id": {"type": "int"}})
    with pytest.raises(StageFailed, match=r"read-only transaction|a task of Spark failed"):
        land(spark, writing, "orders", jar, tmp_path)
    asking = in_postgres(postgres, version="SELECT note()").jdbc
    assert asking is not None
    with pytest.raises(StageFailed, match="read-only transaction"):
        ask_version("orders", asking, [jar])
    counting = in_postgres(postgres, version="SELECT count(*) FROM log").jdbc
    assert counting is not None and ask_version("orders", counting, [jar]) == "count=0"


@pytest.mark.parametrize("change", ({"password": "wrong-s3cret"}, {"url": "gone"}))
def test_a_refusal_names_no_secret(
    postgres: Postgres, spark: SparkSession, tmp_path: Path, change: Row
) -> None:
    if "url" in change:
        change = {"url": "jdbc:postgresql://127.0.0.1:1/shop"}
    declared = in_postgres(postgres, version="SELECT 1", connect_timeout_seconds=5, **change)
    assert declared.jdbc is not None
    jar = driver("postgresql.jar")
    for refused in (
        lambda: land(spark, declared, "orders", jar, tmp_path),
        lambda: ask_version("orders", declared.jdbc, [jar]),
    ):
        with pytest.raises(StageFailed, match="source orders: the database refused: ") as failed:
            refused()
        shown = f"{failed.value}{failed.value.__cause__}{declared!r}{declared.model_dump_json()}"
        assert not any(secret in shown for secret in (PASSWORD, "wrong-s3cret", READER))


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE orders (id INTEGER, amount REAL, day TEXT, Note TEXT)")
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(1, 2.5, "2024-01-01", "a"), ("x", 1, "soon", "b"), (3, None, None, None),
             (3, 1e20, "2024-01-02", "second")],
        )  # fmt: skip
        database.commit()
    return file


def in_sqlite(file: Path, **jdbc: Any) -> SourceConfig:
    columns = {
        "id": {"type": "int"},
        "amount": {"type": "double"},
        "day": {"type": "date"},
        "Note": {"type": "string"},
    }
    return source(
        columns, key=["id"], jdbc={"url": f"jdbc:sqlite:{file}", "table": "orders"} | jdbc
    )


def test_values_that_sqlite_keeps_in_any_column_are_quarantined(
    sqlite: Path, ingest: Ingest
) -> None:
    found = ingest(in_sqlite(sqlite), driver("sqlite-jdbc.jar"))
    assert set(found.good) == {1, 3}
    assert found.rules == {("not_a_int", "x"), ("not_a_date", "soon"), ("duplicate_key", "3")}
    assert found.good[1] == {"id": 1, "amount": 2.5, "day": date(2024, 1, 1), "Note": "a"}


def test_the_content_of_a_table_is_its_rows_in_any_order(
    sqlite: Path, spark: SparkSession, tmp_path: Path
) -> None:
    jar = driver("sqlite-jdbc.jar")

    def content(name: str, query: str) -> str:
        declared = in_sqlite(sqlite, table=None, query=query)
        return land(spark, declared, "orders", jar, tmp_path / name).content

    rows = content("a", "SELECT * FROM orders")
    assert content("b", "SELECT Note, day, amount, id FROM orders ORDER BY id DESC") == rows
    assert content("c", "SELECT id, amount, day, coalesce(Note, '') AS Note FROM orders") != rows
    assert content("d", "SELECT * FROM orders UNION ALL SELECT * FROM orders") != rows


def test_a_version_is_one_row(sqlite: Path) -> None:
    jar = driver("sqlite-jdbc.jar")

    def ask(query: str) -> str:
        jdbc = in_sqlite(sqlite, version=query).jdbc
        assert jdbc is not None
        return ask_version("orders", jdbc, [jar])

    assert ask("SELECT count(*) AS n, max(day) AS last FROM orders") == "n=4, last=soon"
    with pytest.raises(StageFailed, match="its version query gives several rows"):
        ask("SELECT id FROM orders")
    with pytest.raises(StageFailed, match="no such column: nope"):
        ask("SELECT nope FROM orders")


def test_a_table_without_a_declared_column_or_a_driver_is_refused(
    sqlite: Path, spark: SparkSession, tmp_path: Path
) -> None:
    lower = source({"note": {"type": "string"}}, jdbc={"url": f"jdbc:sqlite:{sqlite}",
                   "table": "orders"})  # fmt: skip
    with pytest.raises(DataRefused, match=r"orders: no column 'note' \(there is 'Note'\)"):
        land(spark, lower, "orders", driver("sqlite-jdbc.jar"), tmp_path)
    unknown = in_sqlite(sqlite, url="jdbc:mysql://h/shop")
    with pytest.raises(StageFailed, match=r"no driver com\.mysql\.cj\.jdbc\.Driver for mysql"):
        land(spark, unknown, "orders", None, tmp_path)


def test_columns_of_other_names_and_none_are_read_as_in_files(sqlite: Path, ingest: Ingest) -> None:
    columns = {
        "id": {"type": "int"},
        "text": {"type": "string", "from": "Note"},
        "state": {"type": "string", "default": "open"},
    }
    jdbc = {"url": f"jdbc:sqlite:{sqlite}", "table": "orders"}
    declared = source(columns, jdbc=jdbc, missing_columns="fill")
    found = ingest(declared, driver("sqlite-jdbc.jar"))
    assert found.good[1] == {"id": 1, "text": "a", "state": "open"}
    assert found.result.drift == Drift(extra={"amount": 1, "day": 1}, missing={"state": 1})


@pytest.fixture(scope="module")
def catalog(spark: SparkSession) -> Iterator[SparkSession]:
    spark.sql("CREATE DATABASE IF NOT EXISTS shop")
    rows = [(1, 2.5, ["a"], datetime(2024, 1, 1, 12)), (2, float("nan"), None, None)]
    frame = spark.createDataFrame(rows, "id long, amount double, tags array<string>, at timestamp")
    frame.write.mode("overwrite").saveAsTable("shop.orders")
    yield spark
    spark.sql("DROP DATABASE shop CASCADE")


CATALOG = {
    "id": {"type": "int"},
    "amount": {"type": "double"},
    "tags": {"type": "string"},
    "at": {"type": "timestamp"},
}


@pytest.mark.parametrize(
    "place", ({"table": "shop.orders"}, {"sql": "WITH o AS (TABLE shop.orders) SELECT * FROM o"})
)
def test_a_table_of_the_catalog_is_read(catalog: SparkSession, ingest: Ingest, place: Row) -> None:
    found = ingest(source(CATALOG, **place))
    at = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
    assert found.good == {1: {"id": 1, "amount": 2.5, "tags": '["a"]', "at": at}}
    assert found.rules == {("not_a_double", "NaN")}
    assert {row["file"] for row in found.bad} == {place.get("table", "sql")}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM text.`/etc/passwd`", "no table 'text./etc/passwd'"),
        ("SELECT * FROM shop.gone", r"no table 'shop\.gone'"),
        ("SELECT reflect('java.lang.System', 'getenv') AS id FROM shop.orders", "reaches outside"),
        ("SELECT java_method('a', 'b') AS id FROM shop.orders", "reaches outside"),
        ("SELECT * FROM shop.orders; DROP TABLE shop.orders", "Syntax error|extra input"),
        ("DROP TABLE shop.orders", "not part of one SELECT"),
        ("SELECT nope FROM shop.orders", "nope"),
    ],
)
def test_sql_of_a_source_reads_tables_alone(
    catalog: SparkSession, tmp_path: Path, sql: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"source orders.*({message})"):
        land(catalog, source(CATALOG, sql=sql), "orders", None, tmp_path)


def test_a_renamed_column_of_the_catalog_is_read(catalog: SparkSession, ingest: Ingest) -> None:
    columns = {
        "number": {"type": "int", "from": "id"},
        "gone": {"type": "date"},
        "id": CATALOG["id"],
    }
    found = ingest(source(columns, table="shop.orders", missing_columns="fill"))
    assert found.good[1] == {"number": 1, "gone": None, "id": 1}
    assert found.result.drift.missing == {"gone": 1}


def test_a_file_is_no_table_of_the_catalog(catalog: SparkSession, tmp_path: Path) -> None:
    for table in ("text.x", "shop.gone", "gone"):
        with pytest.raises(DataRefused, match=f"catalog has no table {table}"):
            land(catalog, source(CATALOG, table=table), "orders", None, tmp_path / "landed")
