"""``report``: the HTML page."""

from __future__ import annotations

from pipeline.config.section import Count, Section


class ReportConfig(Section):
    """One self-contained page over what was committed."""

    title: str | None = None
    segments_shown: Count = 40
    profile_columns: Count = 60
