"""How each candidate did over all segments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pipeline.report.files import read_columns
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import mapping, number

_COLUMNS = ["segment", "candidate", "scope", "status", "score", "seconds"]


@dataclass(frozen=True)
class Standing:
    candidate: str
    wins: float
    rank: float | None
    score: float | None
    fits: int
    failed: int
    seconds: float


def standings(inputs: ReportInputs) -> list[Standing]:
    """The candidates, most wins first.

    Ranks compare the mean scores of a segment's candidates; a pooled
    candidate has a score in every segment, but was fitted only once a fold (segment ``*``).
    """
    wins = mapping(inputs.metrics("train"), "champions_by_candidate")
    fits = read_columns(inputs.file("train", "leaderboard.parquet"), _COLUMNS)
    if fits is None or not set(_COLUMNS) <= set(fits.columns) or fits.empty:
        bare = [Standing(n, number(wins, n) or 0, None, None, 0, 0, 0.0) for n in wins]
        return sorted(bare, key=_order)
    fits["candidate"] = fits["candidate"].astype(str)
    fits = fits[fits["status"] != "skipped"]
    made = fits[fits["scope"].isin(["own", "blend"]) | (fits["segment"] == "*")]
    scored = fits[fits["segment"] != "*"]
    means = scored.groupby(["segment", "candidate"], dropna=False)["score"].mean()
    ranks = means.groupby("segment", dropna=False).rank(
        method="min", ascending=not inputs.greater_is_better
    )
    by_name = pd.DataFrame(
        {
            "rank": ranks.groupby("candidate").mean(),
            "score": means.groupby("candidate").mean(),
            "fits": made.groupby("candidate").size(),
            "failed": (made["status"] == "failed").groupby(made["candidate"]).sum(),
            "seconds": made.groupby("candidate")["seconds"].sum(),
        }
    ).fillna({"fits": 0, "failed": 0, "seconds": 0.0})
    found = [
        Standing(
            str(row.Index),
            number(wins, str(row.Index)) or 0,
            _finite(float(str(row.rank))),
            _finite(float(str(row.score))),
            int(float(str(row.fits))),
            int(float(str(row.failed))),
            float(str(row.seconds)),
        )
        for row in by_name.itertuples()
    ]
    missing = [n for n in wins if n not in set(by_name.index)]
    found += [Standing(n, number(wins, n) or 0, None, None, 0, 0, 0.0) for n in missing]
    return sorted(found, key=_order)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _order(standing: Standing) -> tuple[float, float, str]:
    rank = standing.rank if standing.rank is not None else math.inf
    return (-standing.wins, rank, standing.candidate)
