"""Raw files that a URI names: listed, told apart by content, and copied to where engines read.

Spark reads ``s3a://`` with Hadoop's own jars alone, which do not come with it, and each of its
schemes with other settings. Here one way serves all: Arrow's file systems, which are installed
anyway, and fsspec's for the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote, unquote

from pydantic import SecretStr

from pipeline.errors import DataRefused, PipelineError, StageFailed, StoreError

Storage = Mapping[str, SecretStr | bool | int | float]
_ARROW = {
    "s3": "S3FileSystem",
    "s3a": "S3FileSystem",
    "s3n": "S3FileSystem",
    "gs": "GcsFileSystem",
    "gcs": "GcsFileSystem",
    "abfs": "AzureFileSystem",
    "abfss": "AzureFileSystem",
}
"""Schemes that Arrow serves; fsspec would need a package for each."""
_CHUNK = 1 << 20
_LISTING_THREADS = 16
_COPYING_THREADS = 8
_COPIES = "objects-by-uri"


@dataclass(frozen=True)
class RemoteFile:
    """One object as it is now.

    Attributes:
        uri: its name.
        size: in bytes; None where a web server does not say.
        hash: differs whenever the content does: made of the store's ETag where it has them,
            else of the bytes.
    """

    uri: str
    size: int | None
    hash: str


def find_objects(name: str, uris: Sequence[str], storage: Storage) -> list[RemoteFile]:
    """Objects that match, by URI, each once; a URI that ends a folder stands for all below it.

    Names that begin with ``.`` or ``_`` below a folder are left out, as Spark does.

    Args:
        name: the source's name, for messages.
        uris: URIs with wildcards or without.
        storage: arguments of the file system.

    Raises:
        DataRefused: a URI matches nothing, or its store cannot be reached.
    """
    found: dict[str, RemoteFile] = {}
    systems = _Systems(storage)
    for uri in uris:
        with _refused(name, uri, storage):
            system, place = systems.open(uri)
            system.invalidate_cache()
            infos = dict(_matches(system, place))
            hashes = _identities(system, infos)
        if not infos:
            raise DataRefused(
                f"source {name!r}: no file matches {uri!r}",
                hint=f"Put the file there or correct ingest.sources.{name}.path.",
            )
        for (path, info), value in zip(infos.items(), hashes, strict=True):
            full = _full_uri(uri, path)
            found[full] = RemoteFile(full, info["size"], value)
    return [found[uri] for uri in sorted(found)]


def copy_objects(
    name: str, files: Sequence[RemoteFile], storage: Storage, folder: Path
) -> dict[str, Path]:
    """Copy objects below a folder, some at a time; local path by URI.

    Raises:
        DataRefused: an object is gone or cannot be read.
        StageFailed: an object has another size than when it was listed.
    """
    systems = _Systems(storage)

    def copy(file: RemoteFile) -> Path:
        target = folder / _COPIES / _local_name(file.uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _refused(name, file.uri, storage):
            _copy(*systems.open(file.uri), target)
        if file.size is not None and target.stat().st_size != file.size:
            raise StageFailed(
                f"{file.uri} changed while it was read",
                hint="Run again when nothing writes to it any more.",
            )
        return target

    with ThreadPoolExecutor(_COPYING_THREADS) as pool:
        return dict(zip((file.uri for file in files), pool.map(copy, files), strict=True))


def _copy(system: Any, place: str, target: Path) -> None:
    with system.open(place, "rb") as source, target.open("wb") as copied:
        while chunk := source.read(_CHUNK):
            try:
                copied.write(chunk)
            except OSError as error:
                raise StoreError(
                    f"{target}: cannot be written: {error.strerror}",
                    hint="Make room there, or set 'store' to a folder that has it.",
                ) from error


def with_uris(text: str) -> str:
    """A message that names copies, naming the objects that they are of."""
    return re.sub(rf"/[^\n:]*?/{_COPIES}/([a-z0-9]+)/([\w.%/~-]+)", _as_uri, text)


COPY_PATTERN = rf"^.*/{_COPIES}/([a-z0-9]+)/"
"""What stands before an object's own (percent-encoded) path in the path of its copy."""


def _full_uri(pattern: str, path: str) -> str:
    """The URI of a path that a file system gives; some leave out the host, some nothing."""
    scheme, _, rest = pattern.partition("://")
    path = path.removeprefix(f"{scheme}://").lstrip("/")
    host = rest.split("/", 1)[0]
    return f"{scheme}://{path if path.startswith(f'{host}/') else f'{host}/{path}'}"


def _as_uri(match: re.Match[str]) -> str:
    return f"{match[1]}://{unquote(match[2])}"


def _local_name(uri: str) -> str:
    """``s3/bucket/a%3D1/x.csv``: no part can lead out of a folder or be hidden to Spark."""
    scheme, _, path = uri.partition("://")
    parts = [quote(part, safe="") for part in path.split("/")]
    # Names of one letter case, or of dots alone, are kept apart from what they mean elsewhere.
    hidden = {".": "%2E", "_": "%5F", "": "%"}
    parts = [hidden.get(part[:1], part[:1]) + part[1:] for part in parts]
    return "/".join([scheme, *parts])


class _Systems:
    """File systems of fsspec's kind, one a scheme and host; safe to use from several threads."""

    def __init__(self, storage: Storage) -> None:
        self._options = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in storage.items()
        }
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    def open(self, uri: str) -> tuple[Any, str]:
        """The file system of a URI, and the path in it."""
        scheme, _, path = uri.partition("://")
        key = (scheme, path.split("/", 1)[0])
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(scheme, uri)
        system = self._made[key]
        return system, str(system._strip_protocol(uri)) if scheme not in _ARROW else path

    def _make(self, scheme: str, uri: str) -> Any:
        import fsspec
        from fsspec.implementations.arrow import ArrowFSWrapper

        if scheme in _ARROW:
            from pyarrow import fs

            return ArrowFSWrapper(getattr(fs, _ARROW[scheme])(**self._options))
        system, _ = fsspec.core.url_to_fs(uri, **self._options)
        return system


def _matches(system: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, info) of files; folders that match stand for what is below them."""
    if not re.search(r"[*?\[]", place):
        info = system.info(place)
        if info["type"] == "file":
            yield place, info
            return
        tops = [place]
    else:
        tops = sorted(system.glob(place))
    for top in tops:
        for path, info in sorted(_below(system, top).items()):
            below = path.removeprefix(top.rstrip("/")).strip("/")
            if info["type"] == "file" and not re.search(r"(^|/)[._]", below):
                yield path, info


def _below(system: Any, top: str) -> dict[str, dict[str, Any]]:
    """The files below a folder; a file itself, if it is one."""
    from pyarrow import fs

    arrow = getattr(system, "fs", None)
    if not isinstance(arrow, fs.FileSystem):
        return dict(system.find(top, detail=True))
    info = arrow.get_file_info(top)
    # One listing for all folders; fsspec would make one for each.
    infos = [info] if info.is_file else arrow.get_file_info(fs.FileSelector(top, recursive=True))
    return {i.path: {"type": "file", "size": i.size} for i in infos if i.is_file}


def _identities(system: Any, infos: Mapping[str, Mapping[str, Any]]) -> list[str]:
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        return list(pool.map(lambda item: _identity(system, *item), infos.items()))


def _identity(system: Any, path: str, info: Mapping[str, Any]) -> str:
    tag = next((info[key] for key in ("ETag", "etag", "md5") if info.get(key)), None)
    arrow: Any = getattr(system, "fs", None)
    if tag is None and hasattr(arrow, "open_input_stream"):
        with arrow.open_input_stream(path) as stream:
            metadata = stream.metadata() or {}
        tag = metadata.get("ETag") or metadata.get(b"ETag")
    if tag is None:
        return _content(system, path)
    text = tag.decode() if isinstance(tag, bytes) else str(tag)
    return hashlib.sha256(f"{info['size']} {text}".encode()).hexdigest()


def _content(system: Any, path: str) -> str:
    state = hashlib.sha256()
    with system.open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


@contextmanager
def _refused(name: str, uri: str, storage: Storage) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:  # each file system has errors of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        text = lines[0][:300]
        for value in storage.values():
            if isinstance(value, SecretStr) and value.get_secret_value():
                text = text.replace(value.get_secret_value(), "***")
        raise DataRefused(
            f"source {name!r}: {uri} cannot be read: {text}",
            hint=f"check the URI, and ingest.sources.{name}.storage",
        ) from None
