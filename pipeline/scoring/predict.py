"""Rows → predictions: each row by its segment's champion, none lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator

from pipeline.config.preprocess import FeaturesConfig
from pipeline.errors import StoreError
from pipeline.models.entry import ModelEntry
from pipeline.models.version import DEFAULT
from pipeline.scoring.isolate import predict_batch
from pipeline.scoring.outputs import Outputs
from pipeline.training.matrix import Floats, to_features
from pipeline.training.segments import segment_codes
from pipeline.training.threads import limited

UNKNOWN_SEGMENT = "unknown segment → "
"""Begins the ``model`` of rows whose segment was not trained on."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Route:
    """Which rows a model predicts."""

    entry: ModelEntry
    rows: Rows


def score_table(
    table: pa.Table,
    champions: Mapping[str, ModelEntry],
    load_model: Callable[[ModelEntry], BaseEstimator],
    features: FeaturesConfig,
    batch_rows: int,
    *,
    segment: Sequence[str],
    keep: Sequence[str] = (),
    threads: int = 1,
) -> tuple[pa.Table, pa.Table]:
    """Predict every row with its segment's champion.

    Args:
        table: the rows, in any order.
        champions: by segment key; ``*`` is for rows of segments that were not trained on.
        load_model: an entry's fitted model; called once for each model that the rows need.
        features: as trained.
        batch_rows: upper limit of rows in one call of ``predict``.
        segment: the columns that tell the segment.
        keep: the columns that go with the predictions, such as the key.
        threads: upper limit for BLAS and OpenMP.

    Returns:
        predictions: the columns of ``keep``, then ``segment`` (its key), ``prediction`` (float64,
            finite, the target's unit) and ``model``; rows in the table's order. Of classes the
            prediction is the likeliest one's text, and of each class there is a column
            ``probability_<class>``; of quantiles there is a column ``quantile_<level>`` each.
            See :class:`~pipeline.scoring.outputs.Outputs`.
        quarantined: all columns of the rows without a prediction, then ``reason``. Rows in =
            predictions + quarantined.

    Raises:
        DataRefused: a column is missing or has another type than its role needs.
        StoreError: a model is damaged, or a segment has neither a champion nor a default.
    """
    codes, keys = segment_codes(table, segment)
    entries = [champion_of(champions, key) for key in keys]
    outputs = Outputs.of(champions.values())
    predictions = np.full((table.num_rows, *outputs.shape), np.nan)
    reasons: dict[int, str] = {}
    for route in routes(codes, entries):
        model = load_model(route.entry)
        for rows in _batches(route.rows, batch_rows):
            X = to_features(
                _pick(table, rows), numeric=features.numeric, categorical=features.categorical
            )
            with limited(threads):
                outcome = predict_batch(partial(outputs.predict, model), X, shape=outputs.shape)
            predictions[rows] = outcome.predictions
            reasons.update({int(rows[at]): why for at, why in outcome.reasons.items()})
    labels = [_label(champions, key, entry) for key, entry in zip(keys, entries, strict=True)]
    return _split(table, keep, codes, keys, labels, outputs, predictions, reasons)


def champion_of(champions: Mapping[str, ModelEntry], key: str) -> ModelEntry:
    entry = champions.get(key) or champions.get(DEFAULT)
    if entry is None:
        raise StoreError(
            f"Segment {key} has no champion, and there is no model for unknown segments.",
            hint="Train again: a train version always has one.",
        )
    return entry


def _label(champions: Mapping[str, ModelEntry], key: str, entry: ModelEntry) -> str:
    return entry.model if key in champions else UNKNOWN_SEGMENT + entry.model


def routes(codes: Rows, entries: Sequence[ModelEntry]) -> Iterator[Route]:
    """Rows by model, not by segment: many segments may share the pooled one."""
    models = {entry.identity: entry for entry in entries}
    position = {identity: number for number, identity in enumerate(models)}
    numbers = [position[entry.identity] for entry in entries]
    by_model = np.array(numbers, dtype=np.int64)[codes]
    order = np.argsort(by_model, kind="stable")
    bounds = np.searchsorted(by_model[order], np.arange(len(models) + 1))
    for entry, (start, stop) in zip(models.values(), pairwise(bounds.tolist()), strict=True):
        yield Route(entry, order[start:stop])


def _batches(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _pick(table: pa.Table, rows: Rows) -> pa.Table:
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):  # ascending by construction: a slice, without a copy
        return table.slice(first, len(rows))
    return table.take(pa.array(rows))


def _split(
    table: pa.Table,
    keep: Sequence[str],
    codes: Rows,
    keys: Sequence[str],
    labels: Sequence[str],
    outputs: Outputs,
    predictions: Floats,
    reasons: Mapping[int, str],
) -> tuple[pa.Table, pa.Table]:
    bad = np.array(sorted(reasons), dtype=np.int64)
    good = np.ones(table.num_rows, dtype=bool)
    good[bad] = False
    kept = table.select(list(keep))
    predicted = kept if not len(bad) else kept.filter(pa.array(good))
    added = {
        "segment": _text(codes[good], keys),
        **outputs.columns(predictions[good]),
        "model": _text(codes[good], labels),
    }
    for name, values in added.items():
        predicted = _with_column(predicted, name, values)
    quarantined = _with_column(
        table.take(pa.array(bad)),
        "reason",
        pa.array([reasons[row] for row in bad.tolist()], pa.string()),
    )
    return predicted, quarantined


def _text(codes: Rows, names: Sequence[str]) -> pa.Array:
    indices = pa.array(codes, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """A kept column of the same name gives way."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    if table.num_columns == 0:
        return pa.table({name: values})
    return table.append_column(name, values)
