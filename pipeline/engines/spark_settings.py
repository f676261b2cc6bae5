"""The Spark settings that every session of this pipeline has, and why."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pipeline.config.engines import SparkConfig
from pipeline.engines.java import ADD_OPENS
from pipeline.engines.resources import EXECUTOR_ACTOR_CPUS, ResourcePlan, spark_size

LOOPBACK = "127.0.0.1"

# These decide what values mean, so a session that somebody else started gets them too.
SQL_SETTINGS = {
    # Timestamps are instants; without this they depend on the machine that runs the driver.
    "spark.sql.session.timeZone": "UTC",
    # Spark's default INT96 is deprecated, and its readers disagree on the unit.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Dates before 1582 as they are written, as every other reader of Parquet takes them.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # A bad cast gives null, which the rules see and quarantine; with ANSI on, one bad row of a
    # million fails the whole job.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.adaptive.enabled": "true",
}

_SECRET = re.compile(r"secret|password|token|credential|access\.?key|account\.key", re.IGNORECASE)


def session_settings(
    plan: ResourcePlan, scratch: Path, logs: Path, java_options: str = ""
) -> dict[str, str]:
    """Settings of every session that this pipeline starts itself.

    Args:
        plan: sizes of the heaps and the number of shuffle partitions.
        scratch: folder for shuffles and spills; it goes when the run ends.
        logs: folder for the driver's log.
        java_options: more options for every JVM.
    """
    options = f"{ADD_OPENS} {java_options}".strip()
    quiet = f"-Dlog4j2.configurationFile={write_log_settings(logs)} "
    return {
        **SQL_SETTINGS,
        "spark.sql.shuffle.partitions": str(plan.shuffle_partitions),
        "spark.driver.memory": spark_size(plan.driver_memory_bytes),
        "spark.driver.extraJavaOptions": f"{quiet}{options}",
        "spark.executor.extraJavaOptions": options,
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.ui.enabled": "false",
        # Wide tables would otherwise warn of their own length at each plan.
        "spark.sql.debug.maxToStringFields": "1000",
        "spark.ui.showConsoleProgress": "false",
        # Two runs on one machine would otherwise fight for the first 16 ports.
        "spark.port.maxRetries": "64",
    }


def loopback_settings() -> dict[str, str]:
    """Spark's servers answer on this machine only."""
    return {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}


def raydp_settings(logs: Path) -> dict[str, str]:
    """What RayDP needs beside the common settings."""
    return {
        "spark.ray.raydp_app_master.extraJavaOptions": ADD_OPENS,
        "spark.ray.raydp_spark_executor.actor.resource.cpu": str(EXECUTOR_ACTOR_CPUS),
        "spark.ray.raydp_spark_master.actor.resource.CPU": "0",
        # On the head node: should another one go down, Spark would lose its master with it.
        "spark.ray.raydp_spark_master.actor.resource.node:__internal_head__": "0.001",
        # RayDP puts its own log settings on the driver's command line, after ours.
        "spark.log4j.config.file.name": str(write_log_settings(logs)),
    }


def stated_settings(config: SparkConfig) -> tuple[dict[str, str], dict[str, str]]:
    """``engines.spark.conf`` in two parts: plain settings and secrets.

    RayDP and spark-submit put settings on command lines, which every user of the machine can read
    (``ps``). Secrets are set in the running session instead.
    """
    secrets = {key: value for key, value in config.conf.items() if _SECRET.search(key)}
    plain = {key: value for key, value in config.conf.items() if key not in secrets}
    return plain, secrets


def write_log_settings(logs: Path) -> Path:
    """Write the log4j settings of the driver's JVM: warnings to ``logs/spark-driver.log``."""
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "spark-log4j2.properties"
    if not path.exists():
        path.write_text(_LOG_SETTINGS.format(file=logs / "spark-driver.log"), encoding="utf-8")
    return path


def process_environment(loopback: bool) -> dict[str, str]:
    """Variables that Spark's processes inherit; set before the JVM starts. What is set stays."""
    wanted = {
        # The setting of the same name does not reach PySpark's own start, which takes `python3`.
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        # Ray's library in RayDP's JVMs logs its own start to stderr otherwise.
        "RAY_BACKEND_LOG_LEVEL": "warning",
    }
    if loopback:
        wanted["SPARK_LOCAL_IP"] = LOOPBACK
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


_LOG_SETTINGS = """\
status = error
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}}{{UTC}} %p %c: %m%n%ex
"""
