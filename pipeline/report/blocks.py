"""What a section is made of. The template knows how each block looks, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

Tone = Literal["good", "bad", "warn", "plain", "accent"]


@dataclass(frozen=True)
class Pair:
    """Two lines in one cell: the value, and a quieter one under it."""

    main: str | Markup
    sub: str
    kind: ClassVar[str] = "pair"


@dataclass(frozen=True)
class Badge:
    """A word with a coloured dot; the word alone says it too."""

    word: str
    tone: Tone = "plain"
    kind: ClassVar[str] = "badge"


Cell = str | Markup | Pair | Badge


@dataclass(frozen=True)
class Column:
    title: str
    kind: Literal["text", "number", "code", "graphic", "prose"] = "text"


@dataclass(frozen=True)
class Table:
    """Rows under a caption; the first cell of a row is its header."""

    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption


@dataclass(frozen=True)
class Figure:
    """A plot. ``alt`` says in words what it shows, for who cannot see it."""

    svg: Markup
    caption: str
    wide: bool = True
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Grid:
    """Plots side by side."""

    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Card:
    title: str
    value: str
    sub: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Cards:
    cards: tuple[Card, ...]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Prose:
    text: str
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Heading:
    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Notice:
    """Something that a reader must not miss, or that is not there."""

    text: str
    tone: Tone = "plain"
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True)
class Fold:
    """A part that opens on demand."""

    summary: str
    blocks: tuple[Block, ...]
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Code:
    """Preformatted text; already made visible, line by line."""

    lines: Markup
    kind: ClassVar[str] = "code"


Block = Table | Figure | Grid | Cards | Prose | Heading | Notice | Fold | Code


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def present(blocks: Iterable[Block | None]) -> tuple[Block, ...]:
    """The blocks that there are."""
    return tuple(block for block in blocks if block is not None)


def not_yet(id: str, title: str, stage: str) -> Section:
    """The section of a stage that committed nothing."""
    message = f"The stage {stage} has no artifact in this run, so there is nothing to show yet."
    return Section(id, title, "", (Notice(message),))
