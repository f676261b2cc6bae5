"""Artifacts: where they lie, what identifies them, how they are published, checked and logged."""

from pipeline.store.artifact import Artifact
from pipeline.store.layout import Store
from pipeline.store.manifest import FileEntry, Manifest

__all__ = ["Artifact", "FileEntry", "Manifest", "Store"]
