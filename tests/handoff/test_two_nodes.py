"""A Ray node that goes down during a hand-off, or after it, costs time and no row."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("two_nodes.py")
WHOLE = [800_000, 1]  # rows, and that they are the right ones in order


def test_a_node_that_goes_down_costs_no_row(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    # This kind of cluster asks for no token; and by default Ray misses a node after half a minute.
    environment = os.environ | {
        "RAY_AUTH_MODE": "disabled",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
    }
    run = subprocess.run(command, capture_output=True, text=True, timeout=540, env=environment)
    assert run.returncode == 0, run.stderr[-4000:]
    found = json.loads(run.stdout.splitlines()[-1])
    wanted = r"Spark wants 2 executors of 9216.0 GiB on Ray; there is room for 0 of them on nodes "
    assert re.match(wanted + r"with .* GiB, .* GiB free; waited for 15 s", found["too large"])
    assert found["frame"] == WHOLE
    assert found["blocks there"] > 0
    assert found["restored"] >= found["blocks there"]
    assert found["restored frame"] == WHOLE
    assert found["raydp"] == WHOLE
    assert found["parquet"] == WHOLE
    assert found["booked"] == 0  # Spark was stopped, and what it had is Ray's
