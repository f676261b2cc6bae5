"""``make test``: all tests, in parts, two parts at a time.

Many tests wait: for an engine to start, for a process to end, for a minute to come. Another part
computes meanwhile. Each part is a pytest of its own, as a process has one Spark and one Ray; hence
the parts are cut by the engines that their tests share. The tests that measure time come first,
with the machine to themselves.

What is said on the command line goes to every part: ``python -m tests --durations=10 -k spill``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
AT_A_TIME = 2
SPARK_ON_RAY = ("engines", "handoff")

_running: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Part:
    """Some of the tests: where they lie, and whether they measure time."""

    name: str
    places: Collection[Path]
    marker: str = "not timed"

    def command(self, options: list[str]) -> list[str]:
        places = [str(place.relative_to(TESTS.parent)) for place in sorted(self.places)]
        # Two at a time cannot share one cache.
        pytest_here = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        return [*pytest_here, "-m", self.marker, *options, *places]


@dataclass(frozen=True)
class Outcome:
    """How a part ended: pytest's exit code, or minus the signal that ended it."""

    part: Part
    code: int
    seconds: float

    @property
    def failed(self) -> bool:
        return self.code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)

    def __str__(self) -> str:
        said = f"FAILED, exit code {self.code}" if self.failed else "passed"
        return f"{self.part.name:>9} | {said} after {self.seconds:.0f} s"


def parts() -> list[Part]:
    """All tests, the longest part first, so that the last ones end together."""
    commands = list(TESTS.glob("test_*.py"))
    folders = {TESTS / path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    spark_on_ray = {TESTS / name for name in SPARK_ON_RAY}
    spark = {TESTS / "dataprep"}
    return [
        Part("commands", commands),
        Part("spark", spark),
        Part("raydp", spark_on_ray),
        Part("others", folders - spark_on_ray - spark),
    ]


def run(part: Part, options: list[str]) -> Outcome:
    """Run a part and print its lines as they come, its name before each."""
    started = time.monotonic()
    process = subprocess.Popen(
        part.command(options), cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )  # fmt: skip
    _running.append(process)
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(f"{part.name:>9} | {line}")
        sys.stdout.flush()
    return Outcome(part, process.wait(), time.monotonic() - started)


def main(options: list[str]) -> int:
    signal.signal(signal.SIGTERM, _stop)
    outcomes = [run(Part("timed", [TESTS], "timed"), options)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        outcomes += pool.map(lambda part: run(part, options), parts())
    print(*outcomes, sep="\n")
    if all(outcome.code == pytest.ExitCode.NO_TESTS_COLLECTED for outcome in outcomes):
        return int(pytest.ExitCode.NO_TESTS_COLLECTED)
    return int(any(outcome.failed for outcome in outcomes))


def _stop(*_: object) -> None:
    for process in _running:
        process.send_signal(signal.SIGINT)  # on which pytest tidies up; SIGTERM would just end it
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
