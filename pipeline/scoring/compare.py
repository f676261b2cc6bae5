"""Two versions on the same held-out rows, segment by segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.infer import IntervalsConfig
from pipeline.config.preprocess import FeaturesConfig
from pipeline.models.entry import ModelEntry
from pipeline.models.promotion import Decision
from pipeline.models.version import DEFAULT, Version
from pipeline.scoring.bootstrap import Floats, Sums, merge, row_hashes
from pipeline.scoring.intervals import error_sums, intervals
from pipeline.scoring.loaded import loaded_model
from pipeline.scoring.metrics import BlockStats, block_stats
from pipeline.scoring.predict import score_table
from pipeline.store.card import DatasetCard
from pipeline.training.held_out import is_held_out
from pipeline.training.matrix import weights_of
from pipeline.training.segments import segment_codes

_ROW = "row in this block"


@dataclass(frozen=True)
class Side:
    """One version and what its models take.

    Attributes:
        test_from: microseconds since 1970 UTC; none of its models saw a row from there on. None
            where the test is not by time: they saw no row of the card's test.
    """

    version: Version
    features: FeaturesConfig
    test_from: int | None


@dataclass(frozen=True)
class Contest:
    """Champion and challenger, the rows they meet on, and how their errors are measured.

    Attributes:
        files: Parquet files of the feature table.
        baselines: the constant of each segment's baseline, by key; ``*`` for other segments.
        weight: the column of the rows' weights.
    """

    store: Path
    champion: Side
    challenger: Side
    card: DatasetCard
    files: tuple[Path, ...]
    baselines: Mapping[str, float]
    scorer: Literal["rmse", "mae"]
    intervals: IntervalsConfig
    tracked: frozenset[str]
    weight: str | None = None


@dataclass(frozen=True)
class Compared:
    """The errors on one segment's rows, or on all rows; in the target's unit, lower is better.

    Attributes:
        segment: its key; ``*`` for all rows.
        champion, challenger: the models, for people.
        low, high: interval of challenger minus champion; None where there are too few rows.
    """

    segment: str
    rows: int
    champion: str
    challenger: str
    champion_score: float
    challenger_score: float
    baseline_score: float
    low: float | None
    high: float | None
    same: bool
    decision: Decision | None = None

    @property
    def difference(self) -> float:
        return self.challenger_score - self.champion_score


@dataclass(frozen=True)
class _Errors:
    """Statistics of some rows; added up over blocks."""

    champion: BlockStats
    challenger: BlockStats
    baseline: BlockStats
    sums: Mapping[str, Sums]


def compare(contest: Contest) -> list[Compared]:
    """All rows first (``*``), then each segment with held-out rows, by key.

    The rows are those with a target that come after the training of both versions and that both
    can predict. One file is in memory at a time.

    Raises:
        DataRefused: the rows lack a feature of one of the versions.
        StoreError: a model is missing, damaged, or of another scikit-learn.
    """
    blocks = [_block(contest, table) for table in _held_out(contest)]
    parts = (
        sum((getattr(block, name) for block in blocks), BlockStats())
        for name in ("champion", "challenger", "baseline")
    )
    champion, challenger, baseline = parts
    sums = merge(block.sums for block in blocks)
    names = contest.champion.version, contest.challenger.version
    if not champion.segments:
        return []
    everything = {DEFAULT: (champion.overall(), challenger.overall(), baseline.overall())}
    keys = sorted(champion.segments)
    everything |= {
        k: (champion.segments[k], challenger.segments[k], baseline.segments[k]) for k in keys
    }
    found = []
    for key, stats in everything.items():
        first, second = (_entry(version, key) for version in names)
        measured = [stat.metrics() for stat in stats]
        scores = [metrics[contest.scorer] for metrics in measured]
        if None in scores:
            continue  # the rows have no weight
        drawn = sum(sums.values(), Sums()) if key == DEFAULT else sums.get(key, Sums())
        interval = intervals(drawn, contest.intervals.level)
        low, high = interval.of(f"difference_{contest.scorer}") if interval else (None, None)
        whole = key == DEFAULT
        found.append(
            Compared(
                segment=key,
                rows=measured[0]["rows"],
                champion=names[0].name if whole else first.model,
                challenger=names[1].name if whole else second.model,
                champion_score=float(scores[0]),
                challenger_score=float(scores[1]),
                baseline_score=float(scores[2]),
                low=low,
                high=high,
                same=names[0].name == names[1].name if whole else _same(first, second),
            )
        )
    return found


def _entry(version: Version, key: str) -> ModelEntry:
    return version.entries.get(key) or version.entries[DEFAULT]


def _same(first: ModelEntry, second: ModelEntry) -> bool:
    return (first.sha256, first.constant) == (second.sha256, second.constant)


def _held_out(contest: Contest) -> Iterator[pa.Table]:
    card = contest.card
    starts = (contest.champion.test_from, contest.challenger.test_from, card.test_micros)
    start = max((found for found in starts if found is not None), default=None)
    for path in contest.files:
        table = pq.read_table(path)
        rows = table.filter(pa.array(is_held_out(table, card.time, start, card.test_column)))
        if rows.num_rows:
            yield rows


def _block(contest: Contest, rows: pa.Table) -> _Errors:
    card = contest.card
    codes, keys = segment_codes(rows, card.segment)
    target = rows.column(card.target).cast(pa.float64(), safe=False).to_numpy()
    champion = _predictions(contest, contest.champion, rows)
    challenger = _predictions(contest, contest.challenger, rows)
    known = np.isfinite(champion) & np.isfinite(challenger) & np.isfinite(target)
    default = contest.baselines[DEFAULT]
    constants = np.array([contest.baselines.get(key, default) for key in keys])
    columns = {
        name: rows.column(name).cast(pa.string()).to_numpy(zero_copy_only=False)[known]
        for name in card.key
    }
    target, champion, challenger, codes = (
        values[known] for values in (target, champion, challenger, codes)
    )
    weight = weights_of(rows, contest.weight)[known] if contest.weight else None
    hashes = row_hashes(columns, contest.intervals.seed)
    return _Errors(
        block_stats(target, champion, codes, keys, weight),
        block_stats(target, challenger, codes, keys, weight),
        block_stats(target, constants[codes], codes, keys, weight),
        error_sums(
            *(target, challenger, champion, codes, keys, hashes),
            contest.intervals,
            contest.tracked,
            weight,
        ),
    )


def _predictions(contest: Contest, side: Side, rows: pa.Table) -> Floats:
    """(n_samples,) NaN where the version has no prediction."""
    numbered = rows.append_column(_ROW, pa.array(np.arange(rows.num_rows)))
    good, _ = score_table(
        numbered,
        side.version.entries,
        partial(loaded_model, contest.store),
        side.features,
        rows.num_rows,
        segment=contest.card.segment,
        keep=(_ROW,),
    )
    predictions = np.full(rows.num_rows, np.nan)
    predictions[good.column(_ROW).to_numpy()] = good.column("prediction").to_numpy()
    return predictions


def union(features: Iterable[FeaturesConfig]) -> FeaturesConfig:
    """What the models of several train artifacts take together; each picks its own by name."""
    numeric: dict[str, None] = {}
    categorical: dict[str, None] = {}
    for some in features:
        numeric |= dict.fromkeys(some.numeric)
        categorical |= dict.fromkeys(some.categorical)
    return FeaturesConfig(numeric=tuple(numeric), categorical=tuple(categorical))
