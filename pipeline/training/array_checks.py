"""Whether an array is a data frame: the question scikit-learn puts ten times a fit, answered fast.

scikit-learn 1.9 asks narwhals, which looks through the ancestors of the array's class for the
attributes of a dozen kinds of frames: about 20 µs each time, which is a fifth of a fit of a few
hundred rows. That a NumPy array is none is known at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

Question = Callable[[Any], bool]

_ASKED = "narwhals.stable.v2.dependencies"
_QUESTIONS = ("is_into_dataframe", "is_into_series")


@contextmanager
def quick_array_checks() -> Iterator[None]:
    """Within it, NumPy arrays are not looked through; nothing else changes, and no answer does."""
    asked = sys.modules.get(_ASKED)  # not there before scikit-learn 1.9, which does not ask
    if asked is None or not all(hasattr(asked, name) for name in _QUESTIONS):
        yield
        return
    slow = {name: _original(getattr(asked, name)) for name in _QUESTIONS}
    try:
        for name, question in slow.items():
            setattr(asked, name, _quick(question))
        yield
    finally:
        for name, question in slow.items():
            setattr(asked, name, question)


@cache
def _quick(question: Question) -> Question:
    def answer(value: Any) -> bool:
        return type(value) is not np.ndarray and question(value)

    answer.__wrapped__ = question  # type: ignore[attr-defined]
    return answer


def _original(question: Question) -> Question:
    # Within another thread's or caller's `with` the quick one is found.
    found: Question = getattr(question, "__wrapped__", question)
    return found
