"""The shipped SQL features, against their definitions worked out another way in pandas.

The SQL keeps running totals over sorted timelines. The oracle compares each flight with each fact
of its group, which only twelve days can afford.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from pipeline.dataprep.sql import run_query, substitute
from pipeline.dataprep.steps import run_steps

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Tables = dict[str, pd.DataFrame]
Floats = npt.NDArray[np.float64]

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample" / "flights"
STEPS = sorted((ROOT / "conf" / "sql" / "flights").glob("*.sql"))
SCHEMAS = {
    "flights": "year int, month int, day int, dep_time int, sched_dep_time int, dep_delay double, "
    "arr_time int, sched_arr_time int, arr_delay double, carrier string, flight int, "
    "tailnum string, origin string, dest string, air_time double, distance double, hour int, "
    "minute int, time_hour timestamp",
    "weather": "origin string, year int, month int, day int, hour int, temp double, dewp double, "
    "humid double, wind_dir double, wind_speed double, wind_gust double, precip double, "
    "pressure double, visib double, time_hour timestamp",
    "planes": "tailnum string, year int, type string, manufacturer string, model string, "
    "engines int, seats int, speed double, engine string",
    "airports": "faa string, name string, lat double, lon double, alt double, tz double, "
    "dst string, tzone string",
    "airlines": "carrier string, name string",
}
HOUR = 3600
LEVELS = {
    "origin": ["origin"],
    "segment": ["origin", "carrier"],
    "carrier": ["carrier"],
    "dest": ["dest"],
    "aircraft": ["tailnum"],
}
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
           "visib", "precip_3h", "pressure_change_3h", "visib_change_3h"]  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The sample. Only an empty cell is null: an airport or a carrier may be called NA."""
    return {
        name: pd.read_csv(SAMPLE / f"{name}.csv.gz", keep_default_na=False, na_values=[""])
        for name in SCHEMAS
    }


@pytest.fixture(scope="module")
def features(spark: SparkSession) -> pd.DataFrame:
    """The features of the committed sample, two hours ahead."""
    return features_of(spark, SAMPLE, 2)


def test_features_equal_their_definitions(features: pd.DataFrame, tables: Tables) -> None:
    assert_equal(features, oracle(tables, 2))


def test_every_flight_has_one_row(features: pd.DataFrame, tables: Tables) -> None:
    assert features.index.is_unique
    assert len(features) == len(tables["flights"])
    assert features["arr_delay"].isna().sum() == tables["flights"]["arr_delay"].isna().sum()


def test_neither_the_order_of_rows_nor_partitions_matter_and_the_horizon_is_a_parameter(
    spark: SparkSession, tables: Tables, tmp_path: Path
) -> None:
    shuffled = {name: rows.sample(frac=1, random_state=7) for name, rows in tables.items()}
    write(shuffled, tmp_path)
    found = features_of(spark, tmp_path, 3.5, lambda df: df.repartition(7))
    assert_equal(found, oracle(tables, 3.5))


def test_what_becomes_known_after_the_horizon_changes_nothing(
    spark: SparkSession, features: pd.DataFrame, tables: Tables, tmp_path: Path
) -> None:
    # A flight at a moment when much is undecided: many flights wait to leave its origin.
    flight = features["origin_waiting_minutes"].idxmax()
    as_of = int(features.loc[flight, "scheduled_departure"]) - 2 * HOUR
    write(with_another_future(tables, as_of), tmp_path)
    found = features_of(spark, tmp_path, 2)

    changed = [name for name in found if not equal(found[name], features[name]).all()]
    assert len(changed) > 30, "the other future must be another one"
    before = features.drop(columns="arr_delay").loc[[flight]]
    assert_equal(found.drop(columns="arr_delay").loc[[flight]], before)


def features_of(
    spark: SparkSession,
    folder: Path,
    horizon_hours: float,
    arrange: Callable[[DataFrame], DataFrame] = lambda df: df,
) -> pd.DataFrame:
    """The last step's rows over the tables in ``folder``."""
    views = {
        name: arrange(spark.read.csv(str(folder / f"{name}.csv.gz"), schema=schema, header=True))
        for name, schema in SCHEMAS.items()
    }
    steps = [(re.sub(r"^\d+_", "", path.stem), path.read_text()) for path in STEPS]
    texts = substitute(steps, {"horizon_hours": horizon_hours})
    queries = [(name, partial(run_query, spark, name, text)) for name, text in texts]
    return collected(run_steps(spark, queries, views))


def collected(frame: DataFrame) -> pd.DataFrame:
    """By flight, the departure in unix seconds, so that no local time zone has a say."""
    from pyspark.sql import functions as F

    seconds = F.unix_seconds("scheduled_departure").cast("double")
    rows = frame.withColumn("scheduled_departure", seconds).toPandas()
    return rows.set_index("flight_id").sort_index()


def write(tables: Tables, folder: Path) -> None:
    for name, rows in tables.items():
        whole = rows.select_dtypes("float").columns
        text = rows.astype({c: "Int64" for c in whole if (rows[c].dropna() % 1 == 0).all()})
        text.to_csv(folder / f"{name}.csv.gz", index=False)


def equal(found: pd.Series[Any], expected: pd.Series[Any]) -> pd.Series[bool]:
    both_null = found.isna() & expected.isna()
    if pd.api.types.is_numeric_dtype(expected):
        a, b = found.astype(float), expected.astype(float)
        return both_null | ((a - b).abs() <= 1e-9 * np.maximum(1, b.abs()))
    return both_null | (found == expected)


def assert_equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert set(found) == set(expected)
    assert found.index.equals(expected.index)
    for name in expected:
        same = equal(found[name], expected[name])
        assert same.all(), (
            f"{name}: {int((~same).sum())} flights differ, such as "
            f"{pd.DataFrame({'found': found[name], 'expected': expected[name]})[~same].head(3)}"
        )


def with_another_future(tables: Tables, as_of: int) -> Tables:
    """The tables as they would be, had all turned out otherwise after ``as_of``."""
    flights, weather = tables["flights"].copy(), tables["weather"].copy()
    times = instants(tables, 0)
    leaves_later = ~(times["departed_at"] <= as_of)  # or never
    lands_later = ~(times["arrived_at"] <= as_of)

    # Every second of the flights still to leave is cancelled, the others leave later still, and
    # those that never left now do.
    later = np.maximum(0, as_of - times["scheduled_at"]) / 60 + 61
    cancelled = leaves_later & (np.arange(len(flights)) % 2 == 0)
    flights.loc[leaves_later, "dep_delay"] = later[leaves_later]
    flights.loc[leaves_later, ["dep_time", "arr_time", "air_time"]] = [1111, 1212, 33]
    still = np.maximum(0, as_of - times["scheduled_arrival_at"]) / 60
    flights.loc[lands_later, "arr_delay"] = still[lands_later] + 77
    flights.loc[cancelled, ["dep_delay", "dep_time", "arr_delay", "arr_time", "air_time"]] = np.nan

    unseen = seconds(weather["time_hour"]) > as_of
    for name in ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]:
        weather.loc[unseen, name] = weather.loc[unseen, name] + 5
    return tables | {"flights": flights, "weather": weather}


def seconds(instant: pd.Series[Any]) -> pd.Series[int]:
    return pd.to_datetime(instant, utc=True).astype("datetime64[s, UTC]").astype("int64")


def instants(tables: Tables, horizon_hours: float) -> pd.DataFrame:
    """Per flight, its instants in unix seconds."""
    flights = tables["flights"]
    zones = tables["airports"].set_index("faa")["tzone"]
    clock = pd.to_datetime(flights[["year", "month", "day"]]) + pd.to_timedelta(
        flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100, unit="min"
    )
    zone = flights["dest"].map(zones).fillna("America/Puerto_Rico")
    times = pd.DataFrame({"scheduled_at": seconds(flights["time_hour"]) + flights["minute"] * 60})
    same_day, next_day = (
        pd.concat([in_zone(start[zone == z], z) for z in zone.unique()]).sort_index()
        for start in (clock, clock + pd.Timedelta("1D"))
    )
    times["scheduled_arrival_at"] = same_day.where(same_day > times["scheduled_at"], next_day)
    times["as_of"] = times["scheduled_at"] - float(horizon_hours * HOUR)
    times["departed_at"] = times["scheduled_at"] + flights["dep_delay"] * 60
    times["arrived_at"] = times["scheduled_arrival_at"] + flights["arr_delay"] * 60
    return times


def in_zone(clock: pd.Series[Any], zone: str) -> pd.Series[int]:
    return seconds(clock.dt.tz_localize(zone, ambiguous=True, nonexistent=pd.Timedelta("1h")))


def oracle(tables: Tables, horizon_hours: float) -> pd.DataFrame:
    """The features by definition."""
    flights, times = tables["flights"], instants(tables, horizon_hours)
    planes = flights[["tailnum"]].merge(tables["planes"], "left", on="tailnum")
    day = pd.to_datetime(flights[["year", "month", "day"]])
    hour = flights.groupby(["origin", "time_hour"])["flight"]
    segment_hour = flights.groupby(["origin", "carrier", "time_hour"])["flight"]
    columns = {
        "flight_id": day.dt.strftime("%Y-%m-%d")
        .str.cat(flights["carrier"], "-")
        .str.cat(flights["flight"].astype(str), "-")
        .str.cat(flights["origin"], "-"),
        "scheduled_departure": times["scheduled_at"],
        **{name: flights[name] for name in ["origin", "carrier", "dest", "arr_delay", "distance"]},
        "departure_minute": flights["hour"] * 60 + flights["minute"],
        "arrival_minute": flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100,
        "weekday": day.dt.weekday,
        "block_minutes": (times["scheduled_arrival_at"] - times["scheduled_at"]) // 60,
        "departures_in_hour": hour.transform("size"),
        "segment_departures_in_hour": segment_hour.transform("size"),
        "plane_age": flights["year"] - planes["year"],
        "seats": planes["seats"],
        "engines": planes["engines"],
    }
    for level in LEVELS:
        columns |= history(flights, times, level)
    whole = pd.DataFrame(columns).join(weather_seen(tables, times)).join(last_leg(flights, times))
    return whole.set_index("flight_id").sort_index()


def history(flights: pd.DataFrame, times: pd.DataFrame, level: str) -> dict[str, pd.Series[Any]]:
    """Each flight against all flights of its group, fact by fact."""
    parts = [
        group_history(flights.loc[rows], times.loc[rows])
        for rows in flights.groupby(LEVELS[level]).groups.values()
    ]
    found = pd.concat(parts).add_prefix(f"{level}_")
    unused = {"arrival_delay_4h"} if level != "dest" else set()
    unused |= {"delay_2h", "waiting"} if level == "aircraft" else set()
    return {name: found[name] for name in found if name.removeprefix(f"{level}_") not in unused}


def group_history(flights: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    now = times["as_of"].to_numpy()[:, None]
    left, landed, due = (
        times[name].to_numpy(float)[None, :]
        for name in ["departed_at", "arrived_at", "scheduled_at"]
    )

    def mean(at: Floats, hours: int, delay: str) -> Floats:
        known = (at <= now) & (at >= now - hours * HOUR)
        total = known @ flights[delay].fillna(0).to_numpy()
        count = known.sum(axis=1)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    waiting = (due <= now) & ~(left <= now) & (now < due + 4 * HOUR)
    return pd.DataFrame(
        {
            "delay_2h": mean(left, 2, "dep_delay"),
            "delay_24h": mean(left, 24, "dep_delay"),
            "delay_7d": mean(left, 7 * 24, "dep_delay"),
            "arrival_delay_4h": mean(landed, 4, "arr_delay"),
            "waiting": waiting.sum(axis=1),
            "waiting_minutes": np.where(waiting, now - due, 0).sum(axis=1) / 60,
        },
        index=flights.index,
    )


def weather_seen(tables: Tables, times: pd.DataFrame) -> pd.DataFrame:
    weather = tables["weather"].assign(at=seconds(tables["weather"]["time_hour"]))
    weather.loc[weather["wind_speed"] >= 200, "wind_speed"] = np.nan
    key = ["origin", "at"]
    for hours in (1, 2, 3):
        past = weather[[*key, "precip", "pressure", "visib"]].assign(
            at=weather["at"] + hours * HOUR
        )
        weather = weather.merge(past, "left", on=key, suffixes=("", f"_{hours}"))
    rain = weather[["precip", "precip_1", "precip_2", "precip_3"]]
    weather["precip_3h"] = rain.sum(axis=1, min_count=1)
    weather["pressure_change_3h"] = weather["pressure"] - weather["pressure_3"]
    weather["visib_change_3h"] = weather["visib"] - weather["visib_3"]
    questions = pd.DataFrame(
        {"origin": tables["flights"]["origin"], "as_of": times["as_of"].astype("int64")}
    )
    return pd.merge_asof(
        questions.reset_index().sort_values("as_of"),
        weather.sort_values("at")[[*key, *WEATHER]],
        left_on="as_of",
        right_on="at",
        by="origin",
        tolerance=6 * HOUR,
    ).set_index("index")[WEATHER]


def last_leg(flights: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    rows = flights[["tailnum", "dep_delay", "arr_delay"]].join(times).dropna(subset=["tailnum"])
    legs = rows.dropna(subset=["departed_at"]).drop(columns=["as_of"])
    pairs = pd.merge_asof(
        rows[["tailnum", "as_of", "scheduled_at"]].reset_index().sort_values("as_of"),
        legs.rename(columns={"scheduled_at": "leg_scheduled_at"}).sort_values("departed_at"),
        left_on="as_of",
        right_on="departed_at",
        by="tailnum",
        tolerance=24.0 * HOUR,
    ).set_index("index")
    now, due = pairs["as_of"], pairs["scheduled_at"]
    block = pairs["scheduled_arrival_at"] - pairs["leg_scheduled_at"]
    landed = pairs["arrived_at"] <= now
    down = pairs["arrived_at"].where(landed, pairs["departed_at"] + block)
    return pd.DataFrame(
        {
            "leg_age": (now - pairs["departed_at"]) / 60,
            "leg_departure_delay": pairs["dep_delay"],
            "leg_arrival_delay": pairs["arr_delay"].where(landed),
            "leg_block_minutes": block / 60,
            "scheduled_slack": (due - pairs["scheduled_arrival_at"] - block) / 60,
            "expected_slack": (due - down - block) / 60,
        }
    )
