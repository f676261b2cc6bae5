"""Start Spark: inside spark-submit, on Ray through RayDP, or on any other master."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.engines import SparkConfig
from pipeline.engines import spark_settings as settings
from pipeline.engines.deadline import deadline, stdout_to_stderr
from pipeline.engines.ray_cluster import node_memory
from pipeline.engines.resources import ResourcePlan, executor_shortfall, spark_size
from pipeline.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from ray.util.placement_group import PlacementGroup

log = logging.getLogger(__name__)


def spark_runs_already() -> bool:
    """Whether somebody else started Spark: spark-submit, a notebook, a test."""
    from pyspark import SparkContext

    return "PYSPARK_GATEWAY_PORT" in os.environ or SparkContext._active_spark_context is not None


def start_spark(
    config: SparkConfig,
    plan: ResourcePlan,
    app_name: str,
    *,
    scratch: Path,
    logs: Path,
    timeout_seconds: float,
    loopback: bool = True,
) -> SparkSession:
    """A Spark session as ``config.master`` says; a session that runs already is used as it is.

    With master ``ray`` this process must be connected to Ray.

    Args:
        config: the master and extra settings.
        plan: heaps, cores and shuffle partitions.
        app_name: the application's name.
        scratch: folder for shuffles and spills.
        logs: folder for the driver's log.
        timeout_seconds: limit on the whole start, executors included.
        loopback: bind Spark's servers to this machine only.

    Raises:
        EngineError: Spark did not start, or no executor came, in time.
    """
    what = f"starting Spark on master {config.master!r}"
    wanted = f"{plan.executors} executors of {spark_size(plan.executor_memory_bytes)}"
    room = f"look whether it has room for {wanted}, " if plan.executors else ""
    hint = f"{room}see spark-driver*.log in {logs}, or raise engines.start_timeout_seconds"
    stated, secrets = settings.stated_settings(config)
    try:
        with deadline(timeout_seconds, what, hint), stdout_to_stderr():
            if spark_runs_already():
                session = _adopt(config, stated)
            else:
                common = settings.session_settings(plan, scratch, logs, config.java_options)
                if loopback:
                    common |= settings.loopback_settings()
                os.environ.update(settings.process_environment(loopback))
                with _jvm_prints_to(logs / "spark-driver-stderr.log"):
                    session = _start(config, plan, app_name, common | stated, logs, timeout_seconds)
            _set_secrets(session, secrets)
            return session
    except EngineError:
        raise
    except Exception as problem:
        raise EngineError(f"{what} failed: {_first_line(problem)}", hint=hint) from problem


def stop_spark(session: SparkSession) -> None:
    """Stop the session, its executors, and the JVM of the driver that this process started.

    ``SparkSession.stop`` leaves the JVM running with its heap and its class path; a later session
    of another kind (local after RayDP) would be built in it and fail.
    """
    from pyspark import SparkContext

    with stdout_to_stderr():
        if is_on_ray(session):
            places = session.conf.get("spark.ray.placement_group", None)
            _stop_raydp()
            _free_places(places)
        session.stop()
        gateway = SparkContext._gateway
        if gateway is None or getattr(gateway, "proc", None) is None:
            return
        gateway.shutdown()
        gateway.proc.stdin.close()  # the JVM ends when its stdin does
        try:
            gateway.proc.wait(timeout=10)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
            gateway.proc.wait(timeout=10)
        SparkContext._gateway = None
        SparkContext._jvm = None


def is_on_ray(session: SparkSession) -> bool:
    """Whether the session's executors are RayDP's actors."""
    return str(session.sparkContext.master).startswith("ray")


def apply_sql_settings(session: SparkSession, extra: dict[str, str] | None = None) -> None:
    """Set what may be set in a running session."""
    for key, value in (settings.SQL_SETTINGS | (extra or {})).items():
        session.conf.set(key, value)


def _adopt(config: SparkConfig, stated: dict[str, str]) -> SparkSession:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate()
    if config.shuffle_partitions is not None:
        stated = {"spark.sql.shuffle.partitions": str(config.shuffle_partitions), **stated}
    # Core settings of a running application cannot change any more; only SQL ones can.
    changeable = {k: v for k, v in stated.items() if session.conf.isModifiable(k)}
    apply_sql_settings(session, changeable)
    return session


def _start(
    config: SparkConfig,
    plan: ResourcePlan,
    app_name: str,
    conf: dict[str, str],
    logs: Path,
    timeout_seconds: float,
) -> SparkSession:
    if config.master == "ray":
        conf = settings.raydp_settings(logs) | conf
        # Well before the deadline, so that it is said what is missing.
        return _start_raydp(plan, app_name, conf, 0.75 * timeout_seconds)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app_name).master(config.master)
    if plan.executors:
        conf = {
            "spark.executor.instances": str(plan.executors),
            "spark.executor.cores": str(plan.executor_cores),
            "spark.executor.memory": spark_size(plan.executor_memory_bytes),
            **conf,
        }
    for key, value in conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if plan.executors and conf.get("spark.dynamicAllocation.enabled") != "true":
        _await_executor(session)
    return session


@contextlib.contextmanager
def _jvm_prints_to(file: Path) -> Iterator[None]:
    """Let the driver's JVM print to a file; Ray's library in it is not silenced by any setting.

    PySpark has no setting for it, only an argument of the function that it calls.
    """
    context: Any = importlib.import_module("pyspark.context")
    launch = context.launch_gateway
    with file.open("ab") as output:
        quiet = {"stdout": output, "stderr": output}
        context.launch_gateway = functools.partial(launch, popen_kwargs=quiet)
        try:
            yield
        finally:
            context.launch_gateway = launch


def _start_raydp(
    plan: ResourcePlan, app_name: str, conf: dict[str, str], timeout_seconds: float
) -> SparkSession:
    import raydp

    places = _executor_places(plan, timeout_seconds)
    session: SparkSession = raydp.init_spark(
        app_name=app_name,
        num_executors=plan.executors,
        executor_cores=plan.executor_cores,
        executor_memory=spark_size(plan.executor_memory_bytes),
        configs=conf,
        placement_group=places,
        placement_group_bundle_indexes=list(range(plan.executors)) if places else None,
    )
    _await_executor(session)
    return session


def _executor_places(plan: ResourcePlan, timeout_seconds: float) -> PlacementGroup | None:
    """Room for the executors, one a node as far as there are nodes; ``None`` on a single node.

    An executor that finds no room makes Spark wait for ever and log "has not accepted any
    resources"; here somebody says what is missing. And without places of their own, all executors
    would go to one node: they book no CPU that would spread them.

    Raises:
        EngineError: the cluster is too small, or others did not leave enough of it, for
            ``timeout_seconds``.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    has, _ = node_memory()
    missing = executor_shortfall(plan, has)
    if missing:
        log.warning("%s; an autoscaler has %g s to add nodes", missing, timeout_seconds)
    elif len(has) == 1 and plan.executors == 1:
        return None
    bundles = [{"memory": float(plan.executor_memory_bytes)} for _ in range(plan.executors)]
    places = placement_group(bundles, strategy="SPREAD")
    if not places.wait(timeout_seconds):
        remove_placement_group(places)
        _, free = node_memory()
        missing = executor_shortfall(plan, free) or "Spark's executors found no room on Ray"
        raise EngineError(
            f"{missing} free; waited for {timeout_seconds:g} s",
            hint="lower engines.spark.executors or engines.spark.executor_memory, add nodes, or "
            "raise engines.start_timeout_seconds; `ray status` shows who has booked what",
        )
    return places


def _await_executor(session: SparkSession) -> None:
    # Without an executor the first job waits for ever and logs "has not accepted any resources";
    # here the deadline of the start ends the wait.
    tracker = session.sparkContext._jsc.sc().statusTracker()
    while len(tracker.getExecutorInfos()) < 2:  # the driver is one of them
        time.sleep(0.1)


def _stop_raydp() -> None:
    import raydp

    raydp.stop_spark()


def _free_places(group: str | None) -> None:
    """Give the executors' memory back to Ray; RayDP does it only for groups that it made itself."""
    import ray
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    if group is not None and ray.is_initialized():
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))


def _set_secrets(session: SparkSession, secrets: dict[str, str]) -> None:
    hadoop = session.sparkContext._jsc.hadoopConfiguration()
    for key, value in secrets.items():
        if key.startswith("spark.hadoop."):
            hadoop.set(key.removeprefix("spark.hadoop."), value)
        else:
            session.conf.set(key, value)


def _first_line(problem: Exception) -> str:
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)
