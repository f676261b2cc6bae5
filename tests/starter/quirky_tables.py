"""Folders of tables as people send them; each with a quirk, none made for this pipeline."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[list[str]]
DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(200)]


def write(path: Path, rows: Rows, delimiter: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{delimiter.join(row)}\n" for row in rows)
    path.write_bytes(text.encode(encoding))


def german(folder: Path) -> None:
    """Semicolons, decimal commas, days first, umlauts in ISO-8859-1, blanks in names."""
    chance = random.Random(1)
    head = ["Bestell-Nr.", "Bestelldatum", "Filiale", "Größe", "Umsatz in EUR"]
    rows = [
        [
            f"{number:05d}",
            f"{DAYS[number % 200]:%d.%m.%Y}",
            ["Köln", "Düsseldorf", "Bonn"][number % 3],
            str(chance.randint(1, 9)),
            f"{chance.uniform(800, 3000):,.2f}".translate(str.maketrans(",.", ".,")),
        ]
        for number in range(600)
    ]
    write(folder / "verkauf.csv", [head, *rows], ";", "iso-8859-1")
    (folder / "liesmich.md").write_text("nicht lesen")


def zoned(folder: Path) -> None:
    """Times with an offset that changes; a leaking column; a target that is missing at times."""
    chance = random.Random(2)
    head = ["event_id", "at", "sensor", "load", "checked_load", "unit"]
    start = datetime(2024, 3, 1, tzinfo=timezone(timedelta(hours=1)))
    rows = []
    for number in range(700):
        at = start + timedelta(hours=number)
        summer = at.astimezone(timezone(timedelta(hours=1 + (at.month > 3))))
        value = f"{chance.gauss(50, 9):.3f}" if number % 9 else ""
        after = f"{chance.gauss(50, 9):.3f}" if value else ""
        sensor = "abc"[number % 3]
        rows.append([f"e{number}", summer.isoformat(), sensor, value, after, "kW"])
    write(folder / "events.csv", [head, *rows])


def reordered(folder: Path) -> None:
    """A file a month, the header in another order in one; another table beside them."""
    chance = random.Random(3)
    for month in (1, 2, 3):
        days = [day for day in DAYS if day.month == month]
        rows = [
            [day.isoformat(), store, str(chance.randint(0, 90)), f"{chance.uniform(1, 9):.2f}"]
            for day in days
            for store in ("s1", "s2", "s3")
        ]
        head = ["day", "store", "units", "price"]
        order = [2, 0, 3, 1] if month == 2 else [0, 1, 2, 3]
        lines = [[row[position] for position in order] for row in [head, *rows]]
        write(folder / f"sales_2024_{month:02d}.csv", lines)
    write(folder / "stores.csv", [["store", "region"], ["s1", "n"], ["s2", "n"], ["s3", "s"]])


def marked(folder: Path) -> None:
    """Missing values as ``?`` and ``-999``, thousands with commas, tabs between cells."""
    chance = random.Random(4)
    head = ["id", "taken", "temp", "income", "level"]
    rows = [
        [
            str(number),
            f"{DAYS[number % 200]:%m/%d/%Y}",
            "-999" if number % 11 == 0 else f"{chance.gauss(12, 5):.1f}",
            "?" if number % 13 == 0 else f'"{chance.randint(900, 99_000):,}"',
            f"{chance.random():.4f}",
        ]
        for number in range(500)
    ]
    write(folder / "readings.tsv", [head, *rows], "\t")


def timeless(folder: Path) -> None:
    """No time and no key; the target is a text; some rows are equal."""
    chance = random.Random(5)
    head = ["sepal", "petal", "colour", "species"]
    rows = []
    for _ in range(400):
        kind = chance.choice(["setosa", "virginica", "versicolor"])
        size = len(kind) / 3
        colour = chance.choice(["red", "blue", "white"])
        rows.append([f"{chance.gauss(size, 1):.0f}", f"{chance.gauss(9, 1):.0f}", colour, kind])
    write(folder / "flowers.csv", [head, *rows, *rows[:20]])


def wide(folder: Path) -> None:
    """300 columns, one of them constant, one empty, one a long text."""
    chance = random.Random(6)
    head = ["row", "when", *(f"x{n}" for n in range(1, 295)), "same", "none", "remark", "y"]
    rows = [
        [
            str(number),
            f"{DAYS[number // 2]} {number % 24:02d}:00:00",
            *(f"{chance.random():.3f}" for _ in range(294)),
            "1",
            "",
            " ".join(chance.choice(["one", "two", "three", "four"]) for _ in range(40)),
            f"{chance.random():.3f}",
        ]
        for number in range(300)
    ]
    write(folder / "wide.csv", [head, *rows])


def tiny(folder: Path) -> None:
    """40 rows."""
    chance = random.Random(7)
    rows = [[str(DAYS[n]), f"{n % 5}", f"{n + chance.random():.2f}"] for n in range(40)]
    write(folder / "tiny.csv", [["day", "kind", "y"], *rows])


def typed(folder: Path) -> None:
    """Parquet in parts; a dot in a name."""
    chance = random.Random(8)
    for part in range(2):
        days = DAYS[part * 100 : part * 100 + 100]
        table = pa.table(
            {
                "day": pa.array(days, pa.date32()),
                "shop": pa.array(["a", "b"] * 50).dictionary_encode(),
                "units.sold": pa.array([chance.randint(0, 9) for _ in days], pa.int32()),
                "tags": pa.array([["x"]] * 100),
                "sold": pa.array([chance.random() for _ in days]),
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"part-{part}.parquet")


def logged(folder: Path) -> None:
    """JSON lines with nested objects; a dot in a name."""
    chance = random.Random(9)
    lines = [
        json.dumps(
            {
                "id": number,
                "at": f"{DAYS[number % 200]}T08:00:00Z",
                "from": {"host": f"h{number % 4}", "port": 80 + number % 2},
                "tags": ["a"],
                "user.name": f"u{number % 3}",
                "took": round(chance.random(), 4),
            }
        )
        for number in range(400)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")


QUIRKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "german": (german, "Umsatz in EUR"),
    "zoned": (zoned, "load"),
    "reordered": (reordered, "units"),
    "marked": (marked, "level"),
    "timeless": (timeless, "species"),
    "wide": (wide, "y"),
    "tiny": (tiny, "y"),
    "typed": (typed, "sold"),
    "logged": (logged, "took"),
}
"""By name: what writes a folder, and the target."""


def folders(root: Path) -> Iterator[tuple[str, Path, str]]:
    """Write all of them below ``root``: name, folder, target."""
    for name, (make, target) in QUIRKS.items():
        make(root / name)
        yield name, root / name, target
