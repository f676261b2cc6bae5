"""Publish an artifact with one rename, read it back, and tell whether it is intact."""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.store.fingerprint import sha256_file, sha256_files
from pipeline.store.layout import Store
from pipeline.store.manifest import MANIFEST, FileEntry, Manifest, read_manifest

_WORK = ".work-"


@dataclass(frozen=True)
class Artifact:
    """A published artifact: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def damage(self) -> str | None:
        """What differs between the files and the manifest, in one line; None when intact.

        Every byte is read: a flipped one is found before it is used.
        """
        entries = self.manifest.files
        for entry in entries:
            try:
                size = (self.folder / entry.path).stat().st_size
            except OSError:
                return f"{entry.path} is missing"
            if size != entry.bytes:
                return f"{entry.path} has {size:,} bytes instead of {entry.bytes:,}"
        hashes = sha256_files(self.folder / entry.path for entry in entries)
        for entry, found in zip(entries, hashes, strict=True):
            if found != entry.sha256:
                return f"{entry.path} has another checksum than when it was published"
        return None

    def files(self, folder: str) -> list[Path]:
        """The artifact's files below one of its folders, in the manifest's order."""
        return [
            self.folder / entry.path
            for entry in self.manifest.files
            if entry.path.startswith(f"{folder}/")
        ]


def open_artifact(store: Store, stage: str, fingerprint: str) -> Artifact | None:
    """The artifact with this fingerprint, or None if none is published."""
    folder = store.artifact(stage, fingerprint)
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder)
    if (manifest.stage, manifest.fingerprint) != (stage, fingerprint):
        raise StoreError(
            f"{folder}: the manifest is of {manifest.stage} {manifest.fingerprint}",
            hint="The folder was moved or copied; remove it and run again.",
        )
    return Artifact(folder, manifest)


def published(store: Store, stage: str, pipeline: str | None = None) -> list[Artifact]:
    """All readable artifacts of a stage, oldest first."""
    found = []
    folder = store.stage_folder(stage)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not (path / MANIFEST).is_file():
            continue
        artifact = Artifact(path, read_manifest(path))
        if pipeline is None or artifact.manifest.pipeline == pipeline:
            found.append(artifact)
    return sorted(found, key=lambda a: a.manifest.started_at)


@dataclass(frozen=True)
class Outcome:
    """What a stage reports when its files are written; the rest of a manifest is known before."""

    rows_in: int
    rows_out: int
    rows_quarantined: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    """What was found of inputs that are known only when they are read; by name, as planned."""


@contextmanager
def working_folder(store: Store, stage: str) -> Iterator[Path]:
    """A temporary folder beside the target; gone afterwards unless it was published."""
    folder = store.stage_folder(stage) / f"{_WORK}{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(store: Store) -> list[Path]:
    """Remove what a killed run left behind. Call it only while holding the store's lock."""
    leftovers = sorted((store.root / "artifacts").glob(f"*/{_WORK}*"))
    leftovers += sorted((store.root / "artifacts").glob("*/.replaced-*"))
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)
    return leftovers


def publish(store: Store, folder: Path, manifest: Manifest) -> Artifact:
    """Sync the files, write the manifest last, and rename the folder into place.

    Args:
        manifest: complete but for ``files``, which is filled in here.
    """
    entries = describe_files(folder)
    complete = dataclasses.replace(manifest, files=tuple(entries))
    for entry in entries:
        _sync(folder / entry.path)
    complete.write(folder)
    target = store.artifact(manifest.stage, manifest.fingerprint)
    if target.exists():
        # A rename cannot replace a folder that is not empty. Only --force and a damaged
        # artifact come here; a crash between the two renames leaves the stage to be made again.
        os.rename(target, target.with_name(f".replaced-{uuid.uuid4().hex[:12]}"))
    os.rename(folder, target)
    _sync(target.parent)
    for old in target.parent.glob(".replaced-*"):
        shutil.rmtree(old, ignore_errors=True)
    return Artifact(target, complete)


def describe_files(folder: Path) -> list[FileEntry]:
    """Path, size, checksum and rows of every file below a folder, by path."""
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder).as_posix()
        entries.append(
            FileEntry(relative, path.stat().st_size, sha256_file(path), _parquet_rows(path))
        )
    return entries


def _parquet_rows(path: Path) -> int | None:
    if path.suffix != ".parquet":
        return None
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
