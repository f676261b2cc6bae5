"""``pipeline init``: from tables that nobody here has seen to a configuration that runs."""

from pipeline.starter.write import Assumption, write_starter

__all__ = ["Assumption", "write_starter"]
