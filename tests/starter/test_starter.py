"""``pipeline init`` on folders that nobody made for it, without an engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import ConfigError, DataRefused
from pipeline.starter import write_starter
from tests.starter import quirky_tables
from tests.starter.quirky_tables import QUIRKS, write


def init(folder: Path, target: str | None, *segment_by: str, time: str | None = None) -> str:
    """The configuration's text, which is valid."""
    output = folder / "conf" / "my.yaml"
    write_starter([str(folder / "data")], target, segment_by, time, output)
    load_config(output)
    return output.read_text()


def made(folder: Path, name: str, *segment_by: str) -> tuple[PipelineConfig, str]:
    make, target = QUIRKS[name]
    make(folder / "data")
    text = init(folder, target, *segment_by)
    return load_config(folder / "conf" / "my.yaml"), text


def test_files_that_share_a_header_are_one_source(tmp_path: Path) -> None:
    config, _ = made(tmp_path, "reordered")
    sources = config.ingest.sources
    assert list(sources) == ["sales", "stores"]
    assert sources["sales"].path == "data/sales_2024_*.csv"
    assert set(sources["sales"].key) == {"day", "store"}
    assert config.preprocess.main == "sales"
    sql = (tmp_path / "conf/sql/my/features.sql").read_text()
    assert "LEFT JOIN `stores` USING (store)" in sql


def test_what_knows_the_target_is_left_out(tmp_path: Path) -> None:
    config, text = made(tmp_path, "zoned")
    features = config.preprocess.features
    assert features.categorical == ("sensor",)
    assert features.numeric == ("at_month", "at_weekday", "at_hour")
    for said in ("checked_load: filled only where load is", "unit: it is constant"):
        assert said in text


def test_a_column_that_is_the_target_in_another_unit_is_left_out(tmp_path: Path) -> None:
    rows = [
        [str(n), f"2024-01-{n % 28 + 1:02d}", f"{n * 7 % 31}", f"{n * 7 % 31 * 2.54:.2f}"]
        for n in range(90)
    ]
    write(tmp_path / "data" / "a.csv", [["id", "day", "inch", "cm"], *rows])
    assert "inch: the same as cm but for its unit" in init(tmp_path, "cm")


def test_without_a_time_or_a_key_rows_are_drawn_and_told_apart(tmp_path: Path) -> None:
    config, _ = made(tmp_path, "timeless")
    assert config.preprocess.split.test.kind == "hash"
    assert config.preprocess.key == ("row_id",) and not config.ingest.sources["flowers"].key
    assert config.train.task == "classification"


def test_a_column_that_models_are_made_for_is_the_segment(tmp_path: Path) -> None:
    config, _ = made(tmp_path, "zoned", "sensor")
    assert config.preprocess.segment == ("sensor",)


def test_without_a_target_candidates_are_named_or_a_sure_one_is_taken(tmp_path: Path) -> None:
    quirky_tables.marked(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"(?s)what is to be predicted.*income: a number") as told:
        init(tmp_path, None)
    assert "--target income" in str(told.value.hint)
    assert not (tmp_path / "conf").exists()
    rows = [[str(n), f"2024-01-{n % 28 + 1:02d}", "ab"[n % 2]] for n in range(90)]
    write(tmp_path / "other" / "data" / "a.csv", [["id", "day", "label"], *rows])
    assert "target: label  # classification; classes, named like a target" in init(
        tmp_path / "other", None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--target", "y"], "nowhere.csv: no such file or folder"),
        (["data", "--target", "z"], "no column 'z'.*\n.*the columns are day, kind, y"),
        (["data", "--target", "day"], "holds dates or times"),
        (["data", "--target", "y", "--time", "kind"], "--time kind: it holds long values"),
        (["data", "--target", "y", "--segment-by", "shop"], "--segment-by: no column 'shop'"),
        (["conf", "--target", "y"], "no file in it is named like a table"),
    ],
)
def test_one_message_says_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    quirky_tables.tiny(tmp_path / "data")
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_command(["init", *arguments, "-o", "my.yaml"]) == 2
    captured = capsys.readouterr().err
    assert re.search(message, captured)


MANGLED = {
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"a,b,y\n", "names of columns and no row"),
    "packed.csv": (b"PK\x03\x04rest", "a ZIP archive"),
    "cut.csv.gz": (b"\x1f\x8b\x08\x00rest", "cannot be read"),
    "torn.parquet": (b"PAR1 torn", "not a whole Parquet file"),
    "words.jsonl": (b"no json\n", "its first line is no JSON"),
    "huge.csv": (b'a,b\n"' + b"x" * 200_000, "cannot be cut into cells"),
}


@pytest.mark.parametrize("name", MANGLED)
def test_mangled_files_are_named(tmp_path: Path, name: str) -> None:
    content, message = MANGLED[name]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(DataRefused, match=message):
        init(tmp_path, "y")


def test_what_exists_is_replaced_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quirky_tables.tiny(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    command = ["init", "data", "--target", "y", "-o", "my.yaml"]
    assert run_command(command) == 0
    (tmp_path / "my.yaml").write_text("mine")
    assert run_command(command) == 2
    assert (tmp_path / "my.yaml").read_text() == "mine"
    assert run_command([*command, "--force"]) == 0
    assert load_config(tmp_path / "my.yaml").preprocess.target == "y"


def test_a_folder_above_the_store_gets_another_store(tmp_path: Path) -> None:
    quirky_tables.tiny(tmp_path / "data")
    write_starter([str(tmp_path / "data")], "y", (), None, tmp_path / "conf" / "my.yaml")
    assert load_config(tmp_path / "conf" / "my.yaml").store == "store"


def test_a_root_that_is_read_gets_a_store_beside_it(tmp_path: Path) -> None:
    quirky_tables.tiny(tmp_path / "data")
    write_starter([str(tmp_path / "data")], "y", (), None, tmp_path / "data" / "my.yaml")
    assert load_config(tmp_path / "data" / "my.yaml").store == str(tmp_path / "my-store")


def test_an_invalid_configuration_is_not_written(tmp_path: Path) -> None:
    quirky_tables.tiny(tmp_path / "data")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "base.yaml").write_text("nonsense: 1")
    with pytest.raises(ConfigError, match="nonsense: unknown key"):
        init(tmp_path, "y")
    assert [path.name for path in (tmp_path / "conf").iterdir()] == ["base.yaml"]
