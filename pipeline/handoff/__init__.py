"""Spark to Ray: committed Parquet becomes Arrow blocks in Ray's object store."""
