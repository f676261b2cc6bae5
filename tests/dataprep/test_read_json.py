"""JSON files through the whole of ingest: each record is a row that is kept or has a reason."""

from __future__ import annotations

import bz2
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipeline.errors import DataRefused
from tests.dataprep.ingesting import Ingest

OK = '{"id": 1, "price": 2.5, "note": "x"}'


def lines(*records: str) -> str:
    return "\n".join(records) + "\n"


def test_lines_are_rows_and_broken_ones_have_reasons(spark: SparkSession, ingest: Ingest) -> None:
    long, deep = json.dumps({"id": 1, "note": "z" * 2_000_000}), "[" * 10_000 + "]" * 10_000
    broken = {
        '{"id": 2, "price": 3': "not_json",
        deep: "nested_too_deep",
        '{"id": 3, "id": 4, "price": 1}': "repeated_key",
        '{"id": "x", "price": 1}': "not_a_int",
        '{"id": 5, "price": Infinity}': "not_a_double",
        '{"id": 6, "price": 1e400}': "not_a_double",
        '{"id": null, "price": 1}': "null",
        '{"id": 7, "note": "\0"}': "nul_byte",
        long: "record_too_long",
        "[5]": "not_an_object",
    }
    text = lines(OK, "", *broken, '{"note": "last", "id": 9, "price": NaN}')
    spark.conf.set("spark.sql.files.maxPartitionBytes", "700000")
    try:
        found = ingest({"a.json": text}, format="json", null_values=["", "NaN"])
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert [(row, rule) for row, rule, _ in found.rules] == list(enumerate(broken.values(), 2))
    assert [row["raw"] for row in found.bad] == [record[:10_000] for record in broken]
    assert found.good == [
        {"id": 1, "price": 2.5, "note": "x"},
        {"id": 9, "price": None, "note": "last"},
    ]
    assert (found.result.rows_in, found.result.rows_quarantined) == (12, 10)


ARRAY = f'[\n  {OK},\n  {{"id": 2, "price": "x"}}, {{"id": 3,, "price": 1}},\n 5, {{"id": 4'


def test_records_of_documents_are_rows(ingest: Ingest) -> None:
    pretty = json.dumps({"id": 7, "price": 1, "note": "[\n"}, indent=2)
    found = ingest(
        {
            "a.json": ARRAY,
            "b.json.gz": gzip.compress(f"[{OK}]".encode()),
            "c é.json.bz2": bz2.compress(f"\ufeff{pretty}\n{pretty}".encode()),
            "d.json": f"[{OK}]".encode("utf-8-sig"),
        },
        format="json",
        multiline=True,
    )
    assert [(Path(r["file"]).name, r["row"], r["reasons"][0]["rule"]) for r in found.bad] == [
        ("a.json", 2, "not_a_double"),
        ("a.json", 3, "not_json"),
        ("a.json", 4, "not_an_object"),
        ("a.json", 5, "not_json"),
        ("a.json", 6, "unclosed_array"),
    ]
    assert found.bad[1]["raw"] == '{"id": 3,, "price": 1}'
    assert sorted(row["id"] for row in found.good) == [1, 1, 1, 7, 7]
    assert found.result.rows_in == 10


def test_elements_of_arrays_are_rows_that_add_up(ingest: Ingest) -> None:
    columns = {
        "order": {"type": "int", "from": "id", "nullable": False},
        "city": {"type": "string", "from": "to.city"},
        "sku": {"type": "string", "from": "lines.sku", "nullable": False},
        "amount": {"type": "decimal(20,2)", "from": "lines.price.amounts[0]"},
    }
    text = lines(
        '{"id": 1, "to": {"city": "Ulm"}, "lines": [{"sku": "a", "price": {"amounts": [0.10]}},'
        ' {"sku": "b", "price": {"amounts": ["x"]}}, {"sku": "c"}]}',
        '{"id": 2, "lines": []}',
        '{"id": 3, "lines": {"sku": "d"}}',
        '{"id": 4, "to": {"city": "Bonn"}, "lines": [{"sku": "e", "price": {"amounts":'
        " [123456789012345678.25]}}]}",
    )
    found = ingest({"a.json": text}, format="json", explode="lines", columns=columns)
    assert [tuple(row.values()) for row in found.good] == [
        (1, "Ulm", "a", Decimal("0.10")),
        (1, "Ulm", "c", None),
        (4, "Bonn", "e", Decimal("123456789012345678.25")),
    ]
    reasons = [(r["row"], r["item"], r["reasons"][0]["rule"]) for r in found.bad]
    assert reasons == [(1, 2, "not_a_decimal(20,2)"), (2, None, "null"), (3, None, "not_an_array")]
    assert (found.result.rows_in, found.result.rows_out) == (6, 3)


REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "missing column": ('{"id": 1, "Price": 2, "note": ""}', {}, "no column 'price'.*'Price'"),
    "extra column": (OK[:-1] + ', "more": 1}', {"extra_columns": "refuse"}, "not declared: more"),
    "an array": (f"[{OK}]", {}, r"holds no JSON record.*'\[\{"),
    "a CSV": ("id,price,note\n1,2,x\n", {}, "holds no JSON record"),
    "an empty file": ("", {}, "is empty"),
    "UTF-16": (OK.encode("utf-16"), {}, "UTF-16"),
    "gzip without its ending": (gzip.compress(b"{}"), {}, "is not JSON: it is gzip"),
    "only a cut record": ('{"id": 1, "pri', {}, "holds no JSON record"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_by_name(ingest: Ingest, case: str) -> None:
    content, settings, message = REFUSED[case]
    with pytest.raises(DataRefused, match=rf"b\.json.*{message}"):
        ingest({"a.json": OK, "b.json": content}, format="json", **settings)


@pytest.mark.parametrize("multiline", [False, True])
def test_a_truncated_gzip_is_refused_by_name(ingest: Ingest, multiline: bool) -> None:
    records = (f'{{"id": {i}, "price": {i * 7919 % 1000}, "note": "{i * 104729 % 99991}"}}'
               for i in range(60_000))  # fmt: skip
    whole = gzip.compress("\n".join(records).encode(), compresslevel=1)
    cut = whole[: len(whole) * 9 // 10]
    with pytest.raises(DataRefused, match=r"b\.json\.gz is damaged or cut"):
        ingest({"a.json": OK, "b.json.gz": cut}, format="json", multiline=multiline)


def test_a_declared_encoding_is_honoured(ingest: Ingest) -> None:
    text = lines(OK.replace("x", "é ü"), OK)
    found = ingest({"a.json": text.encode("utf-16")}, format="json", encoding="UTF-16")
    assert [row["note"] for row in found.good] == ["é ü", "x"]


def test_bytes_of_another_encoding_are_quarantined(ingest: Ingest) -> None:
    text = lines(OK.replace("x", "é ü"), OK).encode("latin-1")
    found = ingest({"a.json": text}, format="json", multiline=True)
    assert [(row, rule) for row, rule, _ in found.rules] == [(1, "wrong_encoding")]
