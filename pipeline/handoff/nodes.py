"""Which nodes of a Ray cluster see a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.handoff.blocks import is_local

if TYPE_CHECKING:
    import ray


def nodes_with(file: str) -> list[str]:
    """The Ray nodes (their ids) that see a local path; none where there is but one node."""
    seen = _views(file)
    return [node for node, sees in seen.items() if sees]


def nodes_without(file: str) -> list[str]:
    """The Ray nodes (their ids) that do not see a local path; object storage is seen by all."""
    return [node for node, sees in _views(file).items() if not sees]


def _views(file: str) -> dict[str, bool]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if len(alive) == 1 or not is_local(file):
        return {}
    see = ray.remote(_sees).options(num_cpus=0)
    answers: dict[str, ray.ObjectRef[bool]] = {
        node: see.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(file)
        for node in alive
    }
    found = {}
    for node, answer in answers.items():
        try:
            found[node] = ray.get(answer)
        except ray.exceptions.RayError:  # the node went down meanwhile
            continue
    return found


def _sees(file: str) -> bool:
    return os.access(file.removeprefix("file://"), os.R_OK)
