"""Spark without Ray: these tests read and write files, and start ten times faster so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.config.engines import EnginesConfig
from tests.conftest import SMALL_SPARK, alone
from tests.dataprep.ingesting import Ingest, Ingested, source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One local session for all of these tests."""
    from pipeline.engines.session import Engines

    config = EnginesConfig.model_validate({"spark": SMALL_SPARK | {"master": "local[2]"}})
    with alone(Engines(config, app_name="tests")) as engines:
        yield engines.spark()


@pytest.fixture
def ingest(spark: SparkSession, tmp_path: Path) -> Ingest:
    """Write files, ingest them, and give back the rows."""
    from pipeline.dataprep.ingest import ingest_source

    def run(files: dict[str, str | bytes], **changes: Any) -> Ingested:
        paths = []
        for name, content in files.items():
            path = tmp_path / "raw" / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(str(path))
        good, bad = tmp_path / "good", tmp_path / "bad"
        return Ingested(ingest_source(spark, source(**changes), "shop", paths, good, bad), tmp_path)

    return run
