"""The engines of one run: each started once, when it is first needed, and stopped at the end."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.config.engines import EnginesConfig
from pipeline.engines import ray_cluster, spark_session
from pipeline.engines.deadline import deadline
from pipeline.engines.java import Java, use_java
from pipeline.engines.resources import (
    ResourcePlan,
    parse_bytes,
    plan_resources,
    preflight,
    this_machine,
)
from pipeline.engines.scratch import Scratch, new_scratch
from pipeline.engines.spill import SpillGuard
from pipeline.errors import EngineError
from pipeline.interrupts import noticed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)


class Engines:
    """Spark and Ray, started lazily and once each. Use it as a context manager.

    Create it, and call its methods, in the main thread: Linux ends Ray's processes together with
    the thread that started them.

    Args:
        config: the ``engines`` section.
        app_name: how the run is called in Spark's and Ray's own tools.
        on_start: told each engine's name and the seconds that its start took.
        on_stop: told each engine's name when it has stopped.
        log_folder: where the engines' logs are copied when the run closes; ``None`` drops them.

    Attributes:
        seconds: how long each start took, in seconds: ``{"ray": 8.1, "spark": 12.0}``.
    """

    def __init__(
        self,
        config: EnginesConfig,
        *,
        app_name: str = "pipeline",
        log_folder: Path | None = None,
        on_start: Callable[[str, float], None] = lambda *_: None,
        on_stop: Callable[[str], None] = lambda *_: None,
    ) -> None:
        self.config = config
        self.app_name = app_name
        self.log_folder = log_folder
        self._on_start = on_start
        self._on_stop = on_stop
        self.seconds: dict[str, float] = {}
        self._java: Java | None = None
        self._scratch: Scratch | None = None
        self._spill_scratch: Scratch | None = None
        self._spill: SpillGuard | None = None
        self._plan: ResourcePlan | None = None
        self._ray: ray_cluster.RayCluster | None = None
        self._spark: SparkSession | None = None
        self._spark_is_ours = False

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        noticed()  # of an interruption: what follows shall not be cut short
        self.close()

    @property
    def plan(self) -> ResourcePlan:
        """How the machine is divided; for a joined cluster, how its weakest node is."""
        if self._plan is None:
            machine = this_machine()
            self._plan = plan_resources(
                self.config, machine.cores, machine.memory_bytes, machine.shm_bytes
            )
        return self._plan

    @property
    def ray_runs(self) -> bool:
        """Whether this run is connected to Ray."""
        return self._ray is not None

    @property
    def spark_runs(self) -> bool:
        """Whether this run has a Spark session."""
        return self._spark is not None

    @property
    def spark_needs_ray(self) -> bool:
        """Whether Spark's executors are Ray actors, so that Ray has to start first."""
        return self.config.spark.master == "ray" and not spark_session.spark_runs_already()

    def ray(self) -> ray_cluster.RayCluster:
        """Connect to Ray, starting it if it is embedded.

        Raises:
            EngineError: there is no Java 17, too little memory, or Ray did not start.
        """
        if self._ray is None:
            self._prepare()
            with self._timed("ray"):
                self._ray = ray_cluster.start_ray(
                    self.config.ray,
                    self.plan,
                    self.scratch_folder,
                    self.config.start_timeout_seconds,
                    self._spill_folder(),
                )
            if not self._ray.embedded and not self._ray.client:
                node = ray_cluster.weakest_node()
                self._plan = plan_resources(
                    self.config, node.cores, node.memory_bytes, node.shm_bytes
                )
        return self._ray

    def spark(self) -> SparkSession:
        """The Spark session; Ray is started before it where Spark runs on Ray.

        Raises:
            EngineError: there is no Java 17, Ray is reached through a Ray client (RayDP cannot
                work through one), or an engine did not start.
        """
        if self._spark is None:
            self._prepare()
            if self.spark_needs_ray and self.ray().client:
                raise EngineError(
                    f"Spark on Ray cannot run through Ray Client ({self.config.ray.address})",
                    hint="run the driver on the cluster (ray job submit) and set "
                    "engines.ray.address: auto, or use another engines.spark.master",
                )
            self._spark_is_ours = not spark_session.spark_runs_already()
            with self._timed("spark"):
                self._spark = self._start_spark()
        return self._spark

    @property
    def spill(self) -> SpillGuard:
        """Watches what Ray's object store writes to disk; Ray is started first."""
        cluster = self.ray()
        if self._spill is None:
            limit = self.config.ray.spill_limit
            self._spill = SpillGuard(
                folder=(self._spill_folder() or self.scratch_folder) if cluster.embedded else None,
                store_bytes=ray_cluster.object_store_bytes(),
                limit_bytes=parse_bytes(limit) if limit else None,
            )
        return self._spill

    def handoff_deadline(self, what: str) -> AbstractContextManager[None]:
        """End a block that takes longer than ``engines.handoff_timeout_seconds``."""
        hint = "raise engines.handoff_timeout_seconds, or look whether Spark has lost its executors"
        return deadline(self.config.handoff_timeout_seconds, what, hint)

    def release_spark(self) -> None:
        """Stop Spark and free its memory and cores. What is in Ray's object store stays.

        A session that somebody else started (spark-submit) is left alone. :meth:`spark` starts a
        new one if it is called again.
        """
        session, self._spark = self._spark, None
        if session is not None and self._spark_is_ours:
            spark_session.stop_spark(session)
            self._on_stop("spark")

    def close(self) -> None:
        """Stop what this object started; safe to call twice. No process or folder is left."""
        with contextlib.ExitStack() as stack:  # every step runs, whatever the others do
            stack.callback(self._remove_scratch)
            stack.callback(self._remove_spill)
            stack.callback(self._stop_ray)
            stack.callback(self.release_spark)

    @property
    def scratch_folder(self) -> Path:
        """This run's folder for sockets, spills and shuffles."""
        if self._scratch is None:
            self._scratch = new_scratch()
        return self._scratch.path

    def _spill_folder(self) -> Path | None:
        """A folder of this run's own in ``engines.ray.spill_dir``, removed like the scratch."""
        if self.config.ray.spill_dir is None or self.config.ray.address is not None:
            return None
        if self._spill_scratch is None:
            self._spill_scratch = new_scratch(Path(self.config.ray.spill_dir))
        return self._spill_scratch.path

    def _prepare(self) -> None:
        if self._java is None:
            self._java = use_java()
            if self.config.ray.address is None:
                preflight(self.plan, this_machine())

    def _start_spark(self) -> SparkSession:
        return spark_session.start_spark(
            self.config.spark,
            self.plan,
            self.app_name,
            scratch=self.scratch_folder / "spark",
            logs=self.scratch_folder / "logs",
            timeout_seconds=self.config.start_timeout_seconds,
            loopback=self._everything_is_here(),
        )

    def _everything_is_here(self) -> bool:
        master = self.config.spark.master
        return master.startswith("local") or (master == "ray" and self.config.ray.address is None)

    def _stop_ray(self) -> None:
        cluster, self._ray, self._spill = self._ray, None, None
        if cluster is not None:
            ray_cluster.stop_ray()
            self._on_stop("ray")

    def _remove_scratch(self) -> None:
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            if self.log_folder is not None:
                _keep_logs(scratch.path, self.log_folder)
            scratch.remove()

    def _remove_spill(self) -> None:
        spill, self._spill_scratch = self._spill_scratch, None
        if spill is not None:
            spill.remove()

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        log.info("%s started in %.1f s", name, self.seconds[name])
        self._on_start(name, self.seconds[name])


def _keep_logs(scratch: Path, target: Path) -> None:
    """Copy the engines' logs that say anything out of the scratch folder."""
    target.mkdir(parents=True, exist_ok=True)
    found = [*scratch.glob("logs/*.log"), *scratch.glob("session_2*/logs/*.*")]
    for path in found:
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size:
                shutil.copyfile(path, target / path.name)
