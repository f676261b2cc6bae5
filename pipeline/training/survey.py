"""What must be known of all training rows before the first fit: the classes, and sound weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataRefused
from pipeline.training.labels import MAX_CLASSES, class_names
from pipeline.training.matrix import weights_of
from pipeline.training.settings import FitSettings


def survey_block(settings: FitSettings, table: pa.Table) -> tuple[set[str], float]:
    """The classes of one block's training rows, and the sum of their weights.

    Raises:
        DataRefused: the target is no class, or a weight is null or negative.
    """
    rows = settings.training_rows(table.select(settings.columns))
    classes: set[str] = set()
    if settings.train.task == "classification":
        names = class_names(rows.column(settings.target), settings.target)
        classes = set(pc.unique(names).to_pylist())
    weight = settings.train.weight
    total = float(rows.num_rows if weight is None else weights_of(rows, weight).sum())
    return classes, total


def merge_survey(found: Sequence[tuple[set[str], float]]) -> tuple[str, ...]:
    """All classes, sorted by their text; none of other tasks.

    Raises:
        DataRefused: no row has a weight.
    """
    if not sum(total for _, total in found) > 0:
        raise DataRefused(
            "train.weight: must be above 0 in some training row. Got 0 in all of them instead.",
            hint="Check the SQL that makes the weights.",
        )
    return tuple(sorted(set().union(*(classes for classes, _ in found))))


def refuse_unfit_classes(classes: Sequence[str]) -> None:
    """Refuse a target that is no class.

    Raises:
        DataRefused: there are fewer than two classes, or more than :data:`MAX_CLASSES`.
    """
    if 2 <= len(classes) <= MAX_CLASSES:
        return
    shown = ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
    raise DataRefused(
        f"train.task: classification needs 2 to {MAX_CLASSES} classes in the training rows. "
        f"Got {len(classes)} instead: {shown or 'none'}",
        hint="Check preprocess.target, or use train.task: regression.",
    )


def survey_blocks(settings: FitSettings, blocks: Sequence[Any]) -> tuple[str, ...]:
    """The classes of all training rows; one Ray task a block, none where there is nothing to ask.

    Raises:
        DataRefused: see :func:`survey_block`, :func:`merge_survey`, :func:`refuse_unfit_classes`.
    """
    if settings.train.task != "classification" and settings.train.weight is None:
        return ()
    import ray

    remote = ray.remote(survey_block)
    try:
        classes = merge_survey(ray.get([remote.remote(settings, block) for block in blocks]))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataRefused):
            raise error.cause from None
        raise
    if settings.train.task == "classification":
        refuse_unfit_classes(classes)
    return classes
