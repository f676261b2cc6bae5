"""A limit on the threads of BLAS and OpenMP, so that results do not depend on the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Hold BLAS and OpenMP to a number of threads."""
    with _controller().limit(limits=threads):
        yield


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # Looking for the loaded libraries costs as much as a small fit, so it is done once, after the
    # import of the modules that load NumPy's, SciPy's BLAS and scikit-learn's OpenMP.
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401

    return ThreadpoolController()
