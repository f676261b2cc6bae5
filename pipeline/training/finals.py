"""Where the winners' last fits are kept: a file each, or bundles where there are very many."""

from __future__ import annotations

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.bundle import write_bundle
from pipeline.models.persistence import sha256
from pipeline.store.layout import write_bytes
from pipeline.training.segments import ALL, segment_id

MOST_FILES = 512
"""Winners beyond which those of segments go into bundles."""

BUNDLES = 256

Winner = tuple[str, str]
"""(segment or ``*``, candidate)."""


@dataclass(frozen=True)
class SavedModel:
    """A fitted winner on disk.

    Attributes:
        path: the file that holds it.
        sha256: of the model's bytes, in hex.
        member: its name in the file, if that is a bundle.
    """

    path: Path
    sha256: str
    member: str | None


@dataclass(frozen=True)
class FinalWork:
    """Winners that one task fits and saves in one file."""

    winners: tuple[Winner, ...]
    path: Path

    @property
    def bundled(self) -> bool:
        return self.path.suffix == ".zip"

    def saved(self, hashes: Sequence[str]) -> dict[Winner, SavedModel]:
        """The models, from the SHA-256 of each in the order of the winners."""
        return {
            winner: SavedModel(self.path, digest, _member(winner) if self.bundled else None)
            for winner, digest in zip(self.winners, hashes, strict=True)
        }


def plan_finals(winners: Mapping[Winner, bytes], folder: Path) -> list[FinalWork]:
    """What is fitted together, and where it is saved.

    Neither depends on the order of work. A file's name says what it depends on, so one that is
    there is whole and can be taken as it is.

    Args:
        winners: by winner, the key of its final fit.
        folder: where finished files are kept until the artifact is published.
    """
    if len(winners) <= MOST_FILES:
        return [FinalWork((w,), single_path(folder, key)) for w, key in winners.items()]
    shards: dict[int, list[Winner]] = defaultdict(list)
    singles = []
    for winner, key in winners.items():
        if winner[0] == ALL:
            singles.append(FinalWork((winner,), single_path(folder, key)))
        else:
            shards[hashlib.sha256(winner[0].encode()).digest()[0] % BUNDLES].append(winner)
    bundles = []
    for number, members in sorted(shards.items()):
        ordered = tuple(sorted(members))
        total = hashlib.sha256(b"".join(winners[winner] for winner in ordered)).hexdigest()
        bundles.append(FinalWork(ordered, folder / f"{number:02x}-{total[:32]}.zip"))
    return [*singles, *bundles]


def single_path(folder: Path, key: bytes) -> Path:
    """Where a winner's model lies that has a file of its own."""
    return folder / f"{key.hex()}.skops"


def save_finals(work: FinalWork, models: Sequence[bytes]) -> None:
    """Write the models of some winners, in their order, whole or not at all."""
    if not work.bundled:
        write_bytes(work.path, models[0])
        return
    members = {_member(winner): model for winner, model in zip(work.winners, models, strict=True)}
    write_bundle(work.path, members)


def saved_models(work: FinalWork) -> dict[Winner, SavedModel] | None:
    """The models that an earlier run or task saved; None where the file is not there."""
    if not work.path.exists():
        return None
    if not work.bundled:
        return work.saved([sha256(work.path.read_bytes())])
    with zipfile.ZipFile(work.path) as bundle:
        return work.saved([sha256(bundle.read(_member(winner))) for winner in work.winners])


def _member(winner: Winner) -> str:
    return f"{segment_id(winner[0])}.skops"
