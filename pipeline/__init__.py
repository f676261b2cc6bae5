"""Raw tables to many trained models and their predictions, across Spark and Ray.

The Python API is three functions: :func:`load_config`, :func:`plan` and :func:`run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import load_config
    from pipeline.driver import plan, run

__version__ = "0.1.0"
__all__ = ["__version__", "load_config", "plan", "run"]


def __getattr__(name: str) -> Any:
    # Lazy, because a Ray worker that imports pipeline.training should not pay for pydantic.
    if name == "load_config":
        from pipeline.config import load_config

        return load_config
    if name in ("plan", "run"):
        from pipeline import driver

        return getattr(driver, name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
