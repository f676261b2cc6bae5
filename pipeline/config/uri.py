"""URIs of raw files: which kinds are read, and what they may not hold."""

from __future__ import annotations

import re
from urllib.parse import unquote

SCHEMES = (
    "abfs", "abfss", "file", "gcs", "gs", "hdfs", "http", "https", "memory", "s3", "s3a", "s3n",
    "sftp", "webhdfs",
)  # fmt: skip
"""Object stores, shared file systems and web servers; no archives and no chains of them."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=//|:)")


def scheme_of(text: str) -> str | None:
    """``s3`` for ``s3://bucket/x``; None for a path. ``file:`` is a URI as well."""
    found = _URI.match(text)
    return found[1].lower() if found else None


def is_remote(text: str) -> bool:
    """Whether a text names something that is not in this machine's file system."""
    return scheme_of(text) not in (None, "file")


def problem_of_uri(text: str) -> str | None:
    """Why a URI cannot be a source's path; None if it can."""
    scheme = scheme_of(text)
    if scheme not in SCHEMES or "::" in text:
        return f"must be a path, or a URI of one of {', '.join(SCHEMES)}"
    place = text.split("://", 1)[-1]
    if "@" in place.split("/", 1)[0]:
        return "must not hold a user or key; set them under storage, as ${env:NAME}"
    if re.search(r"[*?\[]", place.split("/", 1)[0]):
        return "must name its bucket or host without a wildcard"
    if scheme == "file" and not re.match(r"file:///[^/]", text):
        return "must be file:/// with an absolute path"
    if ".." in unquote(place).split("/"):
        return "must not hold '..'"
    if scheme in ("http", "https") and re.search(r"[*?\[]|/$", place):
        return "must name one file, for web servers list none"
    return None


def local_path(text: str) -> str:
    """A path as it is; ``file:///a/b`` as ``/a/b``."""
    return unquote(text.removeprefix("file://")) if scheme_of(text) == "file" else text
