"""What champions say of a row, and the columns that it becomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator

from pipeline.errors import StoreError
from pipeline.models.entry import ModelEntry, Prediction
from pipeline.training.objective import Floats, outputs


@dataclass(frozen=True)
class Outputs:
    """One number a row; or a probability a class; or a value a quantile.

    Attributes:
        classes: all classes that any champion knows, sorted; none of other tasks.
        quantiles: ascending; none of other tasks.
    """

    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[ModelEntry]) -> Outputs:
        """What a version's champions say.

        Raises:
            StoreError: they were trained for different tasks or quantiles.
        """
        kinds = {(bool(entry.classes), entry.quantiles): entry.classes for entry in entries}
        if len(kinds) > 1:
            raise StoreError(
                "The champions of this version were trained for different tasks or quantiles.",
                hint="Promote one version as a whole.",
            )
        known = {name for entry in entries for name in entry.classes}
        quantiles = next(iter(kinds))[1] if kinds else ()
        return cls(tuple(sorted(known)), quantiles)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is said of one row."""
        width = len(self.classes) or len(self.quantiles)
        return (width,) if width else ()

    def predict(self, model: BaseEstimator, X: pd.DataFrame) -> Floats:
        return outputs(model, X, self.classes, self.quantiles)

    def baselines(self, values: list[Prediction]) -> Floats:
        """(n_segments, *shape) the baselines of some segments."""
        return np.array(values, dtype=np.float64).reshape(-1, *self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns beside ``prediction``: ``probability_<class>`` or ``quantile_<level>``."""
        return (
            *(probability_column(name) for name in self.classes),
            *(quantile_column(level) for level in self.quantiles),
        )

    def prediction(self, values: Floats) -> pa.Array:
        """Of (n_samples, *shape) the one value a row that stands for all.

        The likeliest class, of equal ones the first; the quantile nearest to the median, of
        equally near ones the lower; or the number itself.
        """
        if self.classes:
            likeliest = pa.array(values.argmax(axis=1), pa.int32())
            names = pa.array(self.classes, pa.string())
            return pa.DictionaryArray.from_arrays(likeliest, names).cast(pa.string())
        if self.quantiles:
            middle = int(np.argmin(np.abs(np.array(self.quantiles) - 0.5)))
            return pa.array(values[:, middle])
        return pa.array(values)

    def columns(self, values: Floats) -> dict[str, pa.Array]:
        """``prediction``, then the column of each class or quantile."""
        each = {name: pa.array(values[:, i]) for i, name in enumerate(self.names)}
        return {"prediction": self.prediction(values), **each}

    def values(self, table: pa.Table) -> Floats:
        """(n_samples, *shape) out of the columns again."""
        if not self.shape:
            return np.asarray(table.column("prediction").to_numpy(), dtype=np.float64)
        return np.column_stack([table.column(name).to_numpy() for name in self.names])


def probability_column(name: str) -> str:
    """``probability_`` and the class in percent-encoding, which ``urllib.parse.unquote`` reverts.

    Letters and digits of ASCII, ``_`` and ``-`` stand as they are; all else, the dot included, is
    written as the bytes of its UTF-8, so that no engine trips over the name.
    """
    return "probability_" + quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def quantile_column(level: float) -> str:
    """``quantile_0_025`` for 0.025."""
    return "quantile_" + np.format_float_positional(level, trim="0").replace(".", "_")
