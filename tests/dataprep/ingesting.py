"""One ingest of files that a test writes, and what became of their rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.ingest import SourceResult

HEADER = "id,price,note\n"
Row = dict[str, Any]


def source(**changes: Any) -> SourceConfig:
    settings: Row = {
        "path": "x",
        "columns": {
            "id": {"type": "int", "nullable": False},
            "price": {"type": "double", "min": 0},
            "note": {"type": "string"},
        },
        "max_quarantined_share": 0.99,
    }
    # As from YAML: lists become tuples, and nothing else is converted.
    return SourceConfig.model_validate_json(json.dumps(settings | changes))


class Ingested:
    """The result of one ingest, its good rows and its quarantine, in order."""

    def __init__(self, result: SourceResult, folder: Path) -> None:
        self.result = result
        self.good = read_rows(folder / "good")
        self.bad = read_rows(folder / "bad")

    @property
    def rules(self) -> list[tuple[int, str, str | None]]:
        """(row, rule, value) of each reason."""
        return [(r["row"], x["rule"], x["value"]) for r in self.bad for x in r["reasons"]]


def read_rows(folder: Path) -> list[Row]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    return [dict(row) for row in pa.concat_tables(tables).to_pylist()]


Ingest = Callable[..., Ingested]
