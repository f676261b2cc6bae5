"""Where rows come from: one place a source, and no secret in sight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config import load_config
from tests.config.test_loader import MINIMAL, problems, write

URL = "jdbc:postgresql://db.example/shop"


def with_place(place: str) -> str:
    """The small configuration with other lines in the place of its source's path."""
    return MINIMAL.replace("      path: data/t.csv\n", f"      {place}\n")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("format: csv", "must have one of path, jdbc, table and sql. Got none instead"),
        ("{path: a.csv, table: db.t}", "Got path and table instead"),
        ("{table: db.t, format: parquet}", "format is of files"),
        ("{path: a.csv, format: rows}", "format is of files"),
        ("{path: a.csv, storage: {region: x}}", "storage is of a path that is a URI"),
        ("table: db.t; DROP", "must be table, database.table"),
        (f"jdbc: {{url: '{URL}'}}", "must have either table or query"),
        (f"jdbc: {{url: '{URL}', table: t, query: SELECT 1}}", "must have either table or query"),
        ("jdbc: {url: 'postgresql://h/d', table: t}", "must begin with jdbc:"),
        ("jdbc: {url: 'jdbc:db2://h/d', table: t}", "driver must be set for db2"),
        (f"jdbc: {{url: '{URL}', table: 't) x; DROP'}}", "must be a table's name"),
        (f"jdbc: {{url: '{URL}', query: 'DELETE FROM t'}}", "must be one SELECT"),
        (f"jdbc: {{url: '{URL}', query: 'SELECT 1; DROP TABLE t'}}", "without a semicolon"),
        (
            f"jdbc: {{url: '{URL}', table: t, "
            "partition: {column: id, lower: 1, upper: 9, num_partitions: 2}}",
            "partition needs version",
        ),
        (
            f"jdbc: {{url: '{URL}', table: t, version: SELECT 1, "
            "partition: {column: id, lower: 9, upper: 2024-01-01, num_partitions: 2}}",
            "lower and upper must both be numbers",
        ),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(tmp_path: Path, place: str, message: str) -> None:
    if place.startswith("{"):
        place = place[1:-1].replace(", ", "\n      ", 1)
    assert message in problems(write(tmp_path, with_place(place)))


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:postgresql://bob:s3cret@db.example/shop",
        "jdbc:postgresql://db.example/shop?user=bob&password=s3cret",
        "jdbc:oracle:thin:bob/s3cret@db.example:1521/shop",
        "jdbc:sqlserver://db.example;authToken=s3cret",
    ],
)
def test_a_url_holds_no_secret(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_URL", text)
    said = problems(write(tmp_path, with_place("jdbc: {url: '${env:DB_URL}', table: t}")))
    assert "jdbc.url" in said and "must not hold a user, password or token" in said
    assert "s3cret" not in said


def test_secrets_are_in_no_dump_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    text = with_place(
        f"jdbc: {{url: '{URL}', table: t, user: bob, password: '${{env:DB_PASSWORD}}', "
        "properties: {sslpassword: in-the-open}}"
    )
    config = load_config(write(tmp_path, text))
    jdbc = config.ingest.sources["t"].jdbc
    assert jdbc is not None
    assert jdbc.connection_properties()["password"] == "hunter2"
    dumped = config.stage("ingest")["sources"]["t"]["jdbc"]
    assert dumped["password"] == "${env:DB_PASSWORD}"
    shown = f"{json.dumps(dumped)}{config!r}{jdbc.hide('for bob: hunter2, in-the-open, bobby')}"
    assert not any(secret in shown for secret in ("hunter2", "in-the-open", "'bob'", " bob:"))
    assert "bobby" in shown
    said = problems(write(tmp_path, text.replace("user: bob", "user: 4711")))
    assert "jdbc.user: must be" in said and "4711" not in said


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ftp://host/x.csv", "must be a path, or a URI of one of"),
        ("s3://bucket/a/../../x.csv", "must not hold '..'"),
        ("s3://bucket/%2e%2e/x.csv", "must not hold '..'"),
        ("s3://key:s3cret@bucket/x.csv", "must not hold a user or key"),
        ("simplecache::s3://bucket/x.csv", "must be a path, or a URI of one of"),
        ("zip://x.csv::s3://bucket/a.zip", "must be a path, or a URI of one of"),
        ("file://host/x.csv", "must be file:///"),
        ("https://host/*.csv", "must name one file"),
        ("data/*/../../secret.csv", "must not hold '..' behind a wildcard"),
    ],
)
def test_a_foreign_uri_or_traversal_is_refused(tmp_path: Path, path: str, message: str) -> None:
    said = problems(write(tmp_path, with_place(f"path: '{path}'")))
    assert "ingest.sources.t.path" in said and message in said
    assert "s3cret" not in said


@pytest.mark.parametrize("path", ["s3://bucket/in/*.csv", "file:///data/x.csv", "memory://a/x.csv"])
def test_a_uri_may_be_a_path(tmp_path: Path, path: str) -> None:
    config = load_config(write(tmp_path, with_place(f"path: '{path}'")))
    assert config.ingest.sources["t"].paths == (path,)
