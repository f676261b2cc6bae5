"""What the columns of a feature table look like, for train and test rows apart.

Computed from the written files with Arrow and NumPy, one column at a time: a column is exact and
in memory, and no job has to be planned for the sixty aggregates of each of sixty columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.features import SPLIT

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
TOP = 10
MAX_ROWS = 50_000_000  # 400 MB a column; above, every k-th row is taken and `sampled_every` says k
ALMOST_EXACT = 0.98

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Statistics = dict[str, Any]
"""JSON: the report and the drift check read it."""


def profile_features(files: Sequence[str | Path], config: PreprocessConfig) -> Statistics:
    """Describe every feature and the target.

    Returns:
        ``rows`` (train, test), ``sampled_every`` (1: all rows), ``columns`` (name → role, kind,
        constant, all_null, train, test) and ``suspicious`` (feature, why, value).

        A numeric column has, for each split: ``count`` of values, ``nulls``, ``distinct``,
        ``mean``, ``std`` (n - 1), ``min``, ``q05 q25 q50 q75 q95`` (interpolated), ``max`` and
        ``histogram`` {edges, counts}, whose 20 bins span train and test together, so that both
        can be compared. A categorical one: ``count, nulls, distinct`` and ``top``, the ten most
        frequent [value, count], ties by value. Statistics of no value are null.
    """
    dataset = ds.dataset([str(file) for file in files], format="parquet")
    every = max(-(-dataset.count_rows() // MAX_ROWS), 1)
    test = pc.equal(_read(dataset, SPLIT, every), "test").to_numpy(zero_copy_only=False)
    splits = {"train": ~test, "test": test}
    values = _read(dataset, config.target, every)
    named = pa.types.is_string(values.type) or pa.types.is_boolean(values.type)
    described = _categorical(_text(values), splits) if named else _numeric(_floats(values), splits)
    columns: Statistics = {config.target: described | {"role": "target"}}
    # Of classes, whether a row has the most frequent one: what gives that away is suspicious.
    target = _is_most_frequent(_text(values)) if named else _floats(values)
    suspicious = []
    for name in config.features.names:
        values = _read(dataset, name, every)
        if name in config.features.numeric:
            numbers = _floats(values)
            columns[name] = _numeric(numbers, splits) | {"role": "feature"}
            reasons = _suspicions(numbers, target)
        else:
            columns[name] = _categorical(values, splits) | {"role": "feature"}
            reasons = _categorical_suspicions(values, target)
        suspicious += [{"feature": name, **reason} for reason in reasons]
    rows = {split: int(mask.sum()) for split, mask in splits.items()}
    return {
        "rows": rows,
        "sampled_every": every,
        "columns": columns,
        "suspicious": suspicious,
    }


def _read(dataset: ds.Dataset, name: str, every: int) -> pa.Array:
    column = dataset.to_table(columns=[name]).column(name).combine_chunks()
    return column if every == 1 else column.take(pa.array(range(0, len(column), every)))


def _floats(column: pa.Array) -> Floats:
    """Values as float64, null as NaN; the feature table itself holds no NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _text(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _is_most_frequent(names: pa.Array) -> Floats:
    """1 or 0, null as NaN."""
    counted = pc.value_counts(names.drop_null()).to_pylist()
    most = max(counted, key=lambda item: item["counts"])["values"] if counted else None
    return _floats(pc.equal(names, pa.scalar(most, pa.string())).cast(pa.int8()))


def _numeric(values: Floats, splits: dict[str, Mask]) -> Statistics:
    present = values[~np.isnan(values)]
    edges = np.histogram_bin_edges(present, BINS) if present.size else None
    return {
        "kind": "numeric",
        "all_null": present.size == 0,
        "constant": bool(present.size) and bool(present.min() == present.max()),
        **{split: _describe(values[mask], edges) for split, mask in splits.items()},
    }


def _describe(values: Floats, edges: Floats | None) -> Statistics:
    present = values[~np.isnan(values)]
    counts = {"count": present.size, "nulls": values.size - present.size}
    keys = [f"q{round(q * 100):02d}" for q in QUANTILES]
    if not present.size or edges is None:
        empty = dict.fromkeys(["mean", "std", "min", *keys, "max", "histogram"])
        return {**counts, "distinct": 0, **empty}
    return {
        **counts,
        "distinct": int(np.unique(present).size),
        "mean": float(present.mean()),
        "std": float(present.std(ddof=1)) if present.size > 1 else None,
        "min": float(present.min()),
        **dict(zip(keys, np.quantile(present, QUANTILES).tolist(), strict=True)),
        "max": float(present.max()),
        "histogram": {
            "edges": edges.tolist(),
            "counts": np.histogram(present, edges)[0].tolist(),
        },
    }


def _categorical(values: pa.Array, splits: dict[str, Mask]) -> Statistics:
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    return {
        "kind": "categorical",
        "all_null": distinct == 0,
        "constant": distinct == 1,
        **{split: _most_frequent(values.filter(pa.array(m))) for split, m in splits.items()},
    }


def _most_frequent(values: pa.Array) -> Statistics:
    present = values.drop_null()
    counted = [(item["values"], item["counts"]) for item in pc.value_counts(present).to_pylist()]
    top = sorted(counted, key=lambda pair: (-pair[1], pair[0]))[:TOP]
    return {
        "count": len(present),
        "nulls": len(values) - len(present),
        "distinct": len(counted),
        "top": [list(pair) for pair in top],
    }


def _suspicions(values: Floats, target: Floats) -> list[Statistics]:
    """Signs that a feature is known only together with the target."""
    found = _nulls_alike(np.isnan(values), np.isnan(target))
    both = ~(np.isnan(values) | np.isnan(target))
    x, y = values[both], target[both]
    if x.size > 2 and np.ptp(x) and np.ptp(y):
        correlation = float(np.corrcoef(x, y)[0, 1])
        if abs(correlation) > ALMOST_EXACT:
            found.append({"why": "correlation with the target", "value": correlation})
    return found


def _categorical_suspicions(values: pa.Array, target: Floats) -> list[Statistics]:
    """As for numbers; the correlation is that of the target with its mean in each category."""
    null = values.is_null().to_numpy(zero_copy_only=False)
    found = _nulls_alike(null, np.isnan(target))
    both = ~(null | np.isnan(target))
    codes, y = values.filter(pa.array(both)).dictionary_encode(), target[both]
    categories = len(codes.dictionary)
    # A category for every few rows fits any target, and says nothing.
    if 1 < categories <= y.size / 10 and np.ptp(y):
        index = codes.indices.to_numpy()
        means = np.bincount(index, y) / np.bincount(index)
        correlation = float(np.sqrt(np.var(means[index]) / np.var(y)))
        if correlation > ALMOST_EXACT:
            found.append({"why": "correlation with the target", "value": correlation})
    return found


def _nulls_alike(feature: Mask, target: Mask) -> list[Statistics]:
    if target.any() and not target.all() and np.array_equal(feature, target):
        return [{"why": "null exactly where the target is null", "value": int(target.sum())}]
    return []
