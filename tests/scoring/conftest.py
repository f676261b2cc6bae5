"""Fixtures of these tests. Hypothesis keeps no deadline: other work shares these cores."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("shared-cores", deadline=None)
settings.load_profile("shared-cores")
