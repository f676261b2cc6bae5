"""Runs noted in MLflow: one a pipeline run, and below it one a segment. MLflow is imported late."""
