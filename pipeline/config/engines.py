"""``engines``: where Spark and Ray run and what they may use. Never part of a fingerprint."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from pipeline.config.section import Count, Section

Bytes = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*[kmgt]$")]
"""A size as Spark writes it: 512m, 2g."""


class SparkConfig(Section):
    """``master: ray`` runs Spark's executors as Ray actors through RayDP."""

    master: str = "ray"
    executors: Count = 1
    executor_cores: Count | None = None
    executor_memory: Bytes | None = None
    driver_memory: Bytes | None = None
    shuffle_partitions: Count | None = None
    java_options: str = Field(
        default="", description="more options for the JVMs of the driver and the executors"
    )
    conf: dict[str, str] = Field(default={})


class RayConfig(Section):
    """``address`` left out starts Ray inside the run; ``auto`` or ``host:port`` joins a cluster."""

    address: str | None = None
    num_cpus: Count | None = None
    object_store_memory: Bytes | None = None
    spill_dir: str | None = None
    spill_limit: Bytes | None = Field(
        default=None,
        description="the most that may lie on disk of what does not fit the object store; left "
        "out, what the disk has room for",
    )
    dashboard: bool = False


class TasksConfig(Section):
    """What one Ray task of ``train`` and ``infer`` asks for, and how fits are packed."""

    num_cpus: Annotated[float, Field(gt=0)] = 1
    num_gpus: Annotated[float, Field(ge=0)] = 0
    memory: Bytes | None = Field(
        default=None,
        description="what a task books of Ray's memory; a fit that allocates more fails, and the "
        "others go on. Left out, Ray ends the worker of a fit that fills the machine",
    )
    resources: dict[str, float] = Field(default={})
    pack_seconds: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="small fits are packed into tasks of about this length"
    )
    in_flight_per_cpu: Count = Field(
        default=1,
        description="tasks given to Ray at a time, by slot; with more than one Ray chooses among "
        "those that wait, and lets the longest wait longest",
    )
    share: bool = Field(
        default=True,
        description="compute once what candidates have in common (preparation, the matrix of ridge "
        "regressions, the stages of boosting); the results are the same",
    )
    max_retries: Annotated[int, Field(ge=0, le=100)] = 3


class EnginesConfig(Section):
    """Both engines and the tasks on them; left out, all of it is sized from this machine."""

    spark: SparkConfig = SparkConfig()
    ray: RayConfig = RayConfig()
    tasks: TasksConfig = TasksConfig()
    start_timeout_seconds: Annotated[float, Field(gt=0)] = 120
    handoff_timeout_seconds: Annotated[float, Field(gt=0)] = 3600
