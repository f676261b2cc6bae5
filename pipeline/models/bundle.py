"""Many models in one file, so that 10⁵ segments do not make 10⁵ files.

A bundle is an uncompressed zip of model files. Each is read, and its hash checked, alone.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import StoreError

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path, members: Mapping[str, bytes]) -> None:
    """Write models, by name, as one file; equal members give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundle:
            for name in sorted(members):
                bundle.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), members[name])
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_member(path: Path, member: str) -> bytes:
    """The bytes of one model, unchecked: the caller compares their hash.

    Raises:
        StoreError: the file is no bundle, is damaged, or has no such member.
        OSError: the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            return bundle.read(member)
    # Damaged, without the member, cut, compressed in a way that Python lacks, or encrypted.
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise StoreError(
            f"{path}: model {member!r} cannot be read from this bundle: {error}.",
            hint="Restore the file from a backup, or train again.",
        ) from error
