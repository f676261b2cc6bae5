"""The same job on a Ray cluster that is already up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Project, actions, hashes

RAY = str(Path(sys.executable).parent / "ray")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head node on this machine, as an operator would start it; its address."""
    from pipeline.engines.java import use_java

    use_java()
    port = "26379"
    command = [
        RAY,
        "start",
        "--head",
        f"--port={port}",
        "--num-cpus=2",
        "--node-ip-address=127.0.0.1",
    ]
    command += [
        "--object-store-memory=1000000000",
        "--disable-usage-stats",
        "--include-dashboard=false",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([RAY, "stop", "--force"], capture_output=True, timeout=60)


def test_the_sample_runs_on_a_cluster_and_gives_the_same_predictions(
    finished: tuple[Project, dict[str, Any]], cluster: str, tmp_path: Path
) -> None:
    whole, record = finished
    assert "RAY_ADDRESS" not in os.environ
    project = Project(whole.root, tmp_path / "store")
    found = project.json("run", "--set", "engines.ray.address=auto")
    assert actions(found) == dict.fromkeys(actions(found), "run")
    here, there = project.artifact(found, "infer"), whole.artifact(record, "infer")
    assert hashes(here, "predictions/*") == hashes(there, "predictions/*")
    status = subprocess.run([RAY, "status", "--address", cluster], capture_output=True, text=True)
    assert status.returncode == 0, "the run must leave the cluster up"
