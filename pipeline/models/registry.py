"""Versions of a pipeline's models, and which version is champion.

::

    STORE/registry/<pipeline>/versions/<version>.json   never changed; one entry a segment
    STORE/registry/<pipeline>/champion.json             generation, champion version, history

A promotion is one rename of ``champion.json``, so a reader sees the state before it or after it.
The history lies in the same file: it cannot disagree with the state that it led to. A promotion
of some segments only makes a version of its own, so the state is always one version.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pipeline.errors import LockedError, StoreError
from pipeline.models.entry import ModelEntry
from pipeline.models.version import (
    Version,
    list_versions,
    read_version,
    registry_folder,
    write_version,
)
from pipeline.store.layout import write_text

_LOCK_SECONDS = 30


@dataclass(frozen=True)
class Event:
    """One change of champion; ``previous`` is the version that was champion before."""

    generation: int
    action: Literal["promote", "rollback"]
    version: str
    previous: str | None
    at: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """The registry of one pipeline in one store.

    Args:
        store: the store's root.
        pipeline: the pipeline's name.
    """

    store: Path
    pipeline: str

    def register(self, entries: Iterable[ModelEntry]) -> Version:
        """Keep the models of one train artifact as a version; it is not champion by that.

        Registering the same models again gives the version that is there.
        """
        with self._lock():
            return write_version(self.store, self.pipeline, entries)

    def versions(self) -> list[str]:
        """Names of all versions, oldest first."""
        return list_versions(self.store, self.pipeline)

    def show(self, version: str) -> Version:
        """One version.

        Raises:
            StoreError: there is no such version, or its file is damaged.
        """
        return read_version(self.store, self.pipeline, version)

    def champions(self) -> Version | None:
        """The version that is champion, or None before the first promotion.

        Raises:
            StoreError: the registry's files are damaged.
        """
        history = self.history()
        return self.show(history[-1].version) if history else None

    def history(self) -> list[Event]:
        """Every change of champion, oldest first."""
        try:
            text = self._pointer.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [Event(**event) for event in json.loads(text)["history"]]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._pointer}: damaged: {error}.",
                hint="Restore it from a backup, or delete it and promote a version again.",
            ) from error

    def promote(
        self, version: str, *, segments: Collection[str] | None = None, reason: str = ""
    ) -> Event:
        """Make a version champion, for all segments or for some.

        Args:
            version: its name.
            segments: keys of the segments that change; None for all. The others keep their model.
            reason: why, for the history.

        Raises:
            StoreError: no such version, or it lacks one of the segments.
        """
        with self._lock():
            self._check_models(self.show(version))
            if segments is not None:
                version = self._merged(version, segments)
            return self._point_at("promote", version, reason)

    def rollback(self, *, reason: str = "") -> Event:
        """Go back to the version that was champion before the last change that stands.

        Rolling back twice goes two promotions back.

        Raises:
            StoreError: there is no version to go back to.
        """
        with self._lock():
            standing = _standing(self.history())
            if len(standing) < 2:
                raise StoreError(
                    f"Pipeline {self.pipeline!r} has no earlier champion to go back to.",
                    hint="List the versions and promote one of them.",
                )
            self._check_models(self.show(standing[-2]))
            return self._point_at("rollback", standing[-2], reason)

    @property
    def _pointer(self) -> Path:
        return registry_folder(self.store, self.pipeline) / "champion.json"

    def _point_at(self, action: Literal["promote", "rollback"], version: str, why: str) -> Event:
        history = self.history()
        last = history[-1] if history else None
        if last and action == "promote" and last.version == version:
            return last
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        event = Event(
            (last.generation if last else 0) + 1,
            action,
            version,
            last.version if last else None,
            now,
            why,
        )
        state: dict[str, Any] = {
            "generation": event.generation,
            "version": version,
            "history": [asdict(e) for e in (*history, event)],
        }
        write_text(self._pointer, json.dumps(state, indent=1, ensure_ascii=False) + "\n")
        return event

    def _merged(self, version: str, segments: Collection[str]) -> str:
        challenger = self.show(version)
        champion = self.champions()
        missing = sorted(set(segments) - set(challenger.entries))
        if missing:
            raise StoreError(f"Version {version} has no model for segment {', '.join(missing)}.")
        if champion is None:
            raise StoreError(
                "Some segments can be promoted only beside a champion of the others.",
                hint=f"Promote all of {version} first.",
            )
        kept = {**champion.entries, **{key: challenger.entries[key] for key in segments}}
        return write_version(self.store, self.pipeline, kept.values()).name

    def _check_models(self, version: Version) -> None:
        """A champion whose files are gone would fail at the next scoring, not here."""
        files = {entry.file for entry in version.entries.values() if entry.file}
        for file in sorted(files):
            if not (self.store / file).is_file():
                raise StoreError(
                    f"Version {version.name} cannot be champion: {file} is missing in the store.",
                    hint="Promote another version, or train again.",
                )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        folder = registry_folder(self.store, self.pipeline)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout as error:
            raise LockedError(
                f"The registry of pipeline {self.pipeline!r} is being written by another process.",
                hint="Try again when it has ended.",
            ) from error
        try:
            yield
        finally:
            lock.release()


def _standing(history: list[Event]) -> list[str]:
    """The champions that a rollback can reach: a stack of promotions, less those rolled back."""
    stack: list[str] = []
    for event in history:
        if event.action == "promote":
            stack.append(event.version)
        elif stack:
            stack.pop()
    return stack
