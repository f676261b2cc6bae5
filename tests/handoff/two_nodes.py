"""Run as a script: hand-offs on a Ray cluster of two nodes, one of which goes down meanwhile.

A process of its own, because the tests' process is connected to another Ray. Prints a JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

from pipeline.config.engines import EnginesConfig
from pipeline.engines.java import use_java
from pipeline.engines.session import Engines
from pipeline.errors import EngineError
from pipeline.handoff.to_ray import HandedOff, to_ray

ROWS, PARTS = 800_000, 8
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 300_000_000}
# An address of its own: a JVM that joins takes any node of its address, and RayDP's master, whose
# node must not be the one that goes down, would lie on either.
SECOND = NODE | {"node_ip_address": "127.0.0.2"}


def main(folder: Path) -> None:
    """Each hand-off gives its rows' sum, which nodes have blocks, and what was done to them."""
    use_java()
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    try:
        print(json.dumps(_hand_over(cluster, folder)))
    finally:
        cluster.shutdown()


def _hand_over(cluster: Cluster, folder: Path) -> dict[str, Any]:
    second = cluster.add_node(**SECOND)
    found: dict[str, Any] = {"too large": _too_large(cluster.address)}
    files = _files(folder)
    spark = {
        "executors": 2,
        "executor_memory": "512m",
        "executor_cores": 1,
        "java_options": "-XX:TieredStopAtLevel=1",  # as in tests/conftest.py
    }
    config = {"ray": {"address": cluster.address}, "spark": spark}
    with Engines(EnginesConfig.model_validate(config)) as engines:
        frame = engines.spark().range(0, ROWS, 1, PARTS).mapInArrow(_slowly(folder), "id long")
        gone = threading.Thread(target=_when_half_is_done, args=(cluster, second, folder))
        gone.start()
        found["frame"] = _rows(to_ray(frame, columns=None, mode="raydp", engines=engines))
        gone.join()

        second = cluster.add_node(**SECOND)
        handed = to_ray(frame, columns=None, mode="raydp", engines=engines)
        found["blocks there"] = _blocks_on(handed, second)
        cluster.remove_node(second, allow_graceful=False)
        found["restored"] = handed.restore()
        found["restored frame"] = _rows(handed)

        for mode in ("raydp", "parquet"):
            second = cluster.add_node(**SECOND)
            engines.spill.check = _once(lambda node=second: cluster.remove_node(node, False))
            found[mode] = _rows(to_ray(files, columns=None, mode=mode, engines=engines))

        engines.release_spark()
        found["booked"] = _booked()
    return found


def _too_large(address: str) -> str:
    spark = {"executors": 2, "executor_memory": "9t"}
    asked = {"ray": {"address": address}, "spark": spark, "start_timeout_seconds": 20}
    config = EnginesConfig.model_validate(asked)
    try:
        with Engines(config) as engines:
            engines.spark()
    except EngineError as problem:
        return problem.message
    return "started"


def _files(folder: Path) -> list[str]:
    files = [str(folder / f"{part}.parquet") for part in range(PARTS)]
    for part, file in enumerate(files):
        step = ROWS // PARTS
        pq.write_table(pa.table({"id": range(part * step, (part + 1) * step)}), file)
    return files


def _slowly(folder: Path) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Half a second a partition, and a note that it was done; nested, to travel by value."""
    notes = str(folder)

    def slowly(batches: Iterable[Any]) -> Iterator[Any]:
        import tempfile

        time.sleep(0.5)
        yield from batches
        tempfile.mkstemp(prefix="done-", dir=notes)

    return slowly


def _when_half_is_done(cluster: Cluster, node: Any, folder: Path) -> None:
    while len(list(folder.glob("done-*"))) < PARTS // 2:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)


def _once(action: Callable[[], None]) -> Callable[[], None]:
    left = [action]

    def act() -> None:
        if left:
            left.pop()()

    return act


def _rows(handed: HandedOff) -> list[int]:
    """Number of rows, and whether they are all there and in order."""
    import ray

    values = [v for block in handed.blocks for v in ray.get(block).column("id").to_pylist()]
    return [len(values), int(values == list(range(ROWS)))]


def _booked() -> float:
    """Memory that is still taken of the cluster, in bytes, once Ray has heard of what was freed."""
    end = time.monotonic() + 10
    while (taken := _taken("memory")) and time.monotonic() < end:
        time.sleep(0.2)
    return taken


def _taken(resource: str) -> float:
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    return float(total[resource] - free.get(resource, 0))


def _blocks_on(handed: HandedOff, node: Any) -> int:
    import ray.experimental

    places = ray.experimental.get_object_locations(handed.blocks)
    return sum(node.node_id in place["node_ids"] for place in places.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
