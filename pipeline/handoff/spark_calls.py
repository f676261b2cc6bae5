"""Long calls into Spark's JVM: ended by a deadline, and their errors in one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import EngineError

if TYPE_CHECKING:
    from pyspark import SparkContext

Result = TypeVar("Result")

_LAST_FAILURE = re.compile(r"(?s)^.*most recent failure: [^\n]*?\): ")  # of the tries of a task


def interruptible(context: SparkContext, call: Callable[[], Result]) -> Result:
    """Run a call into Spark's JVM that may take long, so that a deadline can end the wait.

    In a thread of its own, because an interrupted call leaves its thread's connection to the JVM
    with an answer still to come, which the next call on it would take for its own.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="handoff")
    answer = pool.submit(call)
    try:
        return answer.result()
    finally:
        if not answer.done():
            context.cancelAllJobs()
        pool.shutdown(wait=False)


@contextlib.contextmanager
def spark_errors() -> Iterator[None]:
    """Turn what Spark and py4j raise into the one error that ``auto`` falls back on."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as problem:
        raise EngineError(
            f"Spark failed to carry the rows: {gist(problem)}",
            hint="see spark-driver.log among the engines' logs, or use convert.mode: parquet",
        ) from problem


def gist(problem: Exception) -> str:
    """The line of an error's text that says what it is."""
    text = str(getattr(problem, "java_exception", problem)).strip()
    text = _LAST_FAILURE.sub("", text.split("\n\tat ")[0])
    lines = [line for line in text.splitlines() if line.strip()] or [type(problem).__name__]
    # Java says it in the first line, a traceback of Python in the last.
    return lines[-1 if "Traceback" in text or "ray::" in lines[0] else 0].strip()
