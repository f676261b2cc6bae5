"""Finished units of an ingest, kept so that what has not changed is not read again.

A unit is a folder: ``good/`` and ``quarantine/`` with Parquet files, and ``unit.json``. One rename
publishes it. Its name says what was read and how: a hash of the raw files, and one of the source's
settings, the code and the libraries. What is found again is compared with the hashes of its files,
so nothing has to be synced here: a unit that a power failure has damaged is made anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipeline.store.artifact import describe_files
from pipeline.store.days import Days
from pipeline.store.fingerprint import digest, sha256_file
from pipeline.store.manifest import FileEntry

GOOD, BAD = "good", "quarantine"
_RECORD = "unit.json"
_WORK = ".work-"
_DIGITS = 16
_THREADS = 8


def unit_key(files: Mapping[str, str], how: str) -> str:
    """The name of the unit that files (path → content hash) make when they are read some way."""
    return f"{digest(dict(files))[:_DIGITS]}-{how}"


def way(settings: Mapping[str, Any]) -> str:
    """The half of a unit's name that says how it was read: a hash of all that shapes it."""
    return digest(dict(settings))[:_DIGITS]


@dataclass(frozen=True)
class RuleCount:
    """What a rule over single rows found.

    Attributes:
        checked, broken: rows that it was checked on, and that break it.
        first: the first of these, of a rule that does not set them aside: its file, its number
            there and the value that shows why.
    """

    checked: int
    broken: int
    first: tuple[str, int, str | None] | None = None

    def __add__(self, other: RuleCount) -> RuleCount:
        places = [count.first for count in (self, other) if count.first is not None]
        first = min(places, key=lambda place: place[:2], default=None)
        return RuleCount(self.checked + other.checked, self.broken + other.broken, first)


@dataclass(frozen=True)
class UnitRecord:
    """What a unit says of itself.

    Attributes:
        name: the file's path, or the partition's name, as people read it.
        rows_in, rows_out, rows_quarantined: with ``dropped`` the account of its rows.
        dropped: rows that each declared filter took out.
        rules: what each rule over single rows found.
        good_rows: raw file → its rows in ``good/``, which follow in this order.
        days: the partitions by date that it has rows of; none if it is not partitioned.
        corrected: of its last good rows, the file and row that each was corrected for.
        files: its files with their hashes.
    """

    name: str
    rows_in: int
    rows_out: int
    rows_quarantined: int
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    rules: dict[str, RuleCount] = dataclasses.field(default_factory=dict)
    good_rows: dict[str, int] = dataclasses.field(default_factory=dict)
    days: tuple[Days, ...] = ()
    corrected: tuple[tuple[str, int], ...] = ()
    files: tuple[FileEntry, ...] = ()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=date.isoformat, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> UnitRecord:
        data = json.loads(text)
        days = tuple(
            Days(date.fromisoformat(d["first"]), date.fromisoformat(d["last"]))
            for d in data.pop("days")
        )
        corrected = tuple((file, row) for file, row in data.pop("corrected"))
        files = tuple(FileEntry(**entry) for entry in data.pop("files"))
        rules = {
            name: RuleCount(c["checked"], c["broken"], c["first"] and tuple(c["first"]))
            for name, c in data.pop("rules").items()
        }
        return cls(days=days, corrected=corrected, files=files, rules=rules, **data)


def added(records: Sequence[UnitRecord]) -> UnitRecord:
    """The record of units together, but for their files and corrected rows."""
    dropped: Counter[str] = Counter()
    rules: dict[str, RuleCount] = {}
    for record in records:
        dropped.update(record.dropped)
        for name, count in record.rules.items():
            rules[name] = rules[name] + count if name in rules else count
    return UnitRecord(
        records[0].name,
        rows_in=sum(record.rows_in for record in records),
        rows_out=sum(record.rows_out for record in records),
        rows_quarantined=sum(record.rows_quarantined for record in records),
        dropped=dict(dropped),
        rules=rules,
        good_rows={file: n for record in records for file, n in record.good_rows.items()},
        days=tuple(sorted({days for record in records for days in record.days})),
    )


@dataclass(frozen=True)
class Unit:
    """A unit that is kept: its key, its folder and its record."""

    key: str
    folder: Path
    record: UnitRecord

    @property
    def good(self) -> list[Path]:
        """Parquet files of the good rows, in the order of the rows."""
        return self._files(GOOD)

    @property
    def bad(self) -> list[Path]:
        """Parquet files of the quarantined rows; none if no row is."""
        return self._files(BAD)

    def _files(self, below: str) -> list[Path]:
        paths = (entry.path for entry in self.record.files)
        return [self.folder / path for path in paths if path.startswith(f"{below}/")]

    def is_intact(self) -> bool:
        """Whether every file is as it was made; reads them all."""
        try:
            return all(
                (self.folder / entry.path).stat().st_size == entry.bytes
                and sha256_file(self.folder / entry.path) == entry.sha256
                for entry in self.record.files
            )
        except OSError:
            return False


@dataclass(frozen=True)
class UnitStore:
    """The units of one source of one pipeline, whose lock its writer must hold."""

    folder: Path

    def find(self, keys: Iterable[str]) -> dict[str, Unit]:
        """Those that are kept and intact, by key."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(self._open, dict.fromkeys(keys))
            return {unit.key: unit for unit in found if unit is not None}

    def of_same_files(self, key: str) -> Iterator[Unit]:
        """Intact units of the files of a key that were read some other way."""
        files = key.partition("-")[0]
        for folder in sorted(self.folder.glob(f"{files}-*")):
            if folder.name != key and (unit := self._open(folder.name)) is not None:
                yield unit

    def _open(self, key: str) -> Unit | None:
        folder = self.folder / key
        try:
            record = UnitRecord.from_json((folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            return None  # it is not there, or cut short: it is made again
        unit = Unit(key, folder, record)
        return unit if unit.is_intact() else None

    @contextmanager
    def working_folder(self) -> Iterator[Path]:
        """A folder beside the units to write in; it is gone afterwards."""
        folder = self.folder / f"{_WORK}{uuid.uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, key: str, work: Path, record: UnitRecord) -> Unit:
        """Publish what was written to ``work/good`` and ``work/quarantine``.

        Args:
            record: complete but for ``files``, which is filled in here.
        """
        complete = dataclasses.replace(record, files=tuple(describe_files(work)))
        (work / _RECORD).write_text(complete.to_json(), encoding="utf-8")
        folder = self.folder / key
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one, or one that is read again
        os.rename(work, folder)
        return Unit(key, folder, complete)

    def note_way(self, how: str, settings: Mapping[str, Any]) -> None:
        """Remember what a way stands for; see :meth:`settings_of`."""
        path = self._way(how)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(settings), ensure_ascii=False), encoding="utf-8")

    def settings_of(self, key: str) -> dict[str, Any] | None:
        """The settings of the way in which a unit was read, if they are known."""
        try:
            found = json.loads(self._way(key.partition("-")[2]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _way(self, how: str) -> Path:
        return self.folder / "ways" / f"{how}.json"

    def clear_leftovers(self) -> None:
        """Remove what a killed run left behind."""
        for folder in self.folder.glob(f"{_WORK}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def unused(self, used: Iterable[str]) -> list[Path]:
        """Folders of units other than some."""
        kept = {*used, "ways"}
        folders = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [path for path in folders if path.name not in kept]


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
