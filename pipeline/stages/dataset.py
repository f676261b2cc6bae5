"""Open the dataset of a card: the blocks that ``convert`` left in Ray, or the files once more."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import StageFailed
from pipeline.handoff.to_ray import HandedOff, to_ray
from pipeline.stages.context import StageContext
from pipeline.store.card import DatasetCard, read_card


def open_dataset(context: StageContext) -> tuple[DatasetCard, HandedOff]:
    """The card of ``convert`` and its blocks in Ray; no JVM is started for it.

    Raises:
        StageFailed: the artifact that holds the files is gone.
    """
    card = read_card(context.artifacts["convert"].folder)
    if context.handed_off is None:
        folder = context.store.artifact("preprocess", card.artifact)
        _check_there(folder, card)
        context.handed_off = to_ray(
            [str(folder / file) for file in card.files],
            columns=None,
            mode="parquet",
            engines=context.engines,
        )
    return card, context.handed_off


def _check_there(folder: Path, card: DatasetCard) -> None:
    missing = [file for file in card.files if not (folder / file).is_file()]
    if missing:
        raise StageFailed(
            f"{folder / missing[0]}: the dataset's file is gone",
            hint="Run preprocess and convert again.",
        )
