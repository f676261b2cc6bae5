"""Spark's half of the work, as DataFrame → DataFrame functions.

``ingest`` reads raw files, checks every row against the declared columns and sets broken rows
aside; ``sql`` runs the steps of ``preprocess``; ``features`` writes their result clustered by
segment; ``profile`` describes it.
"""
