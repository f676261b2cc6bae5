"""Spark without Ray: these tests read and write files, and start ten times faster so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline.config.engines import EnginesConfig
from tests.conftest import alone

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One local session for all of these tests."""
    from pipeline.engines.session import Engines

    config = EnginesConfig.model_validate(
        {"spark": {"shuffle_partitions": 2, "master": "local[2]"}}
    )
    with alone(Engines(config, app_name="tests")) as engines:
        yield engines.spark()
