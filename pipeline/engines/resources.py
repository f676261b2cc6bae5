"""One plan that divides a machine's cores and memory between Spark, Ray and Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.engines import EnginesConfig
from pipeline.errors import EngineError

MIB = 1024**2
GIB = 1024**3

# Shares of the memory that this run may use. What is left (about 40 %) is for the Python workers
# of Ray and Spark and for the driver, which hold the models and the frames.
_STORE_SHARE = 0.25
_SPARK_SHARE = 0.25
_DRIVER_SHARE = 0.08
_MOST_TO_BOOK = 0.85

_LEAST_HEAP = 512 * MIB
_LEAST_STORE = 100 * MIB  # Ray refuses less than 75 MiB
_MOST_DRIVER_HEAP = 4 * GIB

# A Spark executor is a Ray actor. Booked at its true size it would take every CPU of a small
# machine, and the hand-off's Ray tasks would wait for ever (RayDP issue 265). Spark and Ray take
# turns in a pipeline, so the executor books next to nothing.
EXECUTOR_ACTOR_CPUS = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What this run may use: cores, memory and shared memory in bytes (container limits count)."""

    cores: int
    memory_bytes: int
    shm_bytes: int


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """What each engine gets. Sizes in bytes, whole MiB."""

    ray_cpus: int
    ray_memory_bytes: int
    object_store_bytes: int
    executors: int
    executor_cores: int
    executor_memory_bytes: int
    driver_memory_bytes: int
    shuffle_partitions: int

    @property
    def heap_bytes(self) -> int:
        """All Java heaps together."""
        return self.driver_memory_bytes + self.executors * self.executor_memory_bytes


def plan_resources(
    config: EnginesConfig, cores: int, memory_bytes: int, shm_bytes: int
) -> ResourcePlan:
    """Divide a machine between the engines; what ``config`` states is kept as stated.

    Spark on a local master has one JVM, so its heap is the driver's and there are no executors.
    """
    spark, on_ray = config.spark, config.spark.master == "ray"
    executors = spark.executors if on_ray or not spark.master.startswith("local") else 0
    executor_cores = spark.executor_cores or max(1, cores // max(1, executors))
    spark_share = memory_bytes * _SPARK_SHARE
    executor_memory = _stated(spark.executor_memory) or _heap(spark_share / max(1, executors))
    driver_share = memory_bytes * _DRIVER_SHARE
    driver_memory = _stated(spark.driver_memory) or (
        min(_heap(driver_share), _MOST_DRIVER_HEAP) if executors else _heap(spark_share)
    )
    store = _stated(config.ray.object_store_memory) or _object_store(memory_bytes, shm_bytes)
    return ResourcePlan(
        ray_cpus=config.ray.num_cpus or cores,
        ray_memory_bytes=_bookable(memory_bytes, store, driver_memory, executors * executor_memory),
        object_store_bytes=store,
        executors=executors,
        executor_cores=executor_cores,
        executor_memory_bytes=executor_memory if executors else 0,
        driver_memory_bytes=driver_memory,
        # Adaptive execution merges small ones, so a few too many cost little.
        shuffle_partitions=spark.shuffle_partitions or 4 * executor_cores * max(1, executors),
    )


def shortfall(plan: ResourcePlan, machine: Machine) -> str | None:
    """What the plan asks for beyond the machine, in one line; ``None`` where it fits."""
    if plan.object_store_bytes > machine.shm_bytes:
        return (
            f"Ray's object store needs {sized(plan.object_store_bytes)} of shared memory; /dev/shm "
            f"has {sized(machine.shm_bytes)}"
        )
    asked = plan.heap_bytes + plan.object_store_bytes
    allowed = int(machine.memory_bytes * _MOST_TO_BOOK)
    if asked > allowed:
        return (
            f"Spark's heaps ({sized(plan.heap_bytes)}) and Ray's object store "
            f"({sized(plan.object_store_bytes)}) need {sized(asked)}; {sized(allowed)} of this "
            f"machine's {sized(machine.memory_bytes)} may be booked"
        )
    return None


def executor_shortfall(plan: ResourcePlan, nodes: Sequence[int]) -> str | None:
    """What Spark's executors ask for beyond a Ray cluster, in one line; ``None`` where they fit.

    Args:
        plan: how many executors there shall be, and how large.
        nodes: memory of each node, in bytes.
    """
    room = sum(size // plan.executor_memory_bytes for size in nodes)
    if room >= plan.executors:
        return None
    sizes = ", ".join(sized(size) for size in sorted(nodes, reverse=True)[:8])
    more = ", …" if len(nodes) > 8 else ""
    return (
        f"Spark wants {plan.executors} executors of {sized(plan.executor_memory_bytes)} on Ray; "
        f"there is room for {room} of them on nodes with {sizes or 'no memory'}{more}"
    )


def preflight(plan: ResourcePlan, machine: Machine) -> None:
    """Refuse a plan that does not fit, before anything is started.

    Raises:
        EngineError: naming the resource, what is asked and what there is.
    """
    missing = shortfall(plan, machine)
    if missing is not None:
        raise EngineError(
            missing,
            hint="lower engines.spark.executor_memory, engines.spark.driver_memory or "
            "engines.ray.object_store_memory, or give the run more memory",
        )


def this_machine() -> Machine:
    """Cores, memory and shared memory that this process may use; cgroup limits are honoured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [memory, *_cgroup_memory_limits()]
    return Machine(
        cores=max(1, min([_affinity(), *_cgroup_cores()])),
        memory_bytes=min(limits),
        shm_bytes=_shared_memory(),
    )


def parse_bytes(text: str) -> int:
    """``"512m"`` or ``"2g"`` in bytes."""
    unit: int = 1024 ** ("kmgt".index(text[-1].lower()) + 1)
    return int(text[:-1]) * unit


def spark_size(size: int) -> str:
    """Bytes as Spark writes them, in whole MiB: ``"2048m"``."""
    return f"{max(1, size // MIB)}m"


def _stated(text: str | None) -> int | None:
    return parse_bytes(text) if text else None


def _heap(size: float) -> int:
    return max(_LEAST_HEAP, int(size) // MIB * MIB)


def _object_store(memory_bytes: int, shm_bytes: int) -> int:
    # A little of /dev/shm stays free: Ray writes to disk, slowly, when the store does not fit it.
    share = min(memory_bytes * _STORE_SHARE, shm_bytes * 0.9)
    return max(_LEAST_STORE, int(share) // MIB * MIB)


def _bookable(memory_bytes: int, store: int, driver_memory: int, executor_memory: int) -> int:
    # Ray's "memory" is a counter for scheduling. An executor's actor books its heap there, and
    # would wait for ever if the counter were smaller than the heap.
    rest = int(memory_bytes * _MOST_TO_BOOK) - store - driver_memory
    return max(rest, executor_memory + 64 * MIB) // MIB * MIB


def sized(size: int) -> str:
    """Bytes for people, in whole MiB or tenths of GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size // MIB} MiB"


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_cores() -> list[int]:
    quota = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(quota) == 2 and quota[0].isdigit():
        return [max(1, int(quota[0]) // int(quota[1]))]
    return []


def _cgroup_memory_limits() -> list[int]:
    files = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    texts = [_read(Path(name)).strip() for name in files]
    return [int(text) for text in texts if text.isdigit()]


def _shared_memory() -> int:
    # Free, not total: another run on this machine may hold a part.
    shm = Path("/dev/shm")
    return shutil.disk_usage(shm).free if shm.is_dir() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""
