"""Run one command of the pipeline from a script, in the environment where it is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def run_job(command: str) -> None:
    """``pipeline COMMAND`` with this script's arguments; ends the process with its exit code."""
    if importlib.util.find_spec("pipeline") is None:
        _go_on_in_project_environment()
    from pipeline.cli import leave, run_command

    leave(run_command([command, *sys.argv[1:]]))


def _go_on_in_project_environment() -> None:
    # spark-submit starts whatever `python3` is first on the path. The process is replaced, not
    # followed by a child, so that Spark's gateway and its signals stay with this one.
    python = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"
    if not python.exists() or Path(sys.prefix) == python.parents[1]:
        sys.exit("error: the package 'pipeline' is not installed here\n  → Run: make setup")
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = str(python)
    os.execv(python, [str(python), *sys.argv])
