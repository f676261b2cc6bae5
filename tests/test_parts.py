"""``make test`` runs every file of tests once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.__main__ import TESTS, parts


def test_every_file_of_tests_is_in_one_part() -> None:
    places = [place for part in parts() for place in part.places]
    files = [file for place in places for file in ([place] if place.is_file() else _files(place))]
    assert sorted(files) == sorted(_files(TESTS))


def _files(folder: Path) -> Iterator[Path]:
    return folder.rglob("test_*.py")
