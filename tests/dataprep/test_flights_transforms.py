"""The built-in transforms on the shipped sample, against pandas' own rolling and as-of joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tests.dataprep.test_flights_features import SAMPLE, SCHEMAS, Tables, instants, weather_seen
from tests.dataprep.test_history import config, made

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOURS = {"2h": 2, "24h": 24, "7d": 7 * 24}
SEEN = ["temp", "dewp", "humid", "pressure", "visib"]
TRANSFORMS: list[dict[str, Any]] = [
    # What is known of departure delays two hours before.
    {
        "kind": "rolling",
        "by": ["origin"],
        "columns": ["dep_delay"],
        "windows": list(HOURS),
        "aggregates": ["count", "mean", "std"],
        "horizon": "2h",
        "known_after": "departed_at",
    },
    # What was scheduled before this flight, by the schedule alone.
    {
        "kind": "rolling",
        "by": ["carrier"],
        "columns": ["distance"],
        "windows": ["3h"],
        "aggregates": ["sum", "min", "max"],
        "prefix": "carrier",
    },
    {
        "kind": "join_as_of",
        "table": "weather",
        "by": ["origin"],
        "columns": SEEN,
        "table_time": "time_hour",
        "horizon": "2h",
        "tolerance": "6h",
    },
    {
        "kind": "lag",
        "by": ["tailnum"],
        "columns": ["dep_delay"],
        "horizon": "2h",
        "known_after": "departed_at",
        "prefix": "aircraft",
    },
]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return {
        name: pd.read_csv(SAMPLE / f"{name}.csv.gz", keep_default_na=False, na_values=[""])
        for name in ("flights", "weather", "airports")
    }


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> pd.DataFrame:
    read = {
        name: spark.read.csv(str(SAMPLE / f"{name}.csv.gz"), schema=SCHEMAS[name], header=True)
        for name in ("flights", "weather")
    }
    flights = read["flights"].selectExpr(
        "*",
        "time_hour + make_dt_interval(0, 0, minute) AS scheduled",
        "time_hour + make_dt_interval(0, 0, minute + dep_delay) AS departed_at",
    )
    settings = config(*TRANSFORMS, time="scheduled", target="dep_delay")
    views = {"rows": flights, "weather": read["weather"]}
    frame = made(spark, settings, **views).drop("scheduled", "departed_at", "time_hour")
    return pd.DataFrame(frame.collect(), columns=frame.columns)


KEY = ["year", "month", "day", "carrier", "flight", "origin"]


def assert_equal(found: pd.DataFrame, expected: pd.DataFrame, tables: Tables) -> None:
    """Rows are matched by the flights' key."""
    keyed = tables["flights"][KEY].join(expected).set_index(KEY).sort_index()
    result = found.set_index(KEY).sort_index()[list(expected)].astype(float)
    pd.testing.assert_frame_equal(result, keyed.astype(float), rtol=1e-9)


def known_times(tables: Tables) -> pd.DataFrame:
    """Two hours ahead. A flight that leaves early is taken to be known by its schedule."""
    times = instants(tables, 2)
    return times.assign(known_at=times[["departed_at", "scheduled_at"]].max(axis=1, skipna=False))


def test_delays_known_by_then(found: pd.DataFrame, tables: Tables) -> None:
    flights, times = tables["flights"], known_times(tables)
    parts = []
    for rows in flights.groupby("origin").groups.values():
        asks, left = times.loc[rows, "as_of"].to_numpy(), times.loc[rows, "known_at"].to_numpy()
        delay = flights.loc[rows, "dep_delay"].to_numpy()
        columns: dict[str, Any] = {}
        for name, hours in HOURS.items():
            known = (left < asks[:, None]) & (left >= asks[:, None] - hours * 3600)
            late = [pd.Series(delay[row]) for row in known]
            columns[f"dep_delay_count_{name}"] = [values.count() for values in late]
            columns[f"dep_delay_mean_{name}"] = [values.mean() for values in late]
            columns[f"dep_delay_std_{name}"] = [values.std() for values in late]
        parts.append(pd.DataFrame(columns, index=rows))
    assert_equal(found, pd.concat(parts), tables)


def test_windows_equal_those_of_pandas(found: pd.DataFrame, tables: Tables) -> None:
    flights = tables["flights"]
    at = pd.to_datetime(instants(tables, 0)["scheduled_at"], unit="s")
    # pandas lets rows of one time see those above them; the last of them all, less itself.
    per_time = flights.assign(at=at).groupby(["carrier", "at"])["distance"]
    summed = per_time.agg(["sum", "min", "max"]).reset_index().set_index("at")
    rolled = summed.groupby("carrier").rolling("3h", closed="left")
    window = pd.DataFrame({name: getattr(rolled[name], name)() for name in ("sum", "min", "max")})
    window.columns = [f"carrier_distance_{name}_3h" for name in window]
    pairs = pd.MultiIndex.from_arrays([flights["carrier"], at])
    assert_equal(found, window.loc[pairs].set_index(flights.index), tables)


def test_the_weather_seen_by_then(found: pd.DataFrame, tables: Tables) -> None:
    assert_equal(found, weather_seen(tables, instants(tables, 2))[SEEN], tables)


def test_the_aircrafts_last_departure(found: pd.DataFrame, tables: Tables) -> None:
    flights = tables["flights"][["tailnum", "dep_delay"]].join(known_times(tables))
    rows = flights.dropna(subset=["tailnum"])
    left = rows.dropna(subset=["known_at"]).sort_values(["known_at", "scheduled_at", "dep_delay"])
    asking = rows[["tailnum", "as_of"]].reset_index().sort_values("as_of")
    pairs = pd.merge_asof(
        asking,
        left[["tailnum", "known_at", "dep_delay"]],
        left_on="as_of",
        right_on="known_at",
        by="tailnum",
        allow_exact_matches=False,
    ).set_index("index")
    expected = pairs["dep_delay"].rename("aircraft_dep_delay_lag_1").reindex(flights.index)
    assert np.isfinite(expected).sum() > 1000
    assert_equal(found, expected.to_frame(), tables)
