"""What Spark is told, and what must not be seen on its command line."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.engines import SparkConfig
from pipeline.engines.spark_settings import stated_settings, write_log_settings


def test_secrets_are_kept_off_the_command_line() -> None:
    conf = {
        "spark.hadoop.fs.s3a.secret.key": "s",
        "spark.hadoop.fs.s3a.access.key": "a",
        "spark.hadoop.fs.azure.account.key.x": "k",
        "spark.ssl.keyStorePassword": "p",
        "spark.sql.files.maxRecordsPerFile": "10",
    }
    plain, secrets = stated_settings(SparkConfig(conf=conf))
    assert list(plain) == ["spark.sql.files.maxRecordsPerFile"]
    assert plain | secrets == conf


def test_the_drivers_log_goes_to_a_file(tmp_path: Path) -> None:
    path = write_log_settings(tmp_path / "logs")
    assert f"fileName = {tmp_path}/logs/spark-driver.log" in path.read_text()
    assert "console" not in path.read_text().lower()
