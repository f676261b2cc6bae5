"""Features that are the target in disguise, found in a sample of the written rows.

What a feature alone says about the target is measured on rows that it was not learned from; what
says nearly all is known only together with the target, in almost every case. Bounded: about
20,000 rows of at most 16 files, one sort a feature.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config.preprocess import PreprocessConfig
from pipeline.errors import ConfigError

ROWS, BLOCK, FILES = 20_000, 1_000, 16
BINS = 100
CLASSES = 20
ALMOST_EXACT = 0.98
FEW = 30
"""So many rows must speak for a suspicion."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Suspicion = dict[str, Any]
"""``why``, in words, and ``value``, the measure that says so."""


@dataclass(frozen=True)
class _Target:
    """Of the sampled rows: whether the target is known, it as numbers, and as it is.

    ``numbers`` is (n_rows, 1), or (n_rows, n_classes) of 0 and 1 for the most frequent classes.
    ``follows`` says whether the next row is of the same segment.
    """

    known: Mask
    values: pa.Array
    numbers: Floats
    follows: Mask


def find_disguises(
    files: Sequence[str | Path], config: PreprocessConfig, suspected: Collection[str] = ()
) -> list[Suspicion]:
    """Report the features that give the target away: ``feature``, ``why``, ``value``.

    - filled only where the target is known;
    - the target of the next row of its segment;
    - |Spearman's correlation| with the target above 0.98;
    - a step function of the feature (its categories, or 100 quantiles), learned on every other
      row, explains more than 0.96 of the target's variance on the rows between.

    Args:
        files: of the feature table, in its order.
        config: its roles.
        suspected: features that are reported already, for what the profile of all rows shows.

    Raises:
        ConfigError: a feature is a plain copy of the target.
    """
    names = (*config.segment, config.target, *config.features.names)
    table = _sample([Path(file) for file in files], list(dict.fromkeys(names)))
    target = _target(table, config)
    found = []
    for name in config.features.names:
        values = table.column(name)
        if _is_copy(values, target):
            raise ConfigError(
                f"preprocess.features: {name!r} is a copy of the target {config.target!r}",
                hint="Take it out of the features.",
            )
        if name not in suspected:
            found += [{"feature": name, **reason} for reason in _suspicions(values, target)]
    return found


def _sample(files: list[Path], columns: list[str]) -> pa.Table:
    """Blocks of consecutive rows, evenly spread."""
    chosen = files[:: -(-len(files) // FILES)]
    every = -(-sum(pq.ParquetFile(file).metadata.num_rows for file in chosen) // ROWS)
    blocks = [
        batch
        for file in chosen
        for at, batch in enumerate(pq.ParquetFile(file).iter_batches(BLOCK, columns=columns))
        if at % every == 0
    ]
    table = pa.Table.from_batches(blocks)
    return table.append_column("", pa.array(np.repeat(range(len(blocks)), list(map(len, blocks)))))


def _target(table: pa.Table, config: PreprocessConfig) -> _Target:
    values = table.column(config.target).combine_chunks()
    same = np.ones(max(len(table) - 1, 0), dtype=bool)
    for name in ("", *config.segment):  # a block is no segment, but ends as one does
        codes = table.column(name).combine_chunks().dictionary_encode("encode").indices.to_numpy()
        same &= codes[1:] == codes[:-1]
    classes = pa.types.is_string(values.type) or pa.types.is_boolean(values.type)
    return _Target(
        known=values.is_valid().to_numpy(zero_copy_only=False),
        values=values,
        numbers=_one_hot(values) if classes else _floats(values)[:, None],
        follows=same,
    )


def _one_hot(values: pa.Array) -> Floats:
    counted = pc.value_counts(values.drop_null()).to_pylist()
    ordered = sorted(counted, key=lambda item: (-item["counts"], str(item["values"])))
    classes = [item["values"] for item in ordered[:CLASSES]]
    columns = [_floats(pc.equal(values, value).cast(pa.int8())) for value in classes]
    return np.column_stack(columns) if columns else np.empty((len(values), 0))


def _floats(values: pa.Array) -> Floats:
    """Values as float64, null as NaN."""
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _is_copy(values: pa.ChunkedArray, target: _Target) -> bool:
    own, other = _alike(values, target)
    both = target.known & values.is_valid().to_numpy()
    enough = both.sum() >= max(FEW, ALMOST_EXACT * target.known.sum())
    return bool(enough and (own[both] == other[both]).all() and len(set(other[both].tolist())) > 1)


def _alike(values: pa.ChunkedArray, target: _Target) -> tuple[NDArray[Any], NDArray[Any]]:
    """A feature and the target as arrays whose equal values are equal."""
    other = target.values
    if pa.types.is_string(values.type) or pa.types.is_string(other.type):
        texts = (values.cast(pa.string()), other.cast(pa.string()))
        return texts[0].to_numpy(), texts[1].to_numpy(zero_copy_only=False)
    return _floats(values.combine_chunks()), _floats(other)


def _suspicions(values: pa.ChunkedArray, target: _Target) -> list[Suspicion]:
    present = values.is_valid().to_numpy()
    found = _absence(present, target.known)
    if (share := _next_rows(values, present, target)) > ALMOST_EXACT:
        return [*found, {"why": "the target of the next row of its segment", "value": share}]
    both = present & target.known
    y = target.numbers[both]
    if both.sum() < FEW or not np.ptp(y, axis=0).any():
        return found
    kept = values.combine_chunks().filter(pa.array(both))
    return found + (_of_text(kept, y) if pa.types.is_string(values.type) else _of_numbers(kept, y))


def _absence(present: Mask, known: Mask) -> list[Suspicion]:
    unknown = int((~known).sum())
    if not unknown or not known.any():
        return []
    expected = present.mean() * unknown  # if one had nothing to do with the other
    if expected >= FEW and not (present & ~known).any():
        return [{"why": "filled only where the target is known", "value": int(present.sum())}]
    return []


def _next_rows(values: pa.ChunkedArray, present: Mask, target: _Target) -> float:
    """How often a feature is the next row's target, where that is another than its own."""
    own, other = _alike(values, target)
    told = target.follows & present[:-1] & target.known[:-1] & target.known[1:]
    told[told] &= other[:-1][told] != other[1:][told]
    return float((own[:-1][told] == other[1:][told]).mean()) if told.sum() >= FEW else 0.0


def _of_text(values: pa.Array, y: Floats) -> list[Suspicion]:
    codes = values.dictionary_encode()
    return _explained(codes.indices.to_numpy(), len(codes.dictionary), y)


def _of_numbers(values: pa.Array, y: Floats) -> list[Suspicion]:
    x = _floats(values)
    if not np.ptp(x):
        return []
    ranks = _ranks(x)
    correlation = max((_correlation(ranks, _ranks(column)) for column in y.T), key=abs)
    if abs(correlation) > ALMOST_EXACT:
        return [{"why": "rank correlation with the target", "value": correlation}]
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1]))
    return _explained(np.searchsorted(edges, x, side="right"), len(edges) + 1, y)


def _correlation(x: Floats, y: Floats) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(y) else 0.0


def _ranks(values: Floats) -> Floats:
    """Ranks from 1 on, the mean rank for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _explained(codes: NDArray[Any], kinds: int, y: Floats) -> list[Suspicion]:
    """The share of variance that the mean of each code explains, on rows it was not taken from."""
    learn, test = slice(0, None, 2), slice(1, None, 2)
    counts = np.bincount(codes[learn], minlength=kinds)
    sums = np.column_stack([np.bincount(codes[learn], c, kinds) for c in y[learn].T])
    overall = y[learn].mean(axis=0)
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], overall)
    total = ((y[test] - overall) ** 2).sum()
    share = 1 - float(((y[test] - means[codes[test]]) ** 2).sum() / total) if total else 0.0
    if share > ALMOST_EXACT**2:
        return [{"why": "alone it predicts the target almost exactly", "value": share}]
    return []
