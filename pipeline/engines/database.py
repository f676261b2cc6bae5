"""One question to a database through its JDBC driver, without Spark.

A plan has to know whether a table changed, and starts no engine: a JVM with nothing but the
driver answers in less than a second.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.config.jdbc import JdbcConfig
from pipeline.engines.deadline import deadline
from pipeline.engines.java import find_java
from pipeline.errors import EngineError, StageFailed

_JAVA_OPTIONS = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]
_GRACE_SECONDS = 15.0


def ask_version(name: str, jdbc: JdbcConfig, jars: Sequence[Path]) -> str:
    """The answer to a source's ``version`` query, as ``column=value`` texts.

    Args:
        name: the source's name, for messages.
        jdbc: where and what to ask.
        jars: the driver's files.

    Raises:
        StageFailed: the database cannot be reached or refuses, or the answer is not one row.
        EngineError: there is no Java 17, or no answer in time.
    """
    assert jdbc.version is not None
    seconds = jdbc.connect_timeout_seconds + jdbc.query_timeout_seconds + _GRACE_SECONDS
    hint = f"raise query_timeout_seconds under ingest.sources.{name}.jdbc, or look at the database"
    with deadline(seconds, f"source {name}: the version query", hint), _jvm(jars) as jvm:
        try:
            rows = _query(jvm, jdbc)
        except Exception as problem:
            raise refusal(name, jdbc, problem) from None  # the cause may hold what is hidden
    if len(rows) != 1:
        raise StageFailed(
            f"source {name}: its version query gives {'no row' if not rows else 'several rows'}",
            hint="it must give one, such as SELECT max(updated_at), count(*) FROM …",
        )
    return ", ".join(rows[0])


def refusal(name: str, jdbc: JdbcConfig, problem: Exception) -> StageFailed:
    """What a database or its driver said, in one line and without secrets."""
    lines = [line.strip() for line in jdbc.hide(str(problem)).splitlines() if line.strip()]
    said = [line for line in lines if "Exception: " in line or "Error: " in line] or lines
    if any("ClassNotFoundException" in line for line in lines):
        return StageFailed(
            f"source {name}: there is no driver {jdbc.driver_class} for {jdbc.database}",
            hint=f"set ingest.sources.{name}.jdbc.driver_jar to the driver's file",
        )
    if any("UnknownReason" in line for line in lines):
        # The driver's errors are of a class that Spark itself does not find in a jar added later.
        return StageFailed(
            f"source {name}: a task of Spark failed in reading {jdbc.place}",
            hint="engines/spark-driver.log of the run has the database's own words; with the "
            "driver in engines.spark.conf: {spark.jars: …} they stand here",
        )
    text = (said[-1] if said else type(problem).__name__).removeprefix(": ")
    return StageFailed(
        f"source {name}: the database refused: {text.split('Exception: ', 1)[-1][:300]}",
        hint=f"look at ingest.sources.{name}.jdbc, and whether the database can be reached",
    )


@contextlib.contextmanager
def _jvm(jars: Sequence[Path]) -> Iterator[Any]:
    from py4j.java_gateway import GatewayParameters, JavaGateway

    port, token, process = _launch(jars)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    try:
        yield gateway.jvm
    finally:
        with contextlib.suppress(Exception):
            gateway.shutdown()
        process.stdin.close()  # the JVM ends when its stdin does
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _launch(jars: Sequence[Path]) -> Any:
    """The port, the token and the process of a JVM that has nothing but the jars."""
    from py4j.java_gateway import launch_gateway

    java = find_java().home / "bin" / "java"
    try:
        # Nothing secret is on the command line: the token comes back through a pipe.
        return launch_gateway(
            jarpath=str(_bridge()),
            classpath=":".join(str(jar) for jar in jars),
            javaopts=_JAVA_OPTIONS,
            java_path=str(java),
            die_on_exit=True,
            enable_auth=True,
            return_proc=True,
            redirect_stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no JVM to ask databases with: {java} does not start: {error}",
            hint="see `pipeline doctor`, or set JAVA_HOME to another Java 17",
        ) from error


def _bridge() -> Path:
    """Py4J's jar, as PySpark brings it along."""
    spec = find_spec("pyspark")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = [jar for folder in folders for jar in Path(folder).glob("jars/py4j-*.jar")]
    if not found:
        raise EngineError("PySpark's own jars are not there", hint="install pyspark again")
    return found[0]


def _query(jvm: Any, jdbc: JdbcConfig) -> list[list[str]]:
    """At most two rows, each a list of ``column=value``."""
    jvm.java.lang.Class.forName(jdbc.driver_class)  # which makes it known
    properties = jvm.java.util.Properties()
    for key, value in jdbc.connection_properties().items():
        properties.setProperty(key, value)
    connection = jvm.java.sql.DriverManager.getConnection(jdbc.url, properties)
    try:
        statement = connection.createStatement()
        statement.setQueryTimeout(jdbc.query_timeout_seconds)
        statement.setMaxRows(2)
        found = statement.executeQuery(jdbc.version)
        columns = found.getMetaData()
        rows = []
        while found.next():
            numbers = range(1, columns.getColumnCount() + 1)
            rows.append([f"{columns.getColumnLabel(i)}={found.getString(i)}" for i in numbers])
        return rows
    finally:
        connection.close()
