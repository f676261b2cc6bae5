"""Is this machine ready? Looks, and starts no engine."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pipeline.config.engines import EnginesConfig
from pipeline.engines.java import find_java
from pipeline.engines.resources import (
    GIB,
    MIB,
    Machine,
    plan_resources,
    shortfall,
    this_machine,
)
from pipeline.errors import EngineError

# The versions that were seen to work together. RayDP 1.6.5 refuses any other Spark.
_PYTHON = ((3, 10), (3, 12))
_RAYDP = "1.6.5"
_SPARK = tuple(f"3.5.{patch}" for patch in range(8))
_RAY = ((2, 37), (2, 60))  # 2.37 is the first in which Python can call RayDP's Java actors

_LEAST_DISK = 2 * GIB
_LEAST_FILES = 4096
_LEAST_SHM = 256 * MIB

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether it will do.
        level: ``error`` where nothing runs without it, ``warning`` where some things do.
        found: what was found.
        remedy: what to do; empty when ``ok``.
    """

    name: str
    ok: bool
    level: Level
    found: str
    remedy: str


def checkup(config: EnginesConfig, store: Path | str) -> list[Check]:
    """Look at everything that the engines need. Takes well under a second.

    Args:
        config: the ``engines`` section.
        store: the store's folder or URI; a URI's space is not looked at.
    """
    machine = this_machine()
    return [
        _python(),
        _java(),
        *_versions(config.spark.master == "ray"),
        _memory(config, machine),
        _shared_memory(machine),
        *_disks(config, store),
        _ports(),
        _open_files(),
    ]


def _check(name: str, ok: bool, found: str, remedy: str, level: Level = "error") -> Check:
    return Check(name, ok, level, found, "" if ok else remedy)


def _python() -> Check:
    running = sys.version_info[:2]
    found = f"{sys.version.split()[0]} at {sys.executable}"
    ok = _PYTHON[0] <= running <= _PYTHON[1]
    return _check("Python", ok, found, "use Python 3.10, 3.11 or 3.12")


def _java() -> Check:
    try:
        java = find_java()
    except EngineError as problem:
        return Check("Java", False, "error", problem.message, problem.hint or "install a JDK 17")
    return Check("Java", True, "error", f"{java.version} at {java.home} (by {java.origin})", "")


def _versions(spark_on_ray: bool) -> Iterator[Check]:
    lock = "install what requirements.lock pins (make setup)"
    spark, ray, raydp = (_version(name) for name in ("pyspark", "ray", "raydp"))
    yield _check("Spark", spark in _SPARK, spark, f"{lock}: RayDP {_RAYDP} needs {_SPARK[-1]}")
    yield _check("Ray", _RAY[0] <= _pair(ray) <= _RAY[1], ray, lock)
    level: Level = "error" if spark_on_ray else "warning"
    remedy = f"{lock}, or set engines.spark.master: local[*] to go without RayDP"
    yield _check("RayDP", raydp == _RAYDP, raydp, remedy, level)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _pair(text: str) -> tuple[int, ...]:
    numbers = text.split(".")[:2]
    return tuple(int(n) for n in numbers) if all(n.isdigit() for n in numbers) else (0, 0)


def _memory(config: EnginesConfig, machine: Machine) -> Check:
    plan = plan_resources(config, machine.cores, machine.memory_bytes, machine.shm_bytes)
    missing = shortfall(plan, machine)
    found = (
        f"{machine.cores} cores, {_gib(machine.memory_bytes)}: Spark heaps "
        f"{_gib(plan.heap_bytes)}, Ray's object store {_gib(plan.object_store_bytes)}"
    )
    remedy = "lower engines.spark.executor_memory or engines.ray.object_store_memory"
    return _check("Memory", missing is None, missing or found, remedy)


def _shared_memory(machine: Machine) -> Check:
    return _check(
        "/dev/shm",
        machine.shm_bytes >= _LEAST_SHM,
        f"{_gib(machine.shm_bytes)} free",
        "give the container more (docker run --shm-size=2g); Ray would use slow files instead",
        "warning",
    )


def _disks(config: EnginesConfig, store: Path | str) -> Iterator[Check]:
    places = {"temporary files": "/tmp", "spilled objects": config.ray.spill_dir or "/tmp"}
    if "://" not in str(store):
        places["the store"] = str(store)
    for use, place in places.items():
        yield _disk(use, Path(place))


def _disk(use: str, place: Path) -> Check:
    folder = next(p for p in [place.absolute(), *place.absolute().parents] if p.exists())
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    found = f"{_gib(free)} free at {folder}" if writable else f"{folder} is not writable"
    remedy = f"make room or allow writing there: at least {_gib(_LEAST_DISK)}"
    return _check(f"Disk for {use}", writable and free >= _LEAST_DISK, found, remedy)


def _ports() -> Check:
    problem = _problem_of(_bind_loopback)
    return _check(
        "Loopback ports",
        problem is None,
        problem or "127.0.0.1 can be bound",
        "the engines talk over 127.0.0.1; allow it in the sandbox or the network namespace",
    )


def _bind_loopback() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        with socket.create_connection(server.getsockname(), timeout=1):
            pass


def _problem_of(action: Callable[[], None]) -> str | None:
    try:
        action()
    except OSError as problem:
        return str(problem)
    return None


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _check(
        "Open files",
        soft == resource.RLIM_INFINITY or soft >= _LEAST_FILES,
        f"limit {soft} (at most {hard})",
        f"ulimit -n {_LEAST_FILES}: Ray keeps many sockets open",
        "warning",
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
