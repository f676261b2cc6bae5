"""Raw files are found on disks, in a real S3 and in fsspec's memory, and a change is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import fs

from pipeline.config.place import SourcePlace
from pipeline.errors import DataRefused, StageFailed
from pipeline.store import Store
from pipeline.store.fingerprint import HashCache
from pipeline.store.inputs import Inputs, find_files, find_inputs
from pipeline.store.objects import RemoteFile, copy_objects, with_uris

KEYS = (
    "in/date=2024-01-01/a.csv",
    "in/date=2024-01-02/b c+d%.csv",
    "in/_hidden.csv",
    "in/_folder/x.csv",
    "other.csv",
)


class Files(SourcePlace):
    """A source's place alone; only its format is the rest's."""

    format: str = "csv"


class Bucket:
    """Objects in some store: written by one way, and read as a source."""

    def __init__(self, uri: str, system: Any, storage: dict[str, Any], root: Path) -> None:
        self.uri, self._system, self.storage, self._root = uri, system, storage, root

    def write(self, key: str, content: bytes) -> None:
        name = f"{self.uri.partition('://')[2]}/{key}"
        if isinstance(self._system, fs.FileSystem):
            with self._system.open_output_stream(name) as stream:
                stream.write(content)
        else:
            self._system.pipe(f"/{name}", content)

    def find(self, *patterns: str) -> Inputs:
        paths = tuple(f"{self.uri}/{pattern}" for pattern in patterns)
        place = Files.model_validate({"path": paths, "storage": self.storage}, strict=False)
        return find_inputs(self._root, place, "shop", HashCache(Store(self._root)))

    def names(self, *patterns: str) -> list[str]:
        return [name.removeprefix(f"{self.uri}/") for name in self.find(*patterns).hashes]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A local S3 with an empty bucket; its host and port."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        yield f"{host}:{port}"
    finally:
        moto.stop()


@pytest.fixture(params=("s3", "memory"))
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    if request.param == "memory":
        system = fsspec.filesystem("memory")
        made = Bucket("memory://bucket", system, {}, tmp_path)
    else:
        storage = {
            "access_key": "key",
            "secret_key": "s3cret",
            "endpoint_override": f"http://{request.getfixturevalue('s3')}",
            "region": "us-east-1",
        }
        system = fs.S3FileSystem(**storage, allow_bucket_creation=True)
        system.create_dir("bucket")
        made = Bucket("s3://bucket", system, storage, tmp_path)
    for key in KEYS:
        made.write(key, key.encode())
    yield made
    if request.param == "memory":
        system.rm("/bucket", recursive=True)
    else:
        system.delete_dir_contents("bucket")


def test_objects_are_found_by_folder_and_wildcard(bucket: Bucket) -> None:
    below = [KEYS[0], KEYS[1]]
    assert bucket.names("in") == bucket.names("in/date=*") == bucket.names("in/d*/*.csv") == below
    assert bucket.names("other.csv", "in/*/a.csv", "in/d*/*.csv") == [*below, "other.csv"]
    for nothing in ("gone.csv", "gone/*.csv"):
        with pytest.raises(DataRefused, match=r"source .shop.: .*gone") as refused:
            bucket.find(nothing)
        assert "s3cret" not in str(refused.value)


def test_an_objects_hash_changes_with_its_content_alone(bucket: Bucket) -> None:
    before = bucket.find("in").hashes
    bucket.write(KEYS[0], KEYS[0].encode())
    assert bucket.find("in").hashes == before
    bucket.write(KEYS[0], b"x" * len(KEYS[0]))
    after = bucket.find("in").hashes
    assert [name for name in before if before[name] != after[name]] == [f"{bucket.uri}/{KEYS[0]}"]


def test_copies_keep_content_and_stay_in_their_folder(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("in/x.csv", b"1")
    found = bucket.find("in").remote
    copies = copy_objects("shop", found, Files(**_place(bucket)).storage, tmp_path / "copies")
    assert {uri: path.read_bytes() for uri, path in copies.items()} == {
        f"{bucket.uri}/{key}": content
        for key, content in ((KEYS[0], KEYS[0].encode()), (KEYS[1], KEYS[1].encode()),
                             ("in/x.csv", b"1"))
    }  # fmt: skip
    for uri, path in copies.items():
        assert path.resolve().is_relative_to(tmp_path / "copies")
        assert with_uris(f"source shop: {path}: empty") == f"source shop: {uri}: empty"


def _place(bucket: Bucket) -> dict[str, Any]:
    return Files.model_validate(
        {"path": f"{bucket.uri}/in", "storage": bucket.storage}, strict=False
    ).__dict__


def test_an_object_of_another_size_than_listed_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    listed = bucket.find("other.csv").remote[0]
    longer = RemoteFile(listed.uri, listed.size + 1, listed.hash)
    with pytest.raises(StageFailed, match=r"other\.csv changed while it was read"):
        copy_objects("shop", [longer], Files(**_place(bucket)).storage, tmp_path)


def test_names_that_climb_or_hide_are_copied_inside(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    for key in ("/climb/.../x.csv", "/climb/a/.b.csv", "/climb/..%2F..%2Fy.csv"):
        system.pipe(key, b"1")
    try:
        files = [RemoteFile(f"memory:/{key}", 1, "") for key in system.find("/climb")]
        copies = copy_objects("shop", files, {}, tmp_path / "in")
    finally:
        system.rm("/climb", recursive=True)
    assert len({path.resolve() for path in copies.values()}) == 3
    for uri, path in copies.items():
        assert path.resolve().is_relative_to(tmp_path / "in")
        assert not path.name.startswith((".", "_")) and with_uris(str(path)) == uri


def test_a_store_that_refuses_shows_no_secret(s3: str, tmp_path: Path) -> None:
    for changed in ({"endpoint_override": "http://127.0.0.1:1"}, {"nonsense": "s3cret"}):
        storage = {"access_key": "key", "secret_key": "s3cret", "region": "us-east-1",
                   "connect_timeout": 1.0, "request_timeout": 1.0} | changed  # fmt: skip
        with pytest.raises(DataRefused, match=r"s3://bucket/x\.csv cannot be read") as refused:
            Bucket("s3://bucket", None, storage, tmp_path).find("x.csv")
        assert "s3cret" not in str(refused.value)


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("x")
    for uri in (f"file://{tmp_path}/a b.csv", f"file://{tmp_path}/a%20b.csv"):
        place = Files(path=uri)
        found = find_inputs(tmp_path, place, "shop", HashCache(Store(tmp_path / "store")))
        assert list(found.hashes) == ["a b.csv"]


def test_a_link_out_of_the_named_folder_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.csv").write_text("x")
    (inside / "b.csv").symlink_to(inside / "a.csv")
    assert len(find_files(tmp_path, ("in",), "shop")) == 2
    (tmp_path / "linked").symlink_to(inside)
    assert len(find_files(tmp_path, ("linked/*.csv",), "shop")) == 2
    (inside / "c.csv").symlink_to(outside / "a.csv")
    (inside / "d").symlink_to(outside)
    for pattern in ("in", "in/*.csv", "in/*/*.csv", "linked"):
        with pytest.raises(DataRefused, match="is a link that leads out of"):
            find_files(tmp_path, (pattern,), "shop")
    assert find_files(tmp_path, ("in/c.csv",), "shop") == [inside / "c.csv"]
