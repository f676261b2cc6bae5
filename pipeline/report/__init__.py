"""The report: one self-contained HTML page over what a run committed.

Call :func:`pipeline.report.page.render`. Nothing is imported here, because matplotlib must stay
out of the way of ``pipeline plan`` and ``pipeline --help``.
"""
