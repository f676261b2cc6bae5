"""How long a run takes that has nothing to do, and the interpreter's own start as its limit.

Run it with ``make bench-noop``, after ``make run``.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import time

ROUNDS = 5
COMMANDS = {
    "limit": [sys.executable, "-c", "import pydantic, typer, yaml"],
    "ours": [sys.executable, "-m", "pipeline", "run", "-c", "conf/flights.yaml", "--json"],
    "ours plan": [sys.executable, "-m", "pipeline", "plan", "-c", "conf/flights.yaml", "--json"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    ran = json.loads(subprocess.run(COMMANDS["ours"], check=True, capture_output=True).stdout)
    if any(stage["action"] != "skipped" for stage in ran["stages"]):
        sys.exit("not everything was skipped: do `make run` first")
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine meets all of them
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    limit = statistics.median(times["limit"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for name, values in times.items():
        median = statistics.median(values)
        line = {
            "bench": "noop",
            "name": name,
            "seconds": round(median, 3),
            "ratio_to_limit": round(median / limit, 2),
            "rows_per_second": None,
            "peak_rss_mb": round(peak, 1),
            "versions": {"python": platform.python_version()},
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
