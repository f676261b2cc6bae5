"""What an artifact says of itself. The file is written last, so its presence means "whole"."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.store.layout import write_text

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact; ``path`` is relative to its folder, ``rows`` only for tables."""

    path: str
    bytes: int
    sha256: str
    rows: int | None


@dataclass(frozen=True)
class Manifest:
    """Everything needed to know how an artifact came to be and whether it is intact."""

    stage: str
    fingerprint: str
    pipeline: str
    config: dict[str, Any]
    inputs: dict[str, str]
    code_version: str
    versions: dict[str, str]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    files: tuple[FileEntry, ...]
    metrics: dict[str, Any]
    started_at: str
    seconds: float

    def write(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / MANIFEST, text + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read a published artifact's manifest.

    Raises:
        StoreError: there is none, or it is not one that this version can read.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(FileEntry(**entry) for entry in data.pop("files"))
        return Manifest(files=files, **data)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: not a readable manifest: {error}",
            hint="Remove this artifact's folder; the next run makes it again.",
        ) from error
