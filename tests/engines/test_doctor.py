"""The doctor: fast, starts nothing, and says what to do."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from pipeline.config.engines import EnginesConfig
from pipeline.engines.doctor import checkup


@pytest.mark.timed
def test_this_machine_is_looked_at_quickly(tmp_path: Path) -> None:
    started = time.monotonic()
    checks = checkup(EnginesConfig(), tmp_path / "not" / "there")
    assert time.monotonic() - started < 3
    names = {check.name for check in checks}
    assert {"Python", "Java", "Spark", "Ray", "RayDP", "Memory", "Disk for the store"} <= names
    assert all(check.ok or check.remedy for check in checks)
    assert [check for check in checks if check.level == "error" and not check.ok] == []


def test_a_wrong_java_and_too_much_memory_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    config = EnginesConfig.model_validate({"spark": {"executor_memory": "900t"}})
    bad = {check.name: check for check in checkup(config, tmp_path) if not check.ok}
    assert set(bad) == {"Java", "Memory"}
    assert str(tmp_path) in bad["Java"].found
    assert "executor_memory" in bad["Memory"].remedy


def test_the_doctor_imports_no_engine() -> None:
    import subprocess

    ask = (
        "import sys; from pipeline.engines.doctor import checkup; "
        "from pipeline.config.engines import EnginesConfig; checkup(EnginesConfig(), '/tmp'); "
        "print([m for m in ('ray', 'pyspark', 'raydp', 'pyarrow') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
