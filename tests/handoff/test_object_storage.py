"""Files in object storage: by Arrow's own file systems and by fsspec's, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from pipeline.engines.session import Engines
from pipeline.errors import DataRefused
from pipeline.handoff.to_ray import to_ray

TABLE = pa.table({"x": pa.array(range(10_000), pa.int64()), "name": ["é"] * 10_000})


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A local S3 with the table in two objects; its host and port."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        s3 = fs.S3FileSystem(
            access_key="key",
            secret_key="secret",
            endpoint_override=f"http://{host}:{port}",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        s3.create_dir("bucket")
        for i in range(2):
            pq.write_table(TABLE.slice(i * 5000, 5000), f"bucket/part-{i}.parquet", filesystem=s3)
        yield f"{host}:{port}"
    finally:
        moto.stop()


@pytest.mark.parametrize("mode", ("raydp", "parquet", "auto"))
@pytest.mark.parametrize("system", ("s3", "http"))
def test_object_storage_is_read_in_every_mode(
    system: str, mode: Literal["raydp", "parquet", "auto"], engines: Engines, server: str
) -> None:
    import ray

    # Arrow serves s3:// itself, http:// comes from fsspec.
    options = f"?region=us-east-1&scheme=http&endpoint_override={server}"
    uris = {
        "s3": [f"s3://key:secret@bucket/part-{i}.parquet{options}" for i in range(2)],
        "http": [f"http://{server}/bucket/part-{i}.parquet" for i in range(2)],
    }[system]
    handed = to_ray(uris, columns=None, mode=mode, engines=engines)
    assert pa.concat_tables(ray.get(handed.blocks)).equals(TABLE)


def test_what_cannot_be_reached_is_refused_without_its_secrets(
    engines: Engines, server: str, tmp_path: Path
) -> None:
    gone = f"s3://key:secret@bucket/gone.parquet?scheme=http&endpoint_override={server}"
    for uri in (gone, "nosuch://bucket/x.parquet", f"memory://{tmp_path}/x.parquet"):
        with pytest.raises(DataRefused) as refused:
            to_ray([uri], columns=None, mode="parquet", engines=engines)
        assert "x.parquet" in refused.value.message or "gone.parquet" in refused.value.message
        assert "secret" not in refused.value.message
