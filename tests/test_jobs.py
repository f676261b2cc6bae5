"""The stages as scripts under spark-submit give what the command line gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.command import Project, environment, hashes, manifest

BIN = Path(sys.executable).parent


def _activated() -> dict[str, str]:
    """The environment after ``. .venv/bin/activate``, with the sample's JVM options."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return environment(PATH=path, JDK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1")


def test_spark_submit_commits_the_same_artifacts(
    finished: tuple[Project, dict[str, Any]], tmp_path: Path
) -> None:
    whole, record = finished
    root = tmp_path / "project"
    shutil.copytree(whole.root, root, ignore=shutil.ignore_patterns("store"))
    store = tmp_path / "store"
    for stage in ("ingest", "preprocess"):
        command = ["spark-submit", f"jobs/{stage}.py", "--config", "conf/flights.yaml"]
        command += ["--env", "sample", "--set", f"store={store}", "--json"]
        done = subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=400,
            env=_activated(),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        made = json.loads(done.stdout)
        folder = Project(root, store).artifact(made, stage)
        other = whole.artifact(record, stage)
        assert folder.name == other.name
        ours, theirs = manifest(folder), manifest(other)
        for key in ("rows_in", "rows_out", "rows_quarantined"):
            assert ours[key] == theirs[key]
    assert ours["metrics"]["checksums"] == theirs["metrics"]["checksums"]
    assert hashes(folder, "features/*") == hashes(other, "features/*")
