"""Values that folder names, encodings or loose comparison would conflate."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.config.ingest import IngestConfig
from pipeline.dataprep.ingest import ingest_all

ODD = [
    "", "a/b", "=", "a=b", "..", "%2F", "😀", "\u00e9", "e\u0301", "007", "7", "_x", ".x", " ",
    "null", "NULL", "NA", "__HIVE_DEFAULT_PARTITION__", "A", "a",
]  # fmt: skip


def test_odd_values_are_kept_apart_and_unchanged_from_file_to_store(
    spark: SparkSession, tmp_path: Path
) -> None:
    """As keys, as foreign keys, in filters, and as they are written."""
    lines = "".join(f'"{value}",{n}\n' for n, value in enumerate(ODD))
    (tmp_path / "shops.csv").write_text("name,n\n" + lines + "-,99\n", encoding="utf-8")
    columns = {"name": {"type": "string"}, "n": {"type": "int"}}
    table = {"columns": columns, "null_values": ["-"], "max_quarantined_share": 0.1}
    known = {"kind": "foreign_key", "columns": ["name"], "references": "shops.name"}
    alone = {"kind": "unique", "columns": ["name"], "level": "refuse"}
    given = {
        "shops": table | {"path": "shops.csv", "key": ["name"], "max_quarantined_share": 0.05},
        "sales": table | {
            "path": "shops.csv",
            "filters": {"not_seven": "name <> '7' OR name IS NULL"},
            "rules": {"known": known, "alone": alone},
        },
    }  # fmt: skip
    sources = IngestConfig.model_validate_json(json.dumps({"sources": given})).sources
    files = {name: [str(tmp_path / "shops.csv")] for name in sources}
    results = ingest_all(spark, sources, files, tmp_path / "out")
    shops, sales = results["shops"], results["sales"]
    assert (shops.rows_out, shops.reasons) == (len(ODD), {"name: null": 1})
    assert (sales.rows_dropped, sales.reasons) == ({"not_seven": 1}, {})
    assert {rule.name: rule.broken for rule in sales.rules} == {"known": 0, "alone": 0}
    written = {name: pq.read_table(tmp_path / "out" / name).column("name") for name in sources}
    assert sorted(written["shops"].to_pylist()) == sorted(ODD)
    names = written["sales"].to_pylist()
    assert sorted(name for name in names if name is not None) == sorted(set(ODD) - {"7"})
    assert len(names) == len(ODD) and names.count(None) == 1
