"""The SQL steps of ``preprocess``: one SELECT each, over given views alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from pipeline.dataprep.session import prepare_session
from pipeline.dataprep.sql_guard import check_query
from pipeline.errors import ConfigError

Param = int | float | str
_PLACE = re.compile(r"\$\{([^}]*)\}?")
_TEXT = re.compile(r"[\w.:+ -]*")
_POSITION = re.compile(r"\(line (\d+), pos \d+\)|; line (\d+) pos \d+")


def run_steps(
    spark: SparkSession,
    steps: Sequence[tuple[str, str]],
    params: Mapping[str, Param],
    views: Mapping[str, DataFrame],
) -> DataFrame:
    """Analyse the steps in order; nothing runs until the result is used.

    Args:
        steps: (name, SQL text); each name is a view for the steps after it.
        params: values for ``${name}``, which becomes a whole SQL literal: text in quotes.
        views: the sources' tables by name.

    Returns:
        The rows of the last step.

    Raises:
        ConfigError: a step is not one SELECT, reads something else than the views, calls a
            function that reaches outside them or differs from run to run, has an unknown
            column, or names an unknown parameter; or a parameter is used nowhere.
    """
    prepare_session(spark)
    taken = [name for name, _ in steps if name in views]
    if taken:
        raise ConfigError(f"preprocess.steps: {taken[0]!r} is the name of a source already")
    texts = substitute(steps, params)
    made: list[str] = []
    try:
        for name, frame in views.items():
            frame.createOrReplaceTempView(name)
            made.append(name)
        result = None
        for name, text in texts:
            result = _run_step(spark, name, text, made)
            result.createOrReplaceTempView(name)
            made.append(name)
    finally:
        for name in made:  # frames keep their plans; names must not outlive the stage
            spark.catalog.dropTempView(name)
    if result is None:
        raise ConfigError("preprocess.steps: must have at least one step. Got none instead")
    return result


def substitute(
    steps: Sequence[tuple[str, str]], params: Mapping[str, Param]
) -> list[tuple[str, str]]:
    """Replace every ``${name}`` by its value as a literal.

    Raises:
        ConfigError: all unknown and unused parameters, with the nearest names.
    """
    used: set[str] = set()
    problems: list[str] = []
    texts = []
    for step, text in steps:
        parts, end = [], 0
        for match in _PLACE.finditer(text):
            name, line = match[1], text.count("\n", 0, match.start()) + 1
            parts.append(text[end : match.start()])
            end = match.end()
            # Spark itself would put environment variables in for ${env:…}.
            if name not in params or not match[0].endswith("}"):
                problems.append(f"step {step}, line {line}: unknown parameter {match[0]!r}")
                problems[-1] += _nearest(name, params)
                continue
            if text[: match.start()].endswith(("'", '"', "`")):
                problems.append(f"step {step}, line {line}: write {match[0]} without quotes")
            used.add(name)
            parts.append(_literal(name, params[name]))
        texts.append((step, "".join([*parts, text[end:]])))
    problems += [
        f"preprocess.params.{name}: no step uses it" for name in params if name not in used
    ]
    if problems:
        raise ConfigError("\n".join(problems), hint="correct the name, or remove the parameter")
    return texts


def _literal(name: str, value: Param) -> str:
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise ConfigError(f"preprocess.params.{name}: characters that are not allowed")
        return f"'{value}'"
    text = f"{value}D" if isinstance(value, float) else str(value)
    return f" {text}" if value < 0 else text  # two minus signs would begin a comment


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (there is {near[0]!r})" if near else f" (there are {', '.join(known) or 'none'})"


def _run_step(spark: SparkSession, name: str, text: str, views: Sequence[str]) -> DataFrame:
    try:
        check_query(spark, name, text, views)
        return spark.sql(text)
    except (ParseException, AnalysisException) as error:
        raise ConfigError(_describe(name, error), hint=f"correct the SQL of step {name}") from error


def _describe(name: str, error: PySparkException) -> str:
    """Spark's first line, with the line of the SQL it points to."""
    message = str(error).strip()
    found = _POSITION.search(message)
    line = f", line {found[1] or found[2]}" if found else ""
    first = _POSITION.sub("", message.splitlines()[0]).rstrip(";. ")
    return f"step {name}{line}: {first}"
