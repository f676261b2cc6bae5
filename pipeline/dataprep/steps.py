"""The steps of ``preprocess``: SQL, Python functions and built-in transforms, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from pipeline.config.leakage import history_leak
from pipeline.config.preprocess import PreprocessConfig
from pipeline.config.steps import PythonStep, SqlStep, StepConfig, TransformStep
from pipeline.config.transforms import History, JoinAsOf
from pipeline.dataprep.python_step import run_function
from pipeline.dataprep.session import prepare_session
from pipeline.dataprep.sql import run_query, substitute
from pipeline.dataprep.target_mark import mark_target, marked_columns, without_marks
from pipeline.dataprep.transforms.apply import apply_transform
from pipeline.dataprep.transforms.columns import Setting
from pipeline.errors import ConfigError

Views = Mapping[str, DataFrame]
Step = tuple[str, Callable[[Views], DataFrame]]
"""The name of the view that a step makes, and how it makes it of the views before."""


def make_features(
    spark: SparkSession, config: PreprocessConfig, root: Path, views: Views
) -> DataFrame:
    """The configuration's steps over the sources' tables; see :func:`run_steps`.

    Raises:
        ConfigError: a feature is the target under another name; and as the steps say.
    """
    marked = {name: mark_target(frame, config.target) for name, frame in views.items()}
    features = run_steps(spark, load_steps(spark, config, root), marked)
    copies = set(marked_columns(features)) & set(config.features.names)
    if copies:
        raise ConfigError(
            f"preprocess.features: {', '.join(sorted(copies))} is the target {config.target!r} "
            "under another name",
            hint="Take it out of the features.",
        )
    return without_marks(features)


def run_steps(spark: SparkSession, steps: Sequence[Step], views: Views) -> DataFrame:
    """Analyse the steps in order; nothing but what transforms learn runs until the result is used.

    Args:
        spark: the session.
        steps: of :func:`load_steps`.
        views: the sources' tables by name.

    Returns:
        The rows of the last step.

    Raises:
        ConfigError, StageFailed: as the steps do; or a step has the name of a source.
    """
    prepare_session(spark)
    if taken := [name for name, _ in steps if name in views]:
        raise ConfigError(f"preprocess.steps: {taken[0]!r} is the name of a source already")
    made = dict(views)
    try:
        for name, frame in views.items():
            frame.createOrReplaceTempView(name)
        for name, make in steps:
            made[name] = make(made)
            made[name].createOrReplaceTempView(name)
    finally:
        for name in made:  # frames keep their plans; names must not outlive the stage
            spark.catalog.dropTempView(name)
    return made[steps[-1][0]]


def load_steps(spark: SparkSession, config: PreprocessConfig, root: Path) -> list[Step]:
    """The configuration's steps, ready to run.

    Raises:
        ConfigError: SQL names an unknown parameter, or a parameter is used nowhere; whether a
            Python function uses one is not known.
    """
    texts = [
        (step.name, (root / step.sql).read_text("utf-8"))
        for step in config.steps
        if isinstance(step, SqlStep)
    ]
    functions = any(isinstance(step, PythonStep) for step in config.steps)
    queries = dict(substitute(texts, config.params, all_used=not functions))
    makers = [(step.name, _maker(spark, step, config, root, queries)) for step in config.steps]
    return [(name, partial(_marked, make, config.target)) for name, make in makers]


def _marked(make: Callable[[Views], DataFrame], target: str, views: Views) -> DataFrame:
    return mark_target(make(views), target)


def _maker(
    spark: SparkSession,
    step: StepConfig,
    config: PreprocessConfig,
    root: Path,
    queries: Mapping[str, str],
) -> Callable[[Views], DataFrame]:
    if isinstance(step, SqlStep):
        return partial(run_query, spark, step.name, queries[step.name])
    if isinstance(step, PythonStep):
        return partial(run_function, step, root, config.params)
    return partial(_transformed, step, config)


def _transformed(step: TransformStep, config: PreprocessConfig, views: Views) -> DataFrame:
    frame = views[step.input]
    for number, transform in enumerate(step.transforms, 1):
        where = f"step {step.name}, transform {number} ({transform.kind})"
        setting = Setting(where, views, config.time, config.split.train_until)
        if isinstance(transform, History):
            _check_leak(frame, transform, setting)
        frame = apply_transform(frame, transform, setting)
    return frame


def _check_leak(frame: DataFrame, transform: History, setting: Setting) -> None:
    """Refuse the history of a column that SQL has made of the target by renaming it."""
    recalled = setting.views[transform.table] if isinstance(transform, JoinAsOf) else frame
    if problem := history_leak(transform, marked_columns(recalled)):
        raise ConfigError(f"{setting.where} {problem}")
