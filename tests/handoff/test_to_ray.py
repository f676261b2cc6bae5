"""One contract for every mode: what arrives in Ray is what pyarrow reads from the files."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engines.session import Engines
from pipeline.errors import DataRefused, EngineError
from pipeline.handoff import carrier, raydp_blocks
from pipeline.handoff import to_ray as to_ray_module
from pipeline.handoff.arrow_schema import canonical_schema, in_form
from pipeline.handoff.checksum import column_checksums, merge
from pipeline.handoff.to_ray import HandedOff, to_ray

Mode = Literal["raydp", "parquet", "auto"]
MODES: tuple[Mode, ...] = ("raydp", "parquet", "auto")
UTC = dt.timezone.utc


def every_kind() -> pa.Table:
    """Two rows of values at the edges, and one of nulls, for each type that Spark writes."""
    instant = pa.timestamp("us", tz="UTC")
    edges = [dt.datetime(1582, 10, 4, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, tzinfo=UTC)]
    local = [dt.datetime(2013, 3, 10, 2, 30), dt.datetime(2013, 11, 3, 1, 30, 0, 1)]
    struct = pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))])
    return pa.table(
        {
            "i8": pa.array([-(2**7), 2**7 - 1, None], pa.int8()),
            "i16": pa.array([-(2**15), 2**15 - 1, None], pa.int16()),
            "i32": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
            "i64": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
            "u8": pa.array([0, 2**8 - 1, None], pa.uint8()),
            "u32": pa.array([0, 2**32 - 1, None], pa.uint32()),
            "f32": pa.array([float("nan"), 1.5, None], pa.float32()),
            "f64": pa.array([float("-inf"), -0.0, None], pa.float64()),
            "small": pa.array([Decimal("-9.99"), Decimal("0.01"), None], pa.decimal128(3, 2)),
            "wide": pa.array([Decimal(10**37), Decimal(-1), None], pa.decimal128(38, 0)),
            "flag": pa.array([True, False, None]),
            "day": pa.array([dt.date(1, 1, 1), dt.date(2013, 3, 10), None]),
            "instant": pa.array([*edges, None], instant),
            "wall clock": pa.array([*local, None], pa.timestamp("us")),
            "bytes": pa.array([b"", b"\x00\xff", None]),
            "text": pa.array(["", "né 日本 🛫\n\u0000", None]),
            "coded": pa.array(["a", "b", None]).dictionary_encode(),
            "list": pa.array([[1, None], [], None], pa.list_(pa.int32())),
            "struct": pa.array([{"x": 1, "y": ["a", None]}, {"x": None, "y": []}, None], struct),
            "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "dot.ted `tick`": pa.array([1, 2, None], pa.int64()),
            "nothing": pa.array([None, None, None], pa.string()),
        }
    )


def write(folder: Path, tables: list[pa.Table]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"part-{i:05d}.parquet" for i in range(len(tables))]
    for file, table in zip(files, tables, strict=True):
        pq.write_table(table, file, store_schema=False)
    return [str(file) for file in files]


def arrived(handed: HandedOff) -> list[pa.Table]:
    import ray

    tables: list[pa.Table] = ray.get(handed.blocks)
    return tables


def as_pyarrow_reads(file: str) -> pa.Table:
    table = pq.read_table(file, partitioning=None)
    return in_form(table, canonical_schema(table.schema))


def assert_same(handed: HandedOff, files: list[str]) -> None:
    tables = arrived(handed)
    assert handed.files == files
    for found, file in zip(tables, files, strict=True):
        wanted = as_pyarrow_reads(file)
        assert found.schema.equals(wanted.schema, check_metadata=True)
        assert found.num_rows == wanted.num_rows
        # Arrow's equality says that NaN differs from itself; the checksums do not.
        assert column_checksums(found) == column_checksums(wanted)
        assert str(found.to_pylist()) == str(wanted.to_pylist())


@pytest.mark.parametrize("mode", MODES)
def test_every_type_and_null_arrives_as_pyarrow_reads_it(
    mode: Mode, engines: Engines, tmp_path: Path
) -> None:
    files = write(tmp_path, [every_kind(), every_kind().slice(1)])
    assert_same(to_ray(files, columns=None, mode=mode, engines=engines), files)


@pytest.mark.parametrize("mode", MODES)
def test_twenty_files_of_any_size_keep_their_order(
    mode: Mode, engines: Engines, tmp_path: Path
) -> None:
    # Spark sorts its partitions by size; the sizes here are in no order, and one file is empty.
    sizes = [(i * 7919) % 1000 for i in range(20)]
    assert 0 in sizes
    tables = [
        pa.table({"file": pa.array([i] * n, pa.int32()), "row": pa.array(range(n), pa.int64())})
        for i, n in enumerate(sizes)
    ]
    files = write(tmp_path, tables)
    handed = to_ray(files, columns=None, mode=mode, engines=engines)
    assert handed.rows == sizes
    assert [table.to_pydict() for table in arrived(handed)] == [t.to_pydict() for t in tables]


@pytest.mark.parametrize("mode", MODES)
def test_columns_are_pruned_and_ordered(mode: Mode, engines: Engines, tmp_path: Path) -> None:
    files = write(tmp_path, [every_kind()])
    wanted = ["text", "dot.ted `tick`", "i8"]
    (found,) = arrived(to_ray(files, columns=wanted, mode=mode, engines=engines))
    assert found.equals(as_pyarrow_reads(files[0]).select(wanted))


@pytest.mark.parametrize("mode", MODES)
def test_odd_paths_are_read_and_add_no_columns(
    mode: Mode, engines: Engines, tmp_path: Path
) -> None:
    folder = tmp_path / "carrier=AA {x} [1] *" / "a%2Fb é"
    files = write(folder, [every_kind().select(["i32"])])
    assert_same(to_ray(files, columns=None, mode=mode, engines=engines), files)


@pytest.mark.parametrize("mode", ("raydp", "parquet"))
def test_a_large_file_becomes_the_same_blocks_in_row_order(
    mode: Mode, engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = 20_000
    monkeypatch.setattr(to_ray_module, "plan_blocks", lambda f, c: _plan_with_split(f, c, split))
    file = str(tmp_path / "large.parquet")
    table = pa.table({"row": pa.array(range(40_000), pa.int64())})
    pq.write_table(table, file, row_group_size=1500, compression="none", use_dictionary=False)
    handed = to_ray([file], columns=None, mode=mode, engines=engines)
    assert len(handed.blocks) > 3
    assert pa.concat_tables(arrived(handed)).equals(table)
    assert [t.num_rows for t in arrived(handed)] == handed.rows


def _plan_with_split(files: list[str], columns: list[str] | None, split: int) -> object:
    from pipeline.handoff.blocks import plan_blocks

    return plan_blocks(files, columns, split)


def test_what_does_not_fit_the_passage_goes_in_waves(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = carrier.Passage(tmp_path / "passage", 1, 2, lambda: None)
    monkeypatch.setattr(to_ray_module, "_passage", lambda _: narrow)
    files = write(tmp_path, [every_kind().slice(i) for i in range(3)])
    assert_same(to_ray(files, columns=None, mode="raydp", engines=engines), files)
    assert not (tmp_path / "passage").exists()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("computed", (False, True), ids=("only read", "computed"))
def test_a_data_frame_arrives_as_pyarrow_reads_its_files(
    computed: bool, mode: Mode, engines: Engines, tmp_path: Path
) -> None:
    # Spark has no unsigned integers, and reads u32 as long; the rest are its own types.
    table = every_kind().drop_columns(["u8", "u32"])
    files = write(tmp_path, [table, table.slice(1)])
    frame = engines.spark().read.parquet(*files)
    frame = frame.where("monotonically_increasing_id() >= 0") if computed else frame
    handed = to_ray(frame, columns=table.column_names[4::-1], mode=mode, engines=engines)
    assert handed.schema.names == table.column_names[4::-1]
    handed = to_ray(frame, columns=None, mode=mode, engines=engines)
    # One that Spark has only to read goes as what it is, files.
    assert handed.mode == (mode if mode != "auto" else "raydp" if computed else "parquet")
    assert sorted(handed.files) == ([] if computed else files)
    wanted = pa.concat_tables([as_pyarrow_reads(file) for file in files])
    assert all(found.schema.equals(wanted.schema) for found in arrived(handed))
    found = pa.concat_tables(arrived(handed))
    assert column_checksums(found) == column_checksums(wanted)
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, wanted.to_pylist()))


@pytest.mark.parametrize("mode", ("raydp", "parquet"))
@pytest.mark.parametrize(
    "shape", ("no partitions", "no rows", "200 tiny", "one huge", "empty between")
)
def test_a_data_frame_of_any_shape_arrives_whole_and_in_order(
    mode: Mode, shape: str, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark = engines.spark()
    monkeypatch.setattr(raydp_blocks, "MOST_BLOCK_BYTES", 100_000)
    monkeypatch.setattr(raydp_blocks, "_BATCH_BYTES", 10_000)
    frame = {
        "no partitions": lambda: spark.createDataFrame(spark.sparkContext.emptyRDD(), "id long"),
        "no rows": lambda: spark.range(0),
        "200 tiny": lambda: spark.range(0, 1000, 1, 200),
        "one huge": lambda: spark.range(0, 100_000, 1, 1),
        "empty between": lambda: spark.range(0, 1000, 1, 10).where("id < 100 or id >= 900"),
    }[shape]()
    wanted = [row.id for row in frame.collect()]
    handed = to_ray(frame, columns=None, mode=mode, engines=engines)
    assert [v for table in arrived(handed) for v in table.column("id").to_pylist()] == wanted
    assert [table.num_rows for table in arrived(handed)] == handed.rows
    assert handed.schema == pa.schema([("id", pa.int64())])
    if (mode, shape) == ("raydp", "one huge"):
        assert len(handed.blocks) > 4


@pytest.mark.parametrize("mode", ("raydp", "parquet"))
def test_coded_columns_whose_codes_differ_between_row_groups(
    mode: Mode, engines: Engines, tmp_path: Path
) -> None:
    values = ["a", "b", "a", "c", "d", "c"]
    file = str(tmp_path / "coded.parquet")
    with pq.ParquetWriter(file, pa.schema([("x", pa.dictionary(pa.int32(), pa.string()))])) as out:
        for part in (values[:3], values[3:]):
            out.write_table(pa.table({"x": pa.array(part).dictionary_encode()}))
    (found,) = arrived(to_ray([file], columns=None, mode=mode, engines=engines))
    assert found.to_pydict() == {"x": values}


def test_a_data_frame_with_two_columns_of_one_name_is_refused(engines: Engines) -> None:
    frame = engines.spark().range(1).selectExpr("id as a", "id as a")
    with pytest.raises(DataRefused, match="two columns 'a'"):
        to_ray(frame, columns=None, mode="raydp", engines=engines)


def test_a_data_frame_that_fails_is_one_clear_error(engines: Engines) -> None:
    frame = engines.spark().range(10).selectExpr("raise_error('broken here') as x")
    with pytest.raises(EngineError, match="broken here"):
        to_ray(frame, columns=None, mode="raydp", engines=engines)


def test_a_hand_off_that_takes_too_long_is_ended_and_spark_goes_on(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark = engines.spark()
    slow = spark.range(0, 4, 1, 4).mapInArrow(_sleeping(), "id long")
    short = engines.config.model_copy(update={"handoff_timeout_seconds": 3.0})
    monkeypatch.setattr(engines, "config", short)
    with pytest.raises(EngineError, match="the hand-off to Ray took longer than 3 s"):
        to_ray(slow, columns=None, mode="auto", engines=engines)
    assert spark.range(7).count() == 7


def _sleeping() -> Callable[[Iterable[Any]], Iterator[Any]]:
    def sleep(batches: Iterable[Any]) -> Iterator[Any]:
        time.sleep(10)
        yield from batches

    return sleep


def test_the_dataset_holds_the_same_rows(engines: Engines, tmp_path: Path) -> None:
    files = write(tmp_path, [pa.table({"x": [1, 2]}), pa.table({"x": [3]})])
    dataset = to_ray(files, columns=None, mode="parquet", engines=engines).dataset()
    assert dataset.take_all() == [{"x": 1}, {"x": 2}, {"x": 3}]


def _break(*_: object) -> list[object]:
    raise OSError("the executor does not see the file")


def test_auto_falls_back_to_parquet_and_says_why(
    engines: Engines,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(to_ray_module, "choose_mode", lambda *_: ("raydp", "for the test"))
    monkeypatch.setattr(raydp_blocks, "leave_files", lambda *_: _break)
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [1]}), file)
    handed = to_ray([str(file)], columns=None, mode="auto", engines=engines)
    assert handed.mode == "parquet"
    assert handed.reason.startswith("raydp failed: ")
    assert "falls back to parquet" in caplog.text
    with pytest.raises(EngineError):
        to_ray([str(file)], columns=None, mode="raydp", engines=engines)


def test_a_lost_block_is_rebuilt_from_its_file(tmp_path: Path) -> None:
    (file,) = write(tmp_path, [every_kind()])
    from pipeline.handoff.blocks import plan_blocks

    plan = plan_blocks([file])
    gone = str(tmp_path / "gone.arrow")
    table, rows = carrier._take_in([gone], [plan.specs[0]], plan.schema)
    assert rows == [3]
    assert column_checksums(table) == column_checksums(as_pyarrow_reads(file))
    with pytest.raises(OSError):
        carrier._take_in([gone], [None], plan.schema)


def test_files_that_cannot_be_handed_off_are_refused_by_name(
    engines: Engines, tmp_path: Path
) -> None:
    (good,) = write(tmp_path, [pa.table({"x": pa.array([1], pa.int64())})])
    other = str(tmp_path / "other.parquet")
    pq.write_table(pa.table({"x": ["a"]}), other)
    cut = str(tmp_path / "cut.parquet")
    Path(cut).write_bytes(Path(good).read_bytes()[:-20])
    cases = {
        "no file to hand off": [],
        "gone.parquet": [str(tmp_path / "gone.parquet")],
        "cut.parquet": [good, cut],
        "int64 in part-00000.parquet and string": [good, other],
    }
    for words, files in cases.items():
        with pytest.raises(DataRefused, match=words):
            to_ray(files, columns=None, mode="parquet", engines=engines)
    with pytest.raises(DataRefused, match="no column 'y'"):
        to_ray([good], columns=["y"], mode="parquet", engines=engines)


def test_checksums_of_blocks_add_up_to_those_of_the_files(engines: Engines, tmp_path: Path) -> None:
    files = write(tmp_path, [every_kind(), every_kind().slice(2)])
    handed = to_ray(files, columns=None, mode="parquet", engines=engines)
    found = merge(*(column_checksums(table) for table in arrived(handed)))
    whole = pa.concat_tables([as_pyarrow_reads(file) for file in files])
    assert found == column_checksums(whole)
