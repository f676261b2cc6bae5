"""Which nodes of a Ray cluster see which files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.handoff.blocks import is_local

if TYPE_CHECKING:
    import ray

_LOOK_SECONDS = 60.0


def alive_nodes() -> list[str]:
    """The ids of the Ray nodes that are up."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def readers(files: Sequence[str]) -> dict[str, list[str]] | None:
    """For each local path the Ray nodes (their ids) that see it.

    ``None`` where there is no question: one node, on this machine, or object storage, which all
    nodes see.
    """
    import ray
    from ray.util.client import ray as client
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = alive_nodes()
    local = [file for file in files if is_local(file)]
    if not local or (len(alive) == 1 and not client.is_connected()):
        return None
    look = ray.remote(num_cpus=0)(_visible)
    answers: dict[str, ray.ObjectRef[list[bool]]] = {
        node: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(local)
        for node in alive
    }
    seeing: dict[str, list[str]] = {file: [] if is_local(file) else alive for file in files}
    for node, answer in answers.items():
        try:
            views = ray.get(answer, timeout=_LOOK_SECONDS)
        except ray.exceptions.RayError:  # the node went down meanwhile, or does not answer
            continue
        for file, sees in zip(local, views, strict=True):
            if sees:
                seeing[file].append(node)
    return seeing


def _visible(files: list[str]) -> list[bool]:
    return [os.access(file.removeprefix("file://"), os.R_OK) for file in files]
