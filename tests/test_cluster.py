"""The same job on a Ray cluster that is already up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Project, actions, children_of, hashes

RAY = str(Path(sys.executable).parent / "ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head node on this machine, as an operator would start it; its address."""
    from pipeline.engines.java import use_java

    use_java()
    address = "127.0.0.1:26379"
    command = [RAY, "start", "--head", "--port=26379", "--num-cpus=2", "--block"]
    command += ["--node-ip-address=127.0.0.1", "--object-store-memory=1000000000"]
    command += ["--disable-usage-stats", "--include-dashboard=false"]
    # Stopped by its process group: `ray stop` would end every other Ray of this machine too.
    head = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    # With two clusters on one machine "auto" is the one that the environment names.
    monkeypatch.setenv("RAY_ADDRESS", address)
    try:
        end = time.monotonic() + 90
        while not _is_up(address):
            assert head.poll() is None
            assert time.monotonic() < end
            time.sleep(1)
        yield address
    finally:
        for pid in (*children_of(head.pid), head.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        head.wait(timeout=30)


def _is_up(address: str) -> bool:
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


def test_the_sample_runs_on_a_cluster_and_gives_the_same_predictions(
    finished: tuple[Project, dict[str, Any]], cluster: str, tmp_path: Path
) -> None:
    whole, record = finished
    project = Project(whole.root, tmp_path / "store")
    for stage in ("ingest", "preprocess"):
        shutil.copytree(whole.store / "artifacts" / stage, project.store / "artifacts" / stage)
    joined = ("--set", "engines.ray.address=auto")
    first = project.json("convert", *joined)
    assert actions(first) == {"convert": "run"}

    # Once more on the same cluster: nothing of the first time is in the way.
    found = project.json("run", "--force", "convert", *joined)
    assert actions(found) == {
        "ingest": "skipped", "preprocess": "skipped", "convert": "run",
        "train": "run", "infer": "run", "report": "run",
    }  # fmt: skip
    assert project.artifact(found, "convert") == project.artifact(first, "convert")
    here, there = project.artifact(found, "infer"), whole.artifact(record, "infer")
    assert hashes(here, "predictions/*") == hashes(there, "predictions/*")
    assert _is_up(cluster), "the run must leave the cluster up"
    assert _booked(cluster) == {}, "and nothing of its own in it"


def _booked(address: str) -> dict[str, float]:
    """What is taken of the cluster's resources, in a process of its own that takes none."""
    ask = """
from pipeline.engines.ray_cluster import show_token
show_token()
import json, ray, sys
ray.init(address=sys.argv[1], logging_level=40)
total, free = ray.cluster_resources(), ray.available_resources()
print(json.dumps({k: v - free.get(k, 0) for k, v in total.items() if v != free.get(k, 0)}))
"""
    command = [sys.executable, "-c", ask, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    booked: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return booked
