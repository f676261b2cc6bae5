"""The stages of Spark alone, by script, give what the whole run gave.

Those of Ray alone are in ``test_resume.py``, where a kill has left them to be done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.command import Project, actions, environment, hashes, manifest

BIN = Path(sys.executable).parent
WAYS = {
    "ingest": ["spark-submit", "jobs/ingest.py", "--config"],
    "preprocess": ["spark-submit", "jobs/preprocess.py", "--config"],
    "convert": [sys.executable, "jobs/convert.py", "--config"],
}


def _activated() -> dict[str, str]:
    """The environment after ``. .venv/bin/activate``, with the sample's JVM options."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return environment(PATH=path, JDK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1")


def test_each_stage_alone_makes_what_the_whole_run_made(
    finished: tuple[Project, dict[str, Any]], tmp_path: Path
) -> None:
    whole, record = finished
    root = tmp_path / "project"
    shutil.copytree(whole.root, root, ignore=shutil.ignore_patterns("store"))
    project = Project(root, tmp_path / "store")
    for stage, way in WAYS.items():
        alone = _run(project, way)
        assert actions(alone) == {stage: "run"}
        here, there = project.artifact(alone, stage), whole.artifact(record, stage)
        assert here.name == there.name
        ours, theirs = manifest(here), manifest(there)
        for key in ("rows_in", "rows_out", "rows_quarantined"):
            assert ours[key] == theirs[key]
        assert hashes(here, "features/*") == hashes(there, "features/*")
    assert actions(_run(project, WAYS["convert"])) == {"convert": "skipped"}


def _run(project: Project, way: list[str]) -> dict[str, Any]:
    options = ["--env", "sample", "--set", f"store={project.store}", "--json"]
    done = subprocess.run(
        [*way, "conf/flights.yaml", *options],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=400,
        env=_activated(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record: dict[str, Any] = json.loads(done.stdout)
    return record
