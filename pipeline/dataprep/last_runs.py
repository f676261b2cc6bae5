"""What earlier runs that were not refused say of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dataprep.measure import TableStatistics
from pipeline.store import Artifact


@dataclass(frozen=True)
class LastRun:
    """What the last run of this pipeline that was not refused says of a table.

    Attributes:
        artifact: fingerprint of its artifact.
        statistics: of its rows.
    """

    artifact: str
    statistics: TableStatistics


def last_runs(
    artifacts: Sequence[Artifact],
    fingerprint: str,
    pick: Callable[[dict[str, Any]], Mapping[str, Any] | None],
) -> list[LastRun]:
    """Earlier runs' statistics, the last run first.

    They are no input of the stage: they decide whether data is refused, not what comes out, so
    they have no part in its fingerprint. What a rule was compared with is in its result.

    Args:
        artifacts: of the stage, oldest first; a refused run has left none.
        fingerprint: of the artifact that is being made, which is not compared with itself.
        pick: the table's statistics from an artifact's metrics.
    """
    found = ((a.manifest.fingerprint, pick(a.manifest.metrics)) for a in reversed(artifacts))
    return [
        LastRun(name, TableStatistics.from_json(statistics))
        for name, statistics in found
        if name != fingerprint and statistics is not None
    ]
