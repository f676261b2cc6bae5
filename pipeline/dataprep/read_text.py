"""Lines of text as raw rows, by a regular expression whose named groups are columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.cells import Cells
from pipeline.dataprep.drift import NO_DRIFT, sum_drift
from pipeline.dataprep.headers import MAX_HEADER_BYTES, check_encoding, group_files, read_head
from pipeline.dataprep.parse_records import parse_records, with_rules
from pipeline.dataprep.raw_rows import RawRows, union
from pipeline.dataprep.read_lines import number_lines, read_lines
from pipeline.errors import DataRefused


@dataclass(frozen=True)
class LineParser:
    """Texts of lines. Python's engine is used: Java's overflows its stack on long lines."""

    pattern: str
    groups: tuple[str, ...]

    def __call__(self, text: str) -> Iterator[Cells]:
        found = re.fullmatch(self.pattern, text)
        if found is None:
            yield Cells(None, [None] * len(self.groups), "no_match", text[:200])
        else:
            yield Cells(None, [found[group] for group in self.groups])


def open_text(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> RawRows:
    """Raw rows of files of text; a line that the pattern does not match is a row with a reason.

    Raises:
        DataRefused: a file is empty, is not text, cannot be decoded, or the pattern matches no
            line of its first MiB.
        ConfigError: the encoding is not known.
    """
    check_encoding(name, source)
    parser = LineParser(str(source.pattern), tuple(source.names_in_files.values()))
    groups = group_files(name, files, lambda file: _look(file, source, parser))
    frames = []
    for encoding, group in groups.items():
        lines = read_lines(spark, encoding, group, source.max_record_mb << 20)
        lines = lines.filter(F.btrim("value", F.lit(" \t")) != "")
        if source.comment is not None:
            lines = lines.filter(~F.startswith("value", F.lit(source.comment)))
        frames.append(parse_records(with_rules(number_lines(lines), source), source, parser))
    return RawRows(union(frames), sum_drift([(NO_DRIFT, len(files))]))


def _look(path: str, source: SourceConfig, parser: LineParser) -> str:
    encoding, text = read_head(path, source)
    lines = [line for line in re.split("\r\n|\r|\n", text[:MAX_HEADER_BYTES]) if line.strip(" \t")]
    lines = [line for line in lines if not (source.comment and line.startswith(source.comment))]
    if lines and not any(row.rule is None for line in lines for row in parser(line)):
        raise DataRefused(
            f"{path}: pattern {parser.pattern!r} matches no line; the first is {lines[0][:200]!r}",
            hint="correct the source's pattern; it must match a line from its beginning to its end",
        )
    return encoding
