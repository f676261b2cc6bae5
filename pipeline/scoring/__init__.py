"""Predictions of new rows, their error and their drift. Ray is named in ``tasks`` alone."""
