"""How much each feature matters: by how much the error rises when its values change places.

Permutation importance (Breiman, Random forests, 2001) on held-out rows. A feature's values change
places among the rows of one segment, so that each row keeps its champion and gets a value that
occurs there. A feature that is constant in a segment therefore does nothing in it: the columns
that make up the segment show 0, and so do the rows that are alone in theirs.

Which rows are drawn and how they are permuted follows from hashes of their keys, and sums are
added without rounding, so that neither depends on blocks, tasks or the order of work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from pipeline.config.preprocess import FeaturesConfig
from pipeline.models.entry import ModelEntry
from pipeline.scoring.bootstrap import Hashes, Integers, mixed
from pipeline.scoring.classes import log_losses
from pipeline.scoring.isolate import predict_batch
from pipeline.scoring.outputs import Outputs
from pipeline.scoring.predict import champion_of, routes
from pipeline.scoring.sums import exact_sums, value
from pipeline.training.matrix import Floats, to_features
from pipeline.training.objective import Objective
from pipeline.training.segments import segment_codes

UNIT_ROWS = 100_000
"""Rows that one unit of work predicts, about; some tenths of a second."""

_MARGIN = 8
"""Standard deviations by which more rows are looked at than are wanted: enough for any run."""

_ROUNDING = 1e-12
"""Relative difference under which two predictions are one: BLAS rounds a row differently at
another place of a batch."""


@dataclass(frozen=True)
class Sample:
    """Held-out rows, by segment and within it by hash.

    Attributes:
        rows: (n_samples) their features.
        truth: (n_samples,) numbers, or positions of classes.
        weight: (n_samples,) what each row counts.
        hashes: (n_samples,) of their keys.
        codes: (n_samples,) ascending; the segment of each row as a position in ``keys``.
        keys: segment keys, sorted.
    """

    rows: pa.Table
    truth: Floats
    weight: Floats
    hashes: Hashes
    codes: Integers
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Integers) -> Sample:
        """Some of the rows, ascending."""
        return Sample(
            self.rows.take(pa.array(rows)),
            self.truth[rows],
            self.weight[rows],
            self.hashes[rows],
            self.codes[rows],
            self.keys,
        )


def bound(rows: int, limit: int) -> np.uint64:
    """The hash up to which ``limit`` of so many rows are sure to lie, and few more."""
    wanted = limit + _MARGIN * (math.isqrt(limit) + 1)
    return np.uint64(min(2**64 - 1, 2**64 * wanted // max(rows, 1)))


def draw(
    table: pa.Table,
    truth: Floats,
    weight: Floats | None,
    hashes: Hashes,
    segment: Sequence[str],
    features: FeaturesConfig,
    limit: int,
) -> Sample:
    """The rows with the lowest hashes, ``limit`` at most.

    Args:
        table: with the columns of the features and of the segment.
        truth, weight, hashes: (n_samples,) of its rows.
    """
    codes, keys = segment_codes(table, segment)
    place = {key: number for number, key in enumerate(sorted(keys))}
    ranks = np.array([place[key] for key in keys], dtype=np.int64)
    lowest = np.argsort(hashes, kind="stable")[:limit]
    counts = np.ones(len(truth)) if weight is None else weight
    found = Sample(
        table.select(list(dict.fromkeys(features.names))),
        truth,
        counts,
        hashes,
        ranks[codes],
        tuple(place),
    )
    return found.take(lowest[np.lexsort((hashes[lowest], found.codes[lowest]))])


@dataclass(frozen=True)
class Unit:
    """Features to permute in the rows of one model.

    Attributes:
        rows: positions in the sample, ascending.
        first: whether it counts the rows' own errors, which the model's other units leave out.
    """

    entry: ModelEntry
    rows: Integers
    features: tuple[str, ...]
    first: bool

    def cost(self, repeats: int) -> int:
        """Rows to predict, at most."""
        return len(self.rows) * (1 + repeats * len(self.features))


def plan(
    sample: Sample, champions: Mapping[str, ModelEntry], features: FeaturesConfig, repeats: int
) -> list[Unit]:
    """The work, cut the same way whatever there is to do it with."""
    entries = [champion_of(champions, key) for key in sample.keys]
    units = []
    for route in routes(sample.codes, entries):
        if not len(route.rows):
            continue
        step = max(1, UNIT_ROWS // (len(route.rows) * repeats))
        units += [
            Unit(route.entry, route.rows, features.names[start : start + step], start == 0)
            for start in range(0, len(features.names), step)
        ]
    return units


def packs(units: Sequence[Unit], repeats: int) -> Iterator[tuple[Unit, ...]]:
    """Units that one task does: those of a model lie together, so that it is loaded once."""
    pack: list[Unit] = []
    for unit in units:
        pack.append(unit)
        if sum(u.cost(repeats) for u in pack) >= UNIT_ROWS:
            yield tuple(pack)
            pack = []
    if pack:
        yield tuple(pack)


@dataclass(frozen=True)
class Rises:
    """Exact sums over rows, in the units of :mod:`pipeline.scoring.sums`; ``a + b`` is exact.

    Attributes:
        rows: that were predicted.
        alone: of them, those without another row of their segment to change places with.
        weight: of the rows.
        loss: of the rows as they are, times their weights.
        rises: by feature and repeat, how much larger it is with the feature permuted.
    """

    rows: int = 0
    alone: int = 0
    weight: int = 0
    loss: int = 0
    rises: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __add__(self, other: Rises) -> Rises:
        rises = dict(self.rises)
        for name, its in other.rises.items():
            mine = rises.get(name, (0,) * len(its))
            rises[name] = tuple(a + b for a, b in zip(mine, its, strict=True))
        return Rises(
            self.rows + other.rows,
            self.alone + other.alone,
            self.weight + other.weight,
            self.loss + other.loss,
            rises,
        )


def permute(
    sample: Sample,
    unit: Unit,
    load_model: Callable[[ModelEntry], BaseEstimator],
    features: FeaturesConfig,
    objective: Objective,
    *,
    repeats: int,
    batch_rows: int,
) -> Rises:
    """What permuting the features of a unit does to the losses of its rows.

    Rows that the model cannot predict as they are, are left out; one that it cannot predict with
    a permuted value counts as unchanged in that permutation. Only rows whose value differs from
    their own are predicted again.

    Args:
        load_model: an entry's fitted model.
        features: as trained.
        repeats: permutations of each feature.
        batch_rows: upper limit of rows in one call of ``predict``.
    """
    model = load_model(unit.entry)
    outputs = Outputs(objective.classes, objective.quantiles)
    rows = sample.take(unit.rows)

    def predicted(X: pd.DataFrame) -> Floats:
        parts = [
            predict_batch(
                lambda batch: outputs.predict(model, batch),
                X.iloc[start : start + batch_rows],
                shape=outputs.shape,
            ).predictions
            for start in range(0, len(X), batch_rows)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, *outputs.shape))

    table = _Table.of(rows.rows, features)
    own = predicted(table.frame(np.arange(len(rows))))
    losses = losses_of(objective, rows.truth, own)
    good = np.flatnonzero(np.isfinite(losses))
    rows, table, own, losses = rows.take(good), table.take(good), own[good], losses[good]
    weighted = rows.weight * losses

    used = used_features(unit.entry, model, unit.features)
    copies = _Copies.of(rows, table, used, repeats)
    rises = np.zeros(len(used) * repeats, dtype=object)
    for part in copies.batches(batch_rows):
        said = predicted(part.frame(table, used, repeats))
        again = losses_of(objective, rows.truth[part.rows], said)
        unchanged = ~np.isfinite(again) | _equal(said, own[part.rows])
        again[unchanged] = losses[part.rows][unchanged]
        after = exact_sums(rows.weight[part.rows] * again, part.cells, len(rises))
        before = exact_sums(weighted[part.rows], part.cells, len(rises))
        rises += np.array(after, dtype=object) - np.array(before, dtype=object)

    found = dict.fromkeys(unit.features, (0,) * repeats)
    for i, name in enumerate(used):
        found[name] = tuple(rises[i * repeats : (i + 1) * repeats].tolist())
    return _counted(rows, weighted, found) if unit.first else Rises(rises=found)


def _counted(rows: Sample, weighted: Floats, rises: Mapping[str, tuple[int, ...]]) -> Rises:
    together = np.zeros(len(rows), dtype=np.int64)
    return Rises(
        rows=len(rows),
        alone=int(np.count_nonzero(np.bincount(rows.codes) == 1)),
        weight=exact_sums(rows.weight, together, 1)[0],
        loss=exact_sums(weighted, together, 1)[0],
        rises=rises,
    )


def used_features(
    entry: ModelEntry, model: BaseEstimator, features: Sequence[str]
) -> tuple[str, ...]:
    """Those of the features that a model looks at; all of them where it does not say."""
    if entry.constant is not None:
        return ()
    prepare = getattr(model, "named_steps", {}).get("prepare")
    if not isinstance(prepare, ColumnTransformer):
        return tuple(features)
    taken = {
        name for _, step, columns in prepare.transformers_ if step != "drop" for name in columns
    }
    return tuple(name for name in features if name in taken)


def losses_of(objective: Objective, truth: Floats, predicted: Floats) -> Floats:
    """(n_samples,) the loss of each row: its part of :func:`measure` before weights and mean.

    Args:
        truth: (n_samples,) numbers; of classes their positions, -1 for one not seen in training.
        predicted: (n_samples,), or (n_samples, n_classes) or (n_samples, n_quantiles).
    """
    if objective.classes:
        known = np.where(truth < 0, len(objective.classes), truth)
        return log_losses(predicted, known.astype(np.int64))
    with np.errstate(over="ignore"):
        if objective.quantiles:
            levels = np.array(objective.quantiles)
            error = truth[:, None] - predicted
            pinball: Floats = np.maximum(levels * error, (levels - 1) * error).mean(axis=1)
            return pinball
        error = predicted - truth
        return np.abs(error) if measure(objective) == "mae" else error * error


def measure(objective: Objective) -> str:
    """The error that rises: ``log_loss``, ``pinball``, and of regressions ``rmse``, or ``mae``
    where that is the scorer."""
    if objective.task == "regression":
        return "mae" if objective.scorer == "mae" else "rmse"
    return "log_loss" if objective.task == "classification" else "pinball"


def importance(total: Rises, objective: Objective, repeats: int) -> dict[str, object] | None:
    """What the manifest says of it; None where no row counts.

    ``mean`` and ``std`` are those of the rises of the measure, over the repeats (the spread with
    ``ddof=0``, as scikit-learn's ``permutation_importance`` has it), in the measure's unit.
    """
    if not total.weight:
        return None
    name = measure(objective)
    plain = _error(name, total.loss, total.weight)
    found: list[tuple[str, float, float]] = []
    for feature, rises in total.rises.items():
        each = [_error(name, total.loss + rise, total.weight) - plain for rise in rises]
        found.append((feature, float(np.mean(each)), float(np.std(each))))
    return {
        "measure": name,
        "plain": plain,
        "rows": total.rows,
        "rows_alone": total.alone,
        "repeats": repeats,
        "features": [
            {"name": feature, "mean": mean, "std": std}
            for feature, mean, std in sorted(found, key=lambda f: (-f[1], f[0]))
        ],
    }


def _error(name: str, loss: int, weight: int) -> float:
    mean = value(loss) / value(weight)
    return math.sqrt(mean) if name == "rmse" else float(mean)


def _equal(said: Floats, own: Floats) -> npt.NDArray[np.bool_]:
    """(n_samples,) whether two predictions of a row differ by no more than rounding."""
    near = (np.abs(said - own) <= _ROUNDING * np.abs(own)).reshape(len(own), -1)
    return np.asarray(near.all(axis=1), dtype=bool)


def permutation(sample: Sample, feature: str, repeat: int) -> Integers:
    """(n_samples,) the row from which each gets its value: another order of each segment's rows.

    Each order is as likely as any other; it follows from the rows' keys, the seed in their
    hashes, the feature and the repeat.
    """
    stream = hashlib.sha256(f"{repeat} {feature}".encode()).digest()[:8]
    drawn = mixed(sample.hashes ^ np.frombuffer(stream, "<u8"))
    return np.lexsort((drawn, sample.codes))


@dataclass(frozen=True)
class _Table:
    """The features of some rows, in a shape that is quick to copy rows of.

    Attributes:
        numbers: (n_samples, n_numeric).
        texts: (n_samples,) each, by name.
    """

    numeric: tuple[str, ...]
    numbers: Floats
    texts: Mapping[str, npt.NDArray[np.object_]]

    @classmethod
    def of(cls, rows: pa.Table, features: FeaturesConfig) -> _Table:
        X = to_features(rows, numeric=features.numeric, categorical=features.categorical)
        numbers = np.empty((len(X), len(features.numeric)))
        for i, name in enumerate(features.numeric):
            numbers[:, i] = X[name].to_numpy()
        return cls(
            features.numeric, numbers, {name: X[name].to_numpy() for name in features.categorical}
        )

    def take(self, rows: Integers) -> _Table:
        texts = {name: values[rows] for name, values in self.texts.items()}
        return _Table(self.numeric, self.numbers[rows], texts)

    def column(self, name: str) -> npt.NDArray[np.float64] | npt.NDArray[np.object_]:
        """(n_samples,) a view, through which it can be changed."""
        if name in self.texts:
            return self.texts[name]
        return self.numbers[:, self.numeric.index(name)]

    def frame(self, rows: Integers) -> pd.DataFrame:
        """What models take; see :func:`~pipeline.training.matrix.to_features`."""
        return self.take(rows).whole()

    def whole(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.numbers, columns=list(self.numeric), copy=False)
        for name, values in self.texts.items():
            frame[name] = values
        return frame


@dataclass(frozen=True)
class _Copies:
    """Rows with one value exchanged, of many permutations after one another.

    Attributes:
        rows: (n_copies,) the row that is copied.
        sources: (n_copies,) the row that the value comes from.
        cells: (n_copies,) position of the feature, times repeats, plus the repeat; ascending.
    """

    rows: Integers
    sources: Integers
    cells: Integers

    @classmethod
    def of(cls, sample: Sample, table: _Table, features: Sequence[str], repeats: int) -> _Copies:
        parts = [(np.zeros(0, np.int64),) * 3]
        for i, name in enumerate(features):
            values = pd.factorize(table.column(name))[0]  # equal where the values are, null too
            for repeat in range(repeats):
                sources = permutation(sample, name, repeat)
                rows = np.flatnonzero(values != values[sources])
                parts.append((rows, sources[rows], np.full(len(rows), i * repeats + repeat)))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def batches(self, size: int) -> Iterator[_Copies]:
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            yield _Copies(self.rows[part], self.sources[part], self.cells[part])

    def frame(self, table: _Table, features: Sequence[str], repeats: int) -> pd.DataFrame:
        copied = table.take(self.rows)
        places = self.cells // repeats
        for place in np.unique(places).tolist():
            there = slice(*np.searchsorted(places, [place, place + 1]).tolist())
            name = features[place]
            copied.column(name)[there] = table.column(name)[self.sources[there]]
        return copied.whole()
