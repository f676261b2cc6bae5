"""Workloads by which speed is judged; not timed tests."""
