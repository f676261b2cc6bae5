"""Arrays are not looked through, frames are known as before, and nothing stays changed."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge  # what asks must have been imported

from pipeline.training.array_checks import quick_array_checks

asked = sys.modules.get("narwhals.stable.v2.dependencies")
pytestmark = pytest.mark.skipif(asked is None, reason="scikit-learn before 1.9 does not ask")


def test_answers_are_those_of_before_and_the_question_is_put_back() -> None:
    frame, column = pd.DataFrame({"a": [1.0]}), pd.Series([1.0])
    values = [np.ones((2, 2)), frame, column, pa.table({"a": [1]}), [[1.0]], None]
    plain = asked.is_into_dataframe, asked.is_into_series
    before = [[ask(value) for ask in plain] for value in values]
    with quick_array_checks(), quick_array_checks():
        quick = asked.is_into_dataframe, asked.is_into_series
        assert quick[0] is not plain[0]
        assert [[ask(value) for ask in quick] for value in values] == before
    assert (asked.is_into_dataframe, asked.is_into_series) == plain


def test_an_array_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_through(value: object) -> bool:
        raise AssertionError(f"looked through {type(value)}")

    monkeypatch.setattr(asked, "is_into_dataframe", looked_through)
    monkeypatch.setattr(asked, "is_into_series", looked_through)
    with quick_array_checks():
        Ridge().fit(np.eye(3), np.arange(3.0)).predict(np.eye(3))


def test_an_error_puts_the_question_back() -> None:
    plain = asked.is_into_dataframe
    with pytest.raises(KeyError), quick_array_checks():
        raise KeyError
    assert asked.is_into_dataframe is plain
