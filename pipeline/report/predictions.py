"""The plots of the held-out test, from the predictions themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.report.blocks import Figure
from pipeline.report.files import sample_rows
from pipeline.report.inputs import ReportInputs
from pipeline.report.plots import heldout
from pipeline.report.visible import label

MAX_ROWS = 500_000
_PERIODS = ((120, 1, "day"), (70 * 7, 7, "week"), (float("inf"), 30, "30 days"))


def plots(inputs: ReportInputs) -> tuple[tuple[Figure, ...], str]:
    """The plots, and what to say about the rows behind them."""
    folder = inputs.file("infer", "predictions")
    target = inputs.target
    if folder is None or target is None or not any(folder.rglob("*.parquet")):
        return (), "There are no predictions with a known truth to plot."
    names = [target, "prediction", "baseline", inputs.time_column or ""]
    frame, step = sample_rows(folder, names, MAX_ROWS)
    frame = _scored(frame, target)
    if frame.empty:
        return (), "None of the scored rows has a known truth yet, so no errors can be plotted."
    said = f"The plots use every {step:,}th row." if step > 1 else ""
    return tuple(_figures(frame, inputs, target)), said


def _scored(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Rows with a truth and a prediction that are finite numbers."""
    if not {target, "prediction"} <= set(frame.columns):
        return frame.iloc[:0]
    numeric = frame[[target, "prediction"]].apply(pd.to_numeric, errors="coerce")
    known = np.isfinite(numeric.to_numpy(dtype=float)).all(axis=1)
    scored: pd.DataFrame = frame.loc[known]
    return scored


def _figures(frame: pd.DataFrame, inputs: ReportInputs, target: str) -> list[Figure]:
    unit = label(inputs.target_unit, 12) if inputs.target_unit else ""
    actual = frame[target].to_numpy(dtype=float)
    predicted = frame["prediction"].to_numpy(dtype=float)
    guessed = np.full(len(frame), np.nan)
    if "baseline" in frame:
        guessed = frame["baseline"].to_numpy(dtype=float)
    known = np.isfinite(guessed)
    figures = [
        heldout.density(actual, predicted, target, unit),
        heldout.residuals(predicted - actual, (guessed - actual)[known], unit),
        heldout.calibration(actual, predicted, unit),
    ]
    if inputs.time_column in frame.columns:
        errors = pd.DataFrame(
            {"at": frame[inputs.time_column], "m": predicted - actual, "b": guessed - actual}
        )
        over_time = _over_time(errors, unit)
        figures += [over_time] if over_time is not None else []
    return figures


def _over_time(errors: pd.DataFrame, unit: str) -> Figure | None:
    """Root mean square per day, or per longer step where there are many days."""
    at = pd.to_datetime(errors["at"], utc=True, errors="coerce").dt.tz_localize(None)
    errors = errors[at.notna()].assign(at=at.dropna().dt.floor("D"))
    days = (errors["at"].max() - errors["at"].min()).days if len(errors) else 0
    if days < 2:
        return None
    size, step = next((size, name) for most, size, name in _PERIODS if days <= most)
    origin = errors["at"].min()
    bucket = origin + pd.to_timedelta((errors["at"] - origin).dt.days // size * size, unit="D")
    squares = (errors[["m", "b"]] ** 2).groupby(bucket).mean() ** 0.5
    return heldout.over_time(
        squares.index.to_numpy(dtype="datetime64[D]"),
        squares["m"].to_numpy(dtype=float),
        squares["b"].to_numpy(dtype=float),
        unit,
        step,
    )
