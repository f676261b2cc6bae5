"""Layers, overrides, secrets, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.errors import ConfigError

MINIMAL = """
name: small
ingest:
  sources:
    t:
      path: data/t.csv
      columns: {id: {type: long}, at: {type: timestamp}, g: {type: string}, y: {type: double}}
preprocess:
  steps: [{name: f, sql: conf/f.sql}]
  key: [id]
  time: at
  segment: [g]
  target: y
  features: {numeric: [x]}
  split: {test_from: 2024-01-01T00:00:00Z}
train:
  candidates: {ridge: {estimator: sklearn.linear_model.Ridge}}
"""


def write(folder: Path, text: str, name: str = "small.yaml") -> Path:
    path = folder / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides=overrides)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_later_layers_win_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "store: a\nengines: {spark: {executors: 2, master: 'local[1]'}}", "base.yaml")
    path = write(tmp_path, MINIMAL + "store: b\n")
    write(tmp_path, "engines: {spark: {executors: 3}}\ntrain: {min_rows: 7}", "env/big.yaml")
    config = load_config(path, env="big", overrides=["train.min_rows=9"])
    assert config.store == "b"
    assert config.engines.spark.executors == 3
    assert config.engines.spark.master == "local[1]"
    assert config.train.min_rows == 9


def test_three_mistakes_give_three_messages_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = MINIMAL.replace("  target: y", "  traget: y").replace(
        "ridge: {", "ridge: {scael: true, "
    )
    message = problems(write(tmp_path, text), "train.min_rows=many")
    lines = message.splitlines()
    assert lines[0].startswith("4 problems")  # the misspelt target is also a missing one
    assert any("preprocess.traget: unknown key; did you mean 'target'?" in x for x in lines)
    assert any("candidates.ridge.scael: unknown key; did you mean 'scale'?" in x for x in lines)
    assert any("--set train.min_rows" in x and 'Got "many" instead' in x for x in lines)
    assert any("conf/small.yaml:8" in x and "preprocess.target: must be set" in x for x in lines)


@pytest.mark.parametrize("value", ['"8"', "true", "0", "-3", "1.5", "08"])
def test_a_count_is_a_whole_number_above_zero(tmp_path: Path, value: str) -> None:
    assert "train.min_rows" in problems(write(tmp_path, MINIMAL), f"train.min_rows={value}")


def test_duplicate_keys_are_refused_with_both_lines(tmp_path: Path) -> None:
    message = problems(write(tmp_path, MINIMAL + "name: again\n"))
    assert "duplicate key" in message
    assert "first on line 2" in message


def test_words_and_numbers_of_yaml_1_1_stay_text(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "g: {type: string}", "g: {type: string, allowed: [no, 0777, 2024-01-01]}"
    )
    source = load_config(write(tmp_path, text)).ingest.sources["t"]
    assert source.columns["g"].allowed == ("no", "0777", "2024-01-01")


def test_an_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "expands to more than" in problems(write(tmp_path, "\n".join(levels)))


def test_a_secret_comes_from_the_environment_and_shows_in_no_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    path = write(tmp_path, MINIMAL + "report: {title: 'by ${env:DB_PASSWORD}'}\n")
    config = load_config(path)
    assert config.report.title == "by hunter2"
    assert config.stage("report")["title"] == "by ${env:DB_PASSWORD}"
    assert "hunter2" not in problems(
        write(tmp_path, MINIMAL + "infer: {rows: '${env:DB_PASSWORD}'}")
    )


def test_a_secret_that_is_not_set_is_named(tmp_path: Path) -> None:
    message = problems(write(tmp_path, MINIMAL + "report: {title: '${env:NOT_SET_HERE}'}\n"))
    assert "the environment variable NOT_SET_HERE is not set" in message


def test_the_target_among_the_features_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("numeric: [x]", "numeric: [x, y]")
    assert "the target 'y' is among the features" in problems(write(tmp_path, text))


def test_an_estimator_outside_scikit_learn_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("sklearn.linear_model.Ridge", "os.system")
    assert "must be the path of a scikit-learn class" in problems(write(tmp_path, text))


@pytest.mark.parametrize("path", ["../other/t.csv", "ftp://host/t.csv", "data/../../t.csv"])
def test_a_path_that_leaves_the_project_is_refused(tmp_path: Path, path: str) -> None:
    text = MINIMAL.replace("data/t.csv", path)
    assert "ingest.sources.t.path" in problems(write(tmp_path, text))


def test_a_store_inside_an_input_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("path: data/t.csv", "path: data/in") + "store: data/in/store\n"
    assert "lies inside the input of source 't'" in problems(write(tmp_path, text))


@pytest.mark.parametrize("name", ["root", "secrets", "file"])
def test_what_the_loader_sets_cannot_be_set(tmp_path: Path, name: str) -> None:
    assert f"{name}: unknown key" in problems(write(tmp_path, MINIMAL + f"{name}: /etc\n"))


def test_the_split_plans_folds_that_end_where_the_test_begins(tmp_path: Path) -> None:
    split = load_config(write(tmp_path, MINIMAL)).preprocess.split
    periods = split.periods()
    assert len(periods) == 3
    assert periods[-1][2] == split.test_from
    assert all(train_end < start < end for train_end, start, end in periods)
    assert [p[2] for p in periods[:-1]] == [p[1] for p in periods[1:]]


def test_groups_above_segments_are_some_of_their_columns(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    said = problems(path, "train.parents=[[g]]")
    assert "train.parents: a group must be some of preprocess.segment (g), and not all" in said
    said = problems(path, "train.parents=[[g], [g]]")
    assert "parents must name each group of columns once" in said


def test_halving_needs_folds_to_halve_between(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    said = problems(path, "train.halving={}", "preprocess.split.folds=1")
    assert "train.halving drops candidates between folds" in said


def test_a_blend_needs_something_to_blend(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    assert "blend needs candidates of both scopes" in problems(path, "train.blend=true")
    said = problems(path, "train.blend=true", "train.task=classification")
    assert "blend is for task: regression" in said
