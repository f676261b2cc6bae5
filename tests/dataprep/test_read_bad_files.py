"""One real file for each way in which a file is bad; each is refused by name, or its row is."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pipeline.dataprep.ingest import ingest_source
from pipeline.errors import DataRefused
from tests.dataprep.ingesting import HEADER, Ingest, Ingested, source

REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "missing column": ({"a.csv": "id,prise,note\n1,2,x\n"}, r"a\.csv: no column 'price'.*'prise'"),
    "header names twice": ({"a.csv": "id,price,note,note\n1,2,x,y\n"}, r"a\.csv: .*equal.*note"),
    "names differ by case": ({"a.csv": "id,price,note,NOTE\n1,2,x,y\n"}, r"a\.csv: .*NOTE"),
    "wrong delimiter": ({"a.csv": "id;price;note\n1;2;x\n"}, r"a\.csv: .*one column.*';'"),
    "empty file": ({"a.csv": HEADER + "1,2,x\n", "b.csv": ""}, r"b\.csv is empty"),
    "header only": ({"a.csv": HEADER, "b.csv": HEADER}, "headers and no row"),
    "a ZIP archive": ({"a.csv": b"PK\x03\x04rest"}, r"a\.csv is not CSV: it is a ZIP"),
    "gzip without its ending": ({"a.csv": gzip.compress(b"id\n1\n")}, r"a\.csv is not CSV.*gzip"),
    "text that is named gzip": ({"a.csv.gz": HEADER + "1,2,x\n"}, r"a\.csv\.gz is not whole"),
    "UTF-16 declared as UTF-8": ({"a.csv": HEADER.encode("utf-16")}, r"a\.csv.*UTF-16"),
    "a name that Spark hides": ({"_a.csv": HEADER + "1,2,x\n"}, r"_a\.csv"),
    "no row left": ({"a.csv": HEADER + "x,2,a\ny,2,b\n"}, r"2 of 2 .*no row is left"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_by_name(ingest: Ingest, case: str) -> None:
    files, message = REFUSED[case]
    with pytest.raises(DataRefused, match=message):
        ingest(files)


def test_a_truncated_gzip_is_refused_by_name(ingest: Ingest) -> None:
    rows = "".join(f"{i},{i * 7919 % 1000},note {i * 104729 % 99991}\n" for i in range(600_000))
    whole = gzip.compress((HEADER + rows).encode())
    assert len(whole) > 2 << 20  # so that its header alone can be read
    with pytest.raises(DataRefused, match=r"b\.csv\.gz is damaged or cut"):
        ingest({"a.csv": HEADER + "1,2,x\n", "b.csv.gz": whole[: len(whole) // 2]})


def test_a_folder_named_csv_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(DataRefused, match="is a folder"):
        ingest_source(spark, source(), "shop", [str(tmp_path / "x.csv")], tmp_path, tmp_path)


def test_undeclared_columns_are_ignored_or_refused(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"a.csv": "id,price,note,extra\n1,2,x,y\n"}
    assert ingest(files).good == [{"id": 1, "price": 2.0, "note": "x"}]
    with pytest.raises(DataRefused, match="not declared: extra"):
        ingest(files, extra_columns="refuse")


def test_more_broken_rows_than_allowed_are_refused_with_examples(ingest: Ingest) -> None:
    rows = "1,2,a\n2,-1,b\n3,-2,c\nx,1,d\n"
    with pytest.raises(DataRefused, match=r"3 of 4 rows \(75\.0%\)") as refused:
        ingest({"a.csv": HEADER + rows}, max_quarantined_share=0.5)
    assert "price: below_min (2 rows; '-1' in" in refused.value.message
    assert "id: not_a_int (1 rows; 'x' in" in refused.value.message


def test_columns_are_found_by_name_in_each_file(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER + "1,2.5,x\n", "b.csv": "note,id,price\ny,2,3.5\n"})
    rows = sorted(found.good, key=lambda row: row["id"])
    assert rows == [{"id": 1, "price": 2.5, "note": "x"}, {"id": 2, "price": 3.5, "note": "y"}]


def test_broken_records_are_quarantined_with_their_row_and_text(ingest: Ingest) -> None:
    lines = ["1,2,ok", "2,3", "3,4,x,y", '4,5,"open', "5,6,nul\0here", "", '6,7,"a ""b"", c"']
    found = ingest({"a+b c é.csv": HEADER + "\n".join(lines) + "\n"})
    assert [(row, rule) for row, rule, _ in found.rules] == [
        (2, "short_row"),
        (3, "long_row"),
        (4, "unclosed_quote"),
        (5, "nul_byte"),
    ]
    assert [row["raw"] for row in found.bad] == lines[1:5]
    assert {Path(row["file"]).name for row in found.bad} == {"a+b c é.csv"}
    assert [row["note"] for row in found.good] == ["ok", 'a "b", c']
    assert (found.result.rows_in, found.result.rows_quarantined) == (6, 4)


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t", "||", ".", "\\", "^", "ab"])
def test_records_with_and_without_quotes_are_read_alike(ingest: Ingest, delimiter: str) -> None:
    records = [["1", "2", " x "], ["2", "", ""], ["3", "4"], ["5", "6", "7", "8"], ["", "", ""]]
    records += [["9", "1", "", ""], ["10", "1", "é'\U0001f600"], ["11", "1", "\u00a0"]]

    def text(quote: str) -> str:
        rows = [["id", "price", "note"], *records]
        return "".join(delimiter.join(f"{quote}{c}{quote}" for c in row) + "\n" for row in rows)

    found = ingest({"plain.csv": text(""), "quoted.csv": text('"')}, delimiter=delimiter)
    notes = [row["note"] or "" for row in found.good]
    assert sorted(notes) == sorted(2 * [" x ", "", "é'\U0001f600", "\u00a0"])
    for name in ("plain.csv", "quoted.csv"):
        bad = [row for row in found.bad if row["file"].endswith(name)]
        assert [(row["row"], x["rule"], x["value"]) for row in bad for x in row["reasons"]] == [
            (3, "short_row", "2 cells, expected 3"),
            (4, "long_row", "4 cells, expected 3"),
            (5, "null", ""),
            (6, "long_row", "4 cells, expected 3"),
        ]


def test_lines_of_control_characters_are_records(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER + "1,2,x\n\0\n \t \n\x01\n,,\n"})
    assert [(row, rule) for row, rule, _ in found.rules] == [
        (2, "nul_byte"),
        (3, "short_row"),
        (4, "null"),
    ]
    assert found.result.rows_in == 4


def test_a_line_of_tabs_is_a_record_where_tabs_separate(ingest: Ingest) -> None:
    text = (HEADER + "1,2,x\n,,\n\n").replace(",", "\t")
    found = ingest({"a.csv": text}, delimiter="\\t")
    assert [(row, rule) for row, rule, _ in found.rules] == [(2, "null")]
    assert found.result.rows_in == 2


def test_only_the_first_header_of_a_file_is_no_row(ingest: Ingest) -> None:
    found = ingest({"a.csv": "\n" + HEADER + "1,2,x\n" + HEADER + "2,3,y\n", "b.csv": HEADER})
    assert found.rules == [(2, "repeated_header", "id,price,note")]
    assert [row["id"] for row in found.good] == [1, 2]
    assert found.result.rows_in == 3


def test_a_header_with_an_open_quote_is_refused(ingest: Ingest) -> None:
    with pytest.raises(DataRefused, match=r"a\.csv: a quote in its header is not closed"):
        ingest({"a.csv": 'id,price,note,size"\n1,2,x,3\n', "b.csv": HEADER}, multiline=True)


def test_a_byte_order_mark_is_dropped_in_any_encoding(ingest: Ingest) -> None:
    content = codecs.BOM_UTF8 + ("extra," + HEADER + "z,1,2,é\n").encode("windows-1252")
    found = ingest({"a.csv": content}, encoding="windows-1252")
    assert found.good == [{"id": 1, "price": 2.0, "note": "é"}]
    assert found.result.rows_in == 1


def test_a_file_named_twice_is_read_once(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "1,2,x\n2,bad,y\n")
    files = [str(tmp_path / "a.csv"), f"{tmp_path}/../{tmp_path.name}/a.csv"]
    good, bad = tmp_path / "good", tmp_path / "bad"
    result = ingest_source(spark, source(), "shop", files, good, bad)
    assert (result.rows_in, result.rows_out, result.rows_quarantined) == (2, 1, 1)


def test_row_numbers_are_exact_in_files_that_spark_splits(
    spark: SparkSession, ingest: Ingest
) -> None:
    rows = [f"{'x' if i % 1000 == 0 else i},1,note" for i in range(1, 5001)]
    spark.conf.set("spark.sql.files.maxPartitionBytes", "10000")
    try:
        text = HEADER + "\n".join(rows)
        found = ingest({"a.csv": text, "b.csv": text, "c.csv": "note,id,price\nn,x,1\n"})
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    broken = [(Path(row["file"]).name, row["row"]) for row in found.bad]
    expected = [(name, row) for name in ("a.csv", "b.csv") for row in range(1000, 5001, 1000)]
    assert broken == [*expected, ("c.csv", 1)]


def test_a_field_of_100_mb_is_quarantined(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER + f"1,2,{'z' * 100_000_000}\n2,3,ok\n"})
    assert [(row, rule) for row, rule, _ in found.rules] == [(1, "record_too_long")]
    assert len(found.bad[0]["raw"]) == 10_000


def test_more_cells_than_the_parser_takes_are_one_bad_row(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER + "1,2" + "," * 30_000 + "\n2,3,ok\n"})
    assert [(row, rule) for row, rule, _ in found.rules] == [(1, "long_row")]


def test_a_byte_order_mark_is_not_part_of_a_name(ingest: Ingest) -> None:
    found = ingest({"a.csv": codecs.BOM_UTF8 + (HEADER + "1,2,x\n").encode()})
    assert found.good == [{"id": 1, "price": 2.0, "note": "x"}]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "UTF-16", "UTF-16BE"])
def test_the_declared_encoding_is_honoured(ingest: Ingest, encoding: str) -> None:
    text = "id,price,note\r\n1,2,é ü\r\n2,3,y\r\n"
    found = ingest({"a.csv": text.encode(encoding)}, encoding=encoding)
    assert [row["note"] for row in found.good] == ["é ü", "y"]


def test_bytes_of_another_encoding_are_quarantined(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER.encode() + "1,2,é\n".encode("latin-1") + b"2,3,ok\n"})
    assert [(row, rule) for row, rule, _ in found.rules] == [(1, "wrong_encoding")]


def test_a_quoted_newline_is_kept_where_declared(ingest: Ingest) -> None:
    text = HEADER + '1,2,"a\n\nb"\n\n2,3,c\n3,x,"d\ne"\n4,5,"open\n5,6,f\n'
    found = ingest({"a.csv": text}, multiline=True)
    assert sorted((row["id"], row["note"]) for row in found.good) == [(1, "a\n\nb"), (2, "c")]
    assert [(row, rule) for row, rule, _ in found.rules] == [
        (3, "not_a_double"),
        (4, "unclosed_quote"),
    ]
    assert found.bad[1]["raw"] == '4,5,"open\n5,6,f'


def test_of_a_quote_that_is_never_closed_little_is_kept(ingest: Ingest) -> None:
    lines = "\n".join(["z" * 100_000] * 40)
    found = ingest({"a.csv": f'{HEADER}1,2,x\n2,3,"{lines}\n'}, multiline=True)
    assert [(row, rule) for row, rule, _ in found.rules] == [(2, "record_too_long")]
    assert found.bad[0]["raw"].startswith('2,3,"zzz')
    assert (found.result.rows_in, len(found.good)) == (2, 1)


def test_a_quoted_newline_is_quarantined_where_not_declared(ingest: Ingest) -> None:
    found = ingest({"a.csv": HEADER + '1,2,"a\nb"\n2,3,c\n'})
    assert [rule for _, rule, _ in found.rules] == ["unclosed_quote", "unclosed_quote"]


def parquet_file(folder: Path, name: str, **columns: pa.Array) -> str:
    path = folder / name
    whole = {"price": pa.array([1.0, 2.0]), "note": pa.array(["a", None])} | columns
    pq.write_table(pa.table({"id": pa.array([1, 2], pa.int32())} | whole), path)
    return str(path)


def test_parquet_rows_are_numbered_and_checked(spark: SparkSession, tmp_path: Path) -> None:
    file = parquet_file(tmp_path, "a.parquet", price=pa.array([float("nan"), 2.0]))
    settings = source(format="parquet")
    result = ingest_source(spark, settings, "shop", [file], tmp_path / "good", tmp_path / "bad")
    found = Ingested(result, tmp_path)
    assert found.rules == [(1, "not_a_double", "NaN")]
    assert found.good == [{"id": 2, "price": 2.0, "note": None}]


def test_parquet_nanoseconds_become_microseconds(spark: SparkSession, tmp_path: Path) -> None:
    ns = pa.array([1_500_000_000_123_456_789, -1], pa.timestamp("ns"))
    pq.write_table(pa.table({"at": ns}), tmp_path / "a.parquet")
    settings = source(format="parquet", columns={"at": {"type": "timestamp"}})
    files = [str(tmp_path / "a.parquet")]
    ingest_source(spark, settings, "shop", files, tmp_path / "good", tmp_path / "bad")
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    expected = [epoch + timedelta(microseconds=us) for us in (1_500_000_000_123_456, -1)]
    table = pq.read_table(tmp_path / "good" / "part-00000.parquet")
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert table["at"].to_pylist() == expected


BAD_PARQUET: dict[str, tuple[Callable[[Path], str], str]] = {
    "another type": (
        lambda d: parquet_file(d, "b.parquet", price=pa.array(["1", "2"])),
        r"b\.parquet: column 'price' is string; double is declared",
    ),
    "missing column": (
        lambda d: _without_note(d),
        r"b\.parquet: no column 'note'",
    ),
    "truncated": (lambda d: _truncated(d), r"b\.parquet is not a whole Parquet file"),
    "a CSV": (lambda d: _csv(d), r"b\.parquet is not a whole Parquet file"),
}


def _without_note(folder: Path) -> str:
    table = pa.table({"id": pa.array([1], pa.int32()), "price": [1.0]})
    pq.write_table(table, folder / "b.parquet")
    return str(folder / "b.parquet")


def _truncated(folder: Path) -> str:
    path = Path(parquet_file(folder, "b.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    return str(path)


def _csv(folder: Path) -> str:
    (folder / "b.parquet").write_text(HEADER + "1,2,x\n")
    return str(folder / "b.parquet")


@pytest.mark.parametrize("case", BAD_PARQUET)
def test_a_bad_parquet_file_is_refused_by_name(
    spark: SparkSession, tmp_path: Path, case: str
) -> None:
    make, message = BAD_PARQUET[case]
    files = [parquet_file(tmp_path, "a.parquet"), make(tmp_path)]
    with pytest.raises(DataRefused, match=message):
        ingest_source(spark, source(format="parquet"), "shop", files, tmp_path, tmp_path)


def test_damaged_parquet_pages_are_refused_by_name(spark: SparkSession, tmp_path: Path) -> None:
    path = Path(parquet_file(tmp_path, "a.parquet"))
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    folder = tmp_path / "out"
    with pytest.raises(DataRefused, match=r"a\.parquet is damaged"):
        ingest_source(spark, source(format="parquet"), "shop", [str(path)], folder, folder / "bad")
