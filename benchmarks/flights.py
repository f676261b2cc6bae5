"""How good the champions of the shipped job are on November and December, which no fit has seen.

Run it with ``make bench-flights``, after ``make run``. On the same held-out flights it compares, by
RMSE, the published predictions of the champions with each segment's baseline, with the pooled
champion alone, and with scikit-learn's histogram boosting as it comes, once on all training rows
and once a segment. The champions are better or worse than another where the interval of the
difference says so, and as good otherwise; where they are worse, or miss the goal, it fails.

The test months take no part in any fit or choice of a run. They are not unseen by people: their
errors were looked at while the job was made.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from pipeline.config.infer import IntervalsConfig
from pipeline.config.loader import load_config
from pipeline.config.pipeline import PipelineConfig
from pipeline.models.champions import model_entries
from pipeline.models.entry import ModelEntry
from pipeline.scoring.bootstrap import row_hashes
from pipeline.scoring.intervals import error_sums, overall
from pipeline.scoring.loaded import loaded_model
from pipeline.scoring.predict import score_table
from pipeline.store import Artifact, Store
from pipeline.store.artifact import open_artifact, published
from pipeline.store.card import DatasetCard, read_card
from pipeline.training.held_out import is_held_out
from pipeline.training.matrix import Matrix, has_target, to_matrix
from pipeline.training.segments import ALL, segment_codes

CONFIG = "conf/flights.yaml"
GOAL = 36.3
"""Minutes; the RMSE that the champions must not exceed."""

CHAMPIONS = "ours, champions"
PACKAGES = ("scikit-learn", "numpy", "pandas", "pyarrow")
DRAWS = IntervalsConfig(replicates=1000, resample="day")
# Delays of one evening go together. At 09:00 UTC, four or five in the morning, nobody leaves.
_DAY, _NIGHT = 86_400_000_000, 9 * 3_600_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LastRun:
    """What the last run published."""

    config: PipelineConfig
    store: Store
    card: DatasetCard
    train: Artifact
    infer: Artifact


@dataclass(frozen=True)
class Flights:
    """The rows of one side of the split that have a target.

    Attributes:
        table: (n_samples,) rows of the feature table.
        matrix: the same rows as models take them.
        codes, keys: each row's segment as a position in a list of keys.
    """

    table: pa.Table
    matrix: Matrix
    codes: npt.NDArray[np.int64]
    keys: list[str]


@dataclass(frozen=True)
class Entrant:
    """One way to predict the test rows.

    Attributes:
        predicted: (n_samples,) minutes.
        seconds: of fitting and predicting; None where the champions' run has done it.
    """

    predicted: Floats
    seconds: float | None = None


def last_run(config: PipelineConfig) -> LastRun:
    """The artifacts behind the last published predictions."""
    store = Store(config.store_path)
    scored = published(store, "infer", config.name)
    if not scored:
        sys.exit("nothing is published: do `make run` first")
    infer = scored[-1]
    convert, train = (
        open_artifact(store, stage, infer.manifest.inputs[stage]) for stage in ("convert", "train")
    )
    if convert is None or train is None:
        sys.exit("what the last predictions were made from is gone: do `make run` again")
    return LastRun(config, store, read_card(convert.folder), train, infer)


def split(run: LastRun) -> tuple[Flights, Flights]:
    """Training rows and test rows with a known target."""
    folder = run.store.artifact("preprocess", run.card.artifact)
    table = pa.concat_tables([pq.read_table(folder / file) for file in run.card.files])
    known = table.filter(pa.array(has_target(table, run.card.target)))
    card = run.card
    held_out = is_held_out(known, card.time, card.test_micros, card.test_column)
    return _flights(run.card, known, ~held_out), _flights(run.card, known, held_out)


def _flights(card: DatasetCard, table: pa.Table, wanted: npt.NDArray[np.bool_]) -> Flights:
    rows = table.filter(pa.array(wanted))
    matrix = to_matrix(
        rows,
        numeric=card.numeric,
        categorical=card.categorical,
        target=card.target,
        time=card.time,
    )
    return Flights(rows, matrix, *segment_codes(rows, card.segment))


def published_predictions(run: LastRun, test: Flights) -> dict[str, Entrant]:
    """The champions and the baselines, as ``infer`` wrote them, in the order of the test rows."""
    key = list(run.card.key)
    written = pa.concat_tables([pq.read_table(file) for file in run.infer.files("predictions")])
    rows = test.table.select(key).append_column("row", pa.array(np.arange(len(test.matrix))))
    found = rows.join(written.select([*key, "prediction", "baseline"]), key).sort_by("row")
    if len(found) != len(test.matrix) or found.column("prediction").null_count:
        sys.exit("some test rows have no prediction, or several: look at the run's quarantine")
    seconds = run.train.manifest.seconds + run.infer.manifest.seconds
    return {
        CHAMPIONS: Entrant(found.column("prediction").to_numpy(), seconds),
        "baseline, segment means": Entrant(found.column("baseline").to_numpy()),
    }


def pooled_alone(run: LastRun, test: Flights) -> Entrant:
    """The pooled champion for every row."""
    entry: ModelEntry = model_entries(run.train)[ALL]
    if entry.scope != "pooled":
        sys.exit(f"the champion of all segments is no pooled model but {entry.model}")
    good, bad = score_table(
        test.table,
        {ALL: entry},
        partial(loaded_model, run.store.root),
        run.config.preprocess.features,
        run.config.infer.batch_rows,
        segment=run.card.segment,
    )
    if bad.num_rows:
        sys.exit(f"the pooled model failed on {bad.num_rows} rows")
    return Entrant(good.column("prediction").to_numpy())


def default_boosting(X: pd.DataFrame, y: Floats, categorical: tuple[str, ...]) -> Pipeline:
    """Histogram boosting as scikit-learn has it, told which features are categories."""
    # It cannot bin a feature without a single value (scikit-learn 1.9).
    numeric = [name for name in X.columns if name not in categorical and X[name].notna().any()]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    prepare = ColumnTransformer(
        [("categories", encoder, list(categorical)), ("numbers", "passthrough", numeric)]
    )
    model = HistGradientBoostingRegressor(
        categorical_features=list(range(len(categorical))), random_state=0
    )
    return Pipeline([("prepare", prepare), ("model", model)]).fit(X, y)


def one_default(train: Flights, test: Flights, categorical: tuple[str, ...]) -> Entrant:
    """One default model on all training rows."""
    started = time.perf_counter()
    model = default_boosting(train.matrix.X, train.matrix.y, categorical)
    predicted = model.predict(test.matrix.X)
    return Entrant(predicted, time.perf_counter() - started)


def default_a_segment(
    train: Flights, test: Flights, categorical: tuple[str, ...], elsewhere: Floats
) -> Entrant:
    """A default model on each segment's rows; a segment without any is predicted ``elsewhere``."""
    started = time.perf_counter()
    predicted = elsewhere.copy()
    for code, key in enumerate(test.keys):
        if key not in train.keys:
            continue
        own = train.codes == train.keys.index(key)
        model = default_boosting(train.matrix.X[own], train.matrix.y[own], categorical)
        rows = test.codes == code
        predicted[rows] = model.predict(test.matrix.X[rows])
    return Entrant(predicted, time.perf_counter() - started)


def outcome(low: float, high: float) -> str:
    """How the champions do, from the interval of another's RMSE minus theirs."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "as good"


def measure(test: Flights, entrants: dict[str, Entrant]) -> list[dict[str, Any]]:
    """RMSE and MAE of each, and the difference of its RMSE to the champions' with an interval.

    The interval is a paired bootstrap's that draws whole days. Below zero the champions are worse.
    """
    y, champions = test.matrix.y, entrants[CHAMPIONS].predicted
    hashes = row_hashes({"day": (test.matrix.time - _NIGHT) // _DAY}, DRAWS.seed)
    lines = []
    for name, entrant in entrants.items():
        drawn = overall(
            error_sums(
                *(y, entrant.predicted, champions, test.codes, test.keys, hashes),
                DRAWS,
                frozenset(),
            ),
            DRAWS.level,
        )
        assert drawn is not None  # there are more than five days
        line = {
            "bench": "flights",
            "name": name,
            "rmse": round(rmse(y, entrant.predicted), 4),
            "mae": round(float(np.mean(np.abs(entrant.predicted - y))), 4),
            "rmse_minus_champions": round(rmse(y, entrant.predicted) - rmse(y, champions), 4),
            "interval_95": [round(value, 4) for value in drawn.difference_rmse],
            "ours": None if name == CHAMPIONS else outcome(*drawn.difference_rmse),
            "rows": len(y),
            "seconds": None if entrant.seconds is None else round(entrant.seconds, 1),
        }
        lines.append(line)
    return lines


def rmse(y: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in minutes."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def report(lines: list[dict[str, Any]], **more: Any) -> None:
    """One JSON object a line on stdout, and a table of them on stderr."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    table = Table(
        "name", "RMSE", "MAE", "RMSE - champions'", "95 %", "ours", "seconds", title="flights"
    )
    for line in lines:
        print(json.dumps({**line, **more, "versions": versions}), flush=True)
        low, high = line["interval_95"]
        itself = line["name"] == CHAMPIONS
        difference = "" if itself else f"{line['rmse_minus_champions']:+.2f}"
        interval = "" if itself else f"{low:+.2f} to {high:+.2f}"
        errors = f"{line['rmse']:.2f}", f"{line['mae']:.2f}"
        last = line["ours"] or "", f"{line['seconds'] or ''}"
        table.add_row(line["name"], *errors, difference, interval, *last)
    Console(stderr=True).print(table)


def verdict(lines: list[dict[str, Any]]) -> str | None:
    """What is wrong with the champions, or None."""
    ours = next(line["rmse"] for line in lines if line["name"] == CHAMPIONS)
    if ours > GOAL:
        return f"the champions' RMSE is {ours:.2f} minutes, above {GOAL}"
    lost = [f"{line['name']} ({line['rmse']:.2f})" for line in lines if line["ours"] == "worse"]
    return f"the champions ({ours:.2f}) are worse than {', '.join(lost)}" if lost else None


def main() -> None:
    """Compare on the test rows of the last run."""
    run = last_run(load_config(CONFIG))
    train, test = split(run)
    categorical = run.card.categorical
    entrants = published_predictions(run, test)
    entrants["pooled champion alone"] = pooled_alone(run, test)
    default = one_default(train, test, categorical)
    entrants["peer default boosting, all rows"] = default
    entrants["peer default boosting, each segment"] = default_a_segment(
        train, test, categorical, default.predicted
    )
    lines = measure(test, entrants)
    report(lines, rows_trained_on=len(train.matrix), train=run.train.manifest.fingerprint)
    if problem := verdict(lines):
        sys.exit(problem)


if __name__ == "__main__":
    main()
