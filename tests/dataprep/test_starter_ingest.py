"""What ``pipeline init`` declares of tables that it never saw is how Spark reads them."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pipeline.config import PipelineConfig, load_config
from pipeline.dataprep.ingest import SourceResult, ingest_all
from pipeline.starter import write_starter
from pipeline.store.inputs import find_files
from tests.starter.quirky_tables import folders

Ingested = dict[str, tuple[PipelineConfig, SourceResult, list[dict[str, Any]]]]

FIRST: dict[str, dict[str, Any]] = {
    "german": {"Bestell_Nr": "00000", "Bestelldatum": date(2024, 1, 1), "Filiale": "Köln"},
    "zoned": {"event_id": "e0", "at": datetime(2024, 2, 29, 23, tzinfo=timezone.utc), "load": None},
    "reordered": {"day": date(2024, 1, 1), "store": "s1"},
    "marked": {"id": 0, "taken": date(2024, 1, 1), "temp": None, "income": None},
    "timeless": {"colour": "white"},
    "wide": {"row": 0, "when": datetime(2024, 1, 1, tzinfo=timezone.utc), "none": None, "same": 1},
    "tiny": {"day": date(2024, 1, 1), "kind": 0},
    "typed": {"day": date(2024, 1, 1), "shop": "a", "units_sold": 3},
    "logged": {"id": 0, "from_host": "h0", "from_port": 80, "user_name": "u0"},
}
ROWS = {"german": 600, "zoned": 700, "reordered": 273, "marked": 500, "timeless": 420} | {
    "wide": 300,
    "tiny": 40,
    "typed": 200,
    "logged": 400,
}


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """Each folder's configuration, result and rows, all ingested in one go."""
    root = tmp_path_factory.mktemp("quirky")
    configs = {}
    for name, folder, target in folders(root / "data"):
        output = root / "conf" / f"{name}.yaml"
        write_starter([str(folder)], target, (), None, output)
        configs[name] = load_config(output)
    mains = {n: c.ingest.sources[str(c.preprocess.main)] for n, c in configs.items()}
    files = {n: [str(p) for p in find_files(root, s.paths, n)] for n, s in mains.items()}
    results = ingest_all(spark, mains, files, root / "out")
    return {n: (configs[n], results[n], _rows(root / "out" / n)) for n in configs}


def _rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("part-*.parquet"))
    return [dict(row) for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("name", FIRST)
def test_the_declared_columns_are_how_the_files_are_written(ingested: Ingested, name: str) -> None:
    _, result, rows = ingested[name]
    assert (result.rows_in, result.rows_quarantined) == (ROWS[name], 0)
    wanted = FIRST[name]
    assert any({key: row[key] for key in wanted} == wanted for row in rows)


def test_decimal_commas_and_separators_become_numbers(ingested: Ingested) -> None:
    _, _, sales = ingested["german"]
    assert all(800 <= row["Umsatz_in_EUR"] <= 3000 for row in sales)
    _, _, readings = ingested["marked"]
    assert all(row["income"] is None or 900 <= row["income"] < 99_000 for row in readings)
    assert sum(row["income"] is None for row in readings) == 39
    assert sum(row["temp"] is None for row in readings) == 46
