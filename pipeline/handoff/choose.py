"""Which mode the hand-off takes when nobody said."""

from __future__ import annotations

from pipeline.engines.session import Engines
from pipeline.engines.spark_session import is_on_ray
from pipeline.handoff.blocks import BlockPlan, shown
from pipeline.handoff.nodes import alive_nodes, readers

# Measured by `make bench-handoff` on 2 cores (176 MB: 0.15 and 0.67 s); only their ratio matters.
_PARQUET_BYTES_PER_SECOND = 1100e6
_RAYDP_BYTES_PER_SECOND = 260e6
_RAYDP_START_SECONDS = 20.0


def choose_mode(plan: BlockPlan, engines: Engines) -> tuple[str, str]:
    """``("parquet" | "raydp", reason)``: the cheapest that works here.

    ``parquet`` where every Ray node can read the files; else ``raydp``, whose executors lie where
    Spark reads.
    """
    sample = _sample(plan)
    seeing = readers([sample])
    blind = [] if seeing is None else set(alive_nodes()) - set(seeing[sample])
    direct, _ = estimate_seconds("parquet", plan.bytes, engines)
    through_spark, _ = estimate_seconds("raydp", plan.bytes, engines)
    if not blind:
        return "parquet", (
            f"every Ray node reads the files; about {direct:.1f} s for "
            f"{plan.bytes / 1e6:.0f} MB, against {through_spark:.1f} s through RayDP"
        )
    if not may_use_raydp(engines):
        return (
            "parquet",
            f"{len(blind)} Ray nodes do not see {shown(sample)}, but Spark is not on Ray",
        )
    return "raydp", f"{len(blind)} Ray nodes do not see {shown(sample)}"


def estimate_seconds(mode: str, size: int, engines: Engines) -> tuple[float, str]:
    """What a mode would take for ``size`` bytes, in seconds, and what the estimate rests on."""
    if mode == "parquet":
        rate = _PARQUET_BYTES_PER_SECOND
        return size / rate, f"{rate / 1e6:.0f} MB/s, measured on 2 cores"
    rate, start = _RAYDP_BYTES_PER_SECOND, 0.0 if engines.spark_runs else _RAYDP_START_SECONDS
    started = "Spark runs already" if engines.spark_runs else f"{start:.0f} s to start Spark on Ray"
    return start + size / rate, f"{rate / 1e6:.0f} MB/s, measured on 2 cores; {started}"


def may_use_raydp(engines: Engines) -> bool:
    """Whether Spark runs, or would run, on Ray through RayDP."""
    if engines.ray().client:
        return False
    if engines.spark_runs:
        return is_on_ray(engines.spark())
    return engines.spark_needs_ray


def _sample(plan: BlockPlan) -> str:
    return plan.specs[-1].file
