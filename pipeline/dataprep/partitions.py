"""Columns whose values stand in the names of folders: ``date=2024-01-01/part.csv``.

As in Hive and Spark, ``__HIVE_DEFAULT_PARTITION__`` is null, and what a folder's name may not hold
is written as ``%2F``. Unlike there, ``town=`` is the empty text, and types are the declared ones:
``code=007`` of a string is ``007``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.casts import from_text
from pipeline.dataprep.quarantine import shown_file
from pipeline.dataprep.raw_rows import problem
from pipeline.errors import DataRefused
from pipeline.store.objects import with_uris

NULL = "__HIVE_DEFAULT_PARTITION__"


def partition_columns(name: str, source: SourceConfig, files: Sequence[str]) -> list[str]:
    """The declared columns that the folders of the files name; these win over the files' own.

    Raises:
        DataRefused: some files lie in such a folder, and others do not.
    """
    shown = [with_uris(file) for file in files]
    found = []
    for column, folder in source.names_in_files.items():
        inside = [f"/{folder}=" in file for file in shown]
        if any(inside) and not all(inside):
            raise DataRefused(
                f"source {name}: {shown[inside.index(False)]} lies in no folder {folder}=…, as "
                f"{shown[inside.index(True)]} does",
                hint="move the file, or make two sources of them",
            )
        if any(inside):
            found.append(column)
    return found


def without_partitions(source: SourceConfig, names: Sequence[str]) -> SourceConfig:
    """The source as its files alone are.

    Raises:
        DataRefused: nothing would be left.
    """
    columns = {key: value for key, value in source.columns.items() if key not in names}
    if not columns:
        raise DataRefused(
            f"every declared column ({', '.join(names)}) is the name of a folder",
            hint="declare a column of the files as well",
        )
    return source.model_copy(update={"columns": columns, "key": ()})


def with_partitions(
    raw: DataFrame, source: SourceConfig, names: Sequence[str], *, typed: bool
) -> DataFrame:
    """Raw rows with the columns that their files' folders name.

    Args:
        raw: rows of the files, as ``read.read_source`` describes them.
        source: the declared columns.
        names: the columns to add.
        typed: whether raw rows have the declared types, else they are texts. A value that is not
            of its type makes the row a broken one.
    """
    texts = {name: _value(source.names_in_files[name]) for name in names}
    if not typed:
        return raw.withColumns(texts)
    values = {name: from_text(text, source.columns[name]) for name, text in texts.items()}
    broken = [_not_a_value(name, texts[name], values[name], source) for name in names]
    return raw.withColumns({**values, "_problem": F.coalesce("_problem", *broken)})


def _value(folder: str) -> Column:
    # The last such folder, if there are two.
    text = F.regexp_extract(shown_file(), f"^.*/{re.escape(folder)}=([^/]*)/", 1)
    escaped = text.rlike("%") & ~text.rlike("%(?![0-9A-Fa-f]{2})")
    plain = F.when(escaped, F.url_decode(F.regexp_replace(text, r"\+", "%2B"))).otherwise(text)
    return F.when(text != NULL, plain)


def _not_a_value(name: str, text: Column, value: Column, source: SourceConfig) -> Column:
    kind = source.columns[name].type.replace(" ", "")
    broken = F.when(value.isNull() & text.isNotNull(), F.lit(f"not_a_{kind}"))
    return problem(broken, F.lit(name), text)
