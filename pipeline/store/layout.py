"""The folders of a store. Outside readers rely on these places.

::

    STORE/artifacts/<stage>/<fingerprint>/manifest.json …   published, never changed
    STORE/runs/<run_id>/{run.json,events.jsonl,report.html}
    STORE/registry/                                         champions and their history
    STORE/mlflow/{mlflow.db,artifacts/}                     tracking, where it is asked for
    STORE/parts/<stage>/…                                   finished parts of a stage in work
    STORE/quarantine/<source>/corrections/<pipeline>.csv    corrected rows that an ingest takes
    STORE/quarantine/<source>/refused/<pipeline>/           of the last ingest, if it was refused
    STORE/locks/  STORE/cache/  STORE/schedule/             this machine's own book-keeping
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreError


@dataclass(frozen=True)
class Store:
    """A store's root folder and the places below it."""

    root: Path

    def artifact(self, stage: str, fingerprint: str) -> Path:
        return self.root / "artifacts" / stage / fingerprint

    def stage_folder(self, stage: str) -> Path:
        return self.root / "artifacts" / stage

    def parts(self, stage: str) -> Path:
        return self.root / "parts" / stage

    def corrections(self, source: str, pipeline: str) -> Path:
        return self.root / "quarantine" / source / "corrections" / f"{pipeline}.csv"

    def refused(self, source: str, pipeline: str) -> Path:
        return self.root / "quarantine" / source / "refused" / pipeline

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def tracking(self) -> Path:
        return self.root / "mlflow"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def schedule(self) -> Path:
        return self.root / "schedule"

    def check_writable(self) -> None:
        """Find a read-only store before any work starts.

        Raises:
            StoreError: naming the path and the cause.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".write-check-"):
                pass
        except OSError as error:
            raise StoreError(
                f"{self.root}: the store cannot be written: {error.strerror or error}",
                hint="Give this user write permission there, or set 'store' to another folder.",
            ) from error


def write_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees all of it or the one before."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or the one before: sync, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
