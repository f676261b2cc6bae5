"""What does not fit the object store goes to disk: up to a limit, and never until it is full."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.engines.resources import GIB, MIB
from pipeline.engines.spill import SpillGuard
from pipeline.errors import EngineError


def guard(folder: Path | None, limit: int | None, store: int = 100 * MIB) -> SpillGuard:
    ticks = iter(range(0, 1000, 10))
    return SpillGuard(folder, store, limit, clock=lambda: float(next(ticks)))


def spill(folder: Path, size: int) -> None:
    into = folder / "session" / "ray_spilled_objects_0a"
    into.mkdir(parents=True, exist_ok=True)
    with (into / f"{size}").open("wb") as file:
        file.truncate(size)


def test_what_fits_the_store_is_never_refused(tmp_path: Path) -> None:
    guard(tmp_path, limit=1).refuse_beyond(100 * MIB)


def test_blocks_beyond_the_limit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"about 300 MiB.* holds 100 MiB.*spill_limit is 200 MiB"):
        guard(tmp_path, limit=200 * MIB).refuse_beyond(300 * MIB)
    guard(tmp_path, limit=GIB).refuse_beyond(300 * MIB)
    guard(tmp_path, limit=None).refuse_beyond(300 * MIB)


def test_a_limit_beyond_the_disk_is_the_disk(tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path).total
    with pytest.raises(EngineError, match=f"the disk of {tmp_path} has room for"):
        guard(tmp_path, limit=9 * disk).refuse_beyond(2 * disk)


def test_a_joined_cluster_is_held_to_a_stated_limit_only() -> None:
    guard(None, limit=None).refuse_beyond(10**15)
    with pytest.raises(EngineError, match="spill_limit"):
        guard(None, limit=GIB).refuse_beyond(2 * GIB)


def test_what_is_spilled_beyond_the_limit_ends_the_run(tmp_path: Path) -> None:
    watched = guard(tmp_path, limit=2 * MIB)
    watched.check()
    spill(tmp_path, 2 * MIB)
    watched.check()
    spill(tmp_path, 3 * MIB)
    with pytest.raises(EngineError, match=r"Ray has spilled 5 MiB to .*spill_limit is 2 MiB"):
        watched.check()


def test_it_looks_once_a_second(tmp_path: Path) -> None:
    watched = SpillGuard(tmp_path, 0, 1, clock=lambda: 5.0)
    watched.check()
    spill(tmp_path, MIB)
    watched.check()


def test_a_disk_that_is_almost_full_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill(tmp_path, MIB)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=usage.total // 100))
    with pytest.raises(EngineError, match="almost full"):
        guard(tmp_path, limit=None).check()
