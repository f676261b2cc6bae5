"""One Spark, one Ray, shared by all tests of a session; both embedded, on two CPUs.

A session is a part of the tests (``tests/__main__.py``), or what was given to pytest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.config import PipelineConfig, load_config
from pipeline.config.engines import EnginesConfig
from tests.command import Project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipeline.engines.session import Engines

ROOT = Path(__file__).parents[1]
# Tests are over before the JVM's optimising compiler has paid off; and their data is small.
SMALL_SPARK = {"java_options": "-XX:TieredStopAtLevel=1", "shuffle_partitions": 2}


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of whole commands, which start engines of their own, behind all others."""
    items.sort(key=lambda item: item.path.parent == ROOT / "tests")


_started: list[Engines] = []


def alone(engines: Engines) -> Engines:
    """Engines that are about to be used, all others of this session being stopped."""
    stop_engines()
    _started.append(engines)
    return engines


def stop_engines() -> None:
    """Stop what earlier tests have started: the machine has room for one Spark and one Ray."""
    while _started:
        _started.pop().close()


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Spark on Ray through RayDP, and embedded Ray; stopped before the first whole command."""
    from pipeline.engines.session import Engines

    config = EnginesConfig.model_validate({"ray": {"num_cpus": 2}, "spark": SMALL_SPARK})
    with alone(Engines(config, app_name="tests")) as started:
        yield started


@pytest.fixture(scope="session")
def spark(engines: Engines) -> SparkSession:
    """The session's Spark."""
    return engines.spark()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the shipped configuration and sample, to edit freely."""
    return _copy(tmp_path)


@pytest.fixture
def sample_config(project: Path) -> PipelineConfig:
    """The shipped job on the sample, in a project and store of its own."""
    return load_config(project / "conf" / "flights.yaml", env="sample")


@pytest.fixture(autouse=True)
def _no_leaking_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYSPARK_GATEWAY"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, Any]]:
    """The shipped job on the sample, run once from the command line; do not change its store."""
    stop_engines()
    folder = tmp_path_factory.mktemp("finished")
    project = Project(_copy(folder), folder / "store")
    return project, project.json("run")


@pytest.fixture
def another(finished: tuple[Project, dict[str, Any]], tmp_path: Path) -> Project:
    """A project whose store starts as a copy of the finished one; change it freely."""
    root = _copy(tmp_path)
    shutil.copytree(finished[0].store, tmp_path / "store")
    return Project(root, tmp_path / "store")


def _copy(folder: Path) -> Path:
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    shutil.copytree(ROOT / "data" / "sample", folder / "data" / "sample")
    return folder
