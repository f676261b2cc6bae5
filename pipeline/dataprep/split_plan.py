"""The plan of the split, for people and for the report: every border, and the rows on each side.

Counted in the written files, a batch of rows at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config.held_out import HeldOutConfig
from pipeline.config.preprocess import FOLD, SPLIT, PreprocessConfig, SplitConfig
from pipeline.dataprep.batches import read_batches
from pipeline.dataprep.value_counts import HELD_BYTES, ValueCounts
from pipeline.errors import DataRefused
from pipeline.training.folds import EPOCH, time_folds

Plan = dict[str, Any]
"""JSON: ``split.json``, and what the report shows."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def plan_split(files: Sequence[str | Path], config: PreprocessConfig, gap_rows: int = 0) -> Plan:
    """What is trained on, validated on and held out.

    Args:
        files: local Parquet files of a feature table, in one folder; more groups than memory holds
            are counted on disk in there.
        gap_rows: rows between training and test, which are not in the files.

    Returns:
        ``kind, folds_rule, folds`` of the cross-validation; ``test`` (its kind, settings and
        ``rule``), and ``test_from`` if it is by time; ``train_rows, train_rows_with_target,
        test_rows, test_rows_with_target``; and ``train_first, train_last, test_first, test_last``,
        the instants of the first and the last row of both, null if there is none.

    Raises:
        DataRefused: nothing is trained on or tested, where the test is not by time; or a fold that
            is not by time has no row to validate on.
    """
    split = config.split
    with tempfile.TemporaryDirectory(prefix="_groups", dir=Path(files[0]).parent) as scratch:
        count = _Count(config, Path(scratch))
        for batch in read_batches(files, count.columns):
            count.add(batch)
        _refuse_empty_sides(split.test, count)
        by_time = {} if split.test_from is None else {"test_from": split.test_from.isoformat()}
        return {
            "kind": split.kind,
            **by_time,
            "test": _test(config, count, gap_rows),
            "train_rows": count.rows["train"],
            "train_rows_with_target": count.labelled["train"],
            "test_rows": count.rows["test"],
            "test_rows_with_target": count.labelled["test"],
            **count.instants(),
            **({"group": list(split.group)} if split.group else {}),
            "folds_rule": _folds_rule(split),
            "folds": _time_folds(split, count) if split.kind == "time" else _dealt(split, count),
        }


class _Count:
    """Rows by side and by fold, and the groups in each, added up over batches."""

    def __init__(self, config: PreprocessConfig, scratch: Path) -> None:
        split = config.split
        self._config = config
        self._groups = _Groups(split.group, split.folds, scratch / "folds")
        self._drawn = _Groups(split.test.group or split.test.key, 2, scratch / "test")
        self.rows = {"train": 0, "test": 0}
        self.labelled = {"train": 0, "test": 0}
        self.borders: dict[str, tuple[int, int]] = {}
        self.folds: Ints = np.zeros((split.folds, 2), dtype=np.int64)
        """(n_folds, 2) rows trained on and validated on."""

    @property
    def columns(self) -> list[str]:
        plan = self._config
        own = () if plan.split.kind == "time" else (FOLD,)
        names = (plan.time, plan.target, SPLIT, *own, *self._groups.names, *self._drawn.names)
        return list(dict.fromkeys(names))

    def add(self, batch: pa.RecordBatch) -> None:
        plan = self._config
        test = np.asarray(pc.equal(batch.column(SPLIT), "test"))
        labelled = np.asarray(batch.column(plan.target).is_valid())  # infinite ones were refused
        times = batch.column(plan.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        for side, mask in (("train", ~test), ("test", test)):
            self.rows[side] += int(np.count_nonzero(mask))
            self.labelled[side] += int(np.count_nonzero(mask & labelled))
            self._widen(side, times[mask])
        self._drawn.add(batch, test.astype(np.int64))
        trained = ~test & labelled
        if plan.split.kind == "time":
            folds = time_folds(times[trained], plan.split.periods())
            self.folds += np.array([[len(rows) for rows in fold] for fold in folds])
        else:
            self._add_dealt(batch.filter(pa.array(trained)))

    def instants(self) -> Plan:
        """The first and the last row of each side, ISO 8601 UTC."""
        shown = {side: [_iso(micros) for micros in pair] for side, pair in self.borders.items()}
        return {
            f"{side}_{name}": shown.get(side, [None, None])[i]
            for side in ("train", "test")
            for i, name in enumerate(("first", "last"))
        }

    def groups(self) -> list[int]:
        """How many groups each fold validates on; none where it is not by group."""
        return self._groups.counts()

    def drawn(self) -> list[int]:
        """How many groups or keys are in training and in the test; none of other tests."""
        return self._drawn.counts()

    def _add_dealt(self, rows: pa.RecordBatch) -> None:
        number = rows.column(FOLD).to_numpy()
        valid = np.bincount(number, minlength=len(self.folds))
        self.folds += np.column_stack([len(number) - valid, valid])
        self._groups.add(rows, number)

    def _widen(self, side: str, times: Ints) -> None:
        if len(times):
            low, high = self.borders.get(side, (times[0], times[0]))
            self.borders[side] = int(min(low, times.min())), int(max(high, times.max()))


@dataclass
class _Groups:
    """How many groups, of which none is in two parts, lie in each part."""

    names: tuple[str, ...]
    parts: int
    scratch: Path

    def __post_init__(self) -> None:
        share = HELD_BYTES // self.parts
        self._found = [ValueCounts(self.scratch / str(n), share) for n in range(self.parts)]

    def add(self, rows: pa.RecordBatch, part: Ints) -> None:
        """Count rows; ``part`` says where each belongs."""
        if not self.names:
            return
        texts = _as_text(rows, self.names)
        for number, found in enumerate(self._found):
            found.add(texts.filter(pa.array(part == number)))

    def counts(self) -> list[int]:
        if not self.names:
            return []
        return [sum(len(block) for block in found.blocks()) for found in self._found]


def _as_text(rows: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """A text for each row, equal where all values are."""
    parts = []
    for name in names:
        values = rows.column(name)
        if pa.types.is_floating(values.type):
            values = pc.add(values, 0.0)  # -0.0 is 0.0
        text = values.cast(pa.string())
        length = pc.utf8_length(text).cast(pa.string())
        # With its length, or two values could be cut elsewhere; a null has none.
        parts.append(pc.binary_join_element_wise(length, text, ":").fill_null("-"))
    return pc.binary_join_element_wise(*parts, "")


def _test(config: PreprocessConfig, count: _Count, gap_rows: int) -> Plan:
    split, test = config.split, config.split.test
    if split.test_from is not None:
        rule = f"rows from {split.test_from:%Y-%m-%d %H:%M} UTC on"
        if not test.gap_days or split.train_until is None:
            return {"kind": "time", "rule": rule}
        gap = f"the rows of {test.gap_days:g} days before are in neither"
        begin = split.train_until.isoformat()
        about = {"gap_days": test.gap_days, "gap_from": begin, "gap_rows": gap_rows}
        return {"kind": "time", "rule": f"{rule}; {gap}", **about}
    names = test.group or test.key or config.key
    about = {"share": test.share, "seed": test.seed}
    if test.kind != "stratified":
        about["of"] = list(names)
    if drawn := count.drawn():
        about |= {"groups_train": drawn[0], "groups_test": drawn[1]}
    return {"kind": test.kind, "rule": _drawn_rule(test, names), **about}


def _drawn_rule(test: HeldOutConfig, names: Sequence[str]) -> str:
    share, columns = f"{test.share:.4g}", ", ".join(names)
    if test.kind == "stratified":
        return (
            f"{share} of the rows of each class of every segment, or of each tenth of its targets "
            "if they are numbers with a fraction"
        )
    what = "groups of equal" if test.kind == "group" else "values of"
    return (
        f"about {share} of the {what} {columns}, by a hash; "
        "each stays where it is when rows are added"
    )


def _folds_rule(split: SplitConfig) -> str:
    if split.kind == "group":
        return f"groups of equal {', '.join(split.group)} are dealt to the folds by a hash"
    if split.kind == "stratified":
        return (
            "the rows of each class of every segment, or of each tenth of its targets if they "
            "are numbers with a fraction, are dealt to the folds in turn"
        )
    return (
        f"each fold validates on {split.validation_days:g} days and trains on everything that ends "
        f"{split.gap_days:g} days before them"
    )


def _time_folds(split: SplitConfig, count: _Count) -> list[Plan]:
    return [
        {
            "train_until": until.isoformat(),
            "valid_from": start.isoformat(),
            "valid_until": end.isoformat(),
            "rows_train": train,
            "rows_valid": valid,
        }
        for (until, start, end), (train, valid) in zip(
            split.periods(), count.folds.tolist(), strict=True
        )
    ]


def _dealt(split: SplitConfig, count: _Count) -> list[Plan]:
    """The rows of each fold, and of folds by group the groups that it validates on."""
    folds: list[Plan] = [{"rows_train": t, "rows_valid": v} for t, v in count.folds.tolist()]
    found = f"{count.labelled['train']:,} rows"
    if groups := count.groups():
        found = f"{sum(groups):,} groups of {', '.join(split.group)}"
        folds = [fold | {"groups_valid": n} for fold, n in zip(folds, groups, strict=True)]
    if empty := [str(n) for n, fold in enumerate(folds, 1) if not fold["rows_valid"]]:
        raise DataRefused(
            f"preprocess.split: each of {split.folds} folds must have training rows to validate "
            f"on. Got {found}, and none of them in fold {', '.join(empty)} instead",
            hint="Set fewer folds or another seed, or group by columns with more values.",
        )
    return folds


def _refuse_empty_sides(test: HeldOutConfig, count: _Count) -> None:
    if test.by_time or (count.labelled["train"] and count.rows["test"]):
        return
    raise DataRefused(
        f"preprocess.split.test: {test.kind} must leave rows with a target to train on, and rows "
        f"to test. Got {count.labelled['train']:,} and {count.rows['test']:,} instead",
        hint="Set another share or seed, or columns with more values.",
    )


def _iso(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()
