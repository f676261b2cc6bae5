"""Each stage alone, by script and by command, gives what the whole run gave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.command import PIPELINE, Project, actions, environment, hashes, manifest

BIN = Path(sys.executable).parent
WAYS = {
    "ingest": ["spark-submit", "jobs/ingest.py", "--config"],
    "preprocess": ["spark-submit", "jobs/preprocess.py", "--config"],
    "convert": [sys.executable, "jobs/convert.py", "--config"],
    "train": [*PIPELINE, "train", "-c"],
    "infer": [sys.executable, "jobs/infer.py", "--config"],
    "report": [*PIPELINE, "report", "-c"],
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
        options = ["--env", "sample", "--set", f"store={project.store}", "--json"]
        done = subprocess.run(
            [*way, "conf/flights.yaml", *options],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=400,
            env=_activated(),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        alone = json.loads(done.stdout)
        assert actions(alone) == {stage: "run"}
        here, there = project.artifact(alone, stage), whole.artifact(record, stage)
        assert here.name == there.name
        ours, theirs = manifest(here), manifest(there)
        for key in ("rows_in", "rows_out", "rows_quarantined"):
            assert ours[key] == theirs[key]
        for pattern in ("features/*", "models/*", "predictions/*"):
            assert hashes(here, pattern) == hashes(there, pattern)
