"""Finished fits, kept as they finish, so that a killed run does not make them again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.store.layout import write_text
from pipeline.training.result import FitResult


class FitJournal:
    """An append-only file: a line a fit, found again by its ``fit_key``.

    A kill can cut the last line short; reading stops there, and that fit is made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[FitResult]] = {}
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    record = json.loads(line)
                    found = [FitResult(**fit) for fit in record["results"]]
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                self._known[record["key"]] = found
                whole += len(line)
            with path.open("r+b") as file:
                file.truncate(whole)

    def get(self, key: str) -> list[FitResult] | None:
        """The results kept under a key: one, or those of a pooled fit for every segment."""
        return self._known.get(key)

    def add(self, key: str, results: Sequence[FitResult]) -> None:
        """Keep the results of one fit; they survive a kill of this process from here on."""
        self._known[key] = list(results)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(self._line(key) + "\n")

    def keep_only(self, keys: Collection[str]) -> None:
        """Forget all other fits; called when a run's artifact is published."""
        self._known = {key: self._known[key] for key in keys if key in self._known}
        write_text(self._path, "".join(self._line(key) + "\n" for key in self._known))

    def _line(self, key: str) -> str:
        return json.dumps({"key": key, "results": [r.record() for r in self._known[key]]})
