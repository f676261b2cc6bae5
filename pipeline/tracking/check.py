"""What tracking needs, looked at before any stage starts. MLflow itself is not imported."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.tracking.place import Place, place_of

INSTALL = "Install it with: pip install 'spark-ray-pipeline[mlflow]'"
_LEAST = (3, 17)
"""The version that this was written for; much older ones cannot log models as skops files."""


def check_tracking(config: PipelineConfig) -> None:
    """Find what would make tracking fail for certain.

    Raises:
        ConfigError: a package is missing or too old, or the URI leads nowhere.
    """
    place = place_of(config)
    _check_packages(place)
    if file := place.sqlite_file:
        _check_folder(file.parent)
    elif place.is_database:
        _check_driver(place)
    else:
        _check_server(place)


def mlflow_version() -> str | None:
    """The installed MLflow, of which the full one has the skinny one as a part; None without."""
    for name in ("mlflow-skinny", "mlflow"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _check_packages(place: Place) -> None:
    needed = ("mlflow", "sqlalchemy", "alembic") if place.is_database else ("mlflow",)
    missing = [name for name in needed if not _is_installed(name)]
    if missing:
        raise ConfigError(
            f"tracking.mlflow: needs the package{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}, not installed here",
            hint=f"{INSTALL}. Or leave tracking.mlflow out.",
        )
    found = mlflow_version() or "0"
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < _LEAST:
        least = ".".join(str(part) for part in _LEAST)
        raise ConfigError(
            f"tracking.mlflow: needs MLflow {least} or newer. Got {found} instead", hint=INSTALL
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"tracking.mlflow.uri: {folder}: cannot be made: {error.strerror}",
            hint="Name a file in a folder that this user may write to.",
        ) from error


def _check_driver(place: Place) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(place.uri).get_dialect().import_dbapi()
    except ImportError as error:
        raise ConfigError(
            f"tracking.mlflow.uri: {place.shown}: needs the package {error.name}, "
            "not installed here",
            hint=f"Install the driver of this database: pip install {error.name}",
        ) from error
    except (ArgumentError, ValueError):
        # Their messages may quote the URI, and with it the password.
        raise ConfigError(
            f"tracking.mlflow.uri: {place.shown}: is not the URI of a database",
            hint="For example postgresql+psycopg2://USER:PASSWORD@HOST:5432/NAME",
        ) from None


def _check_server(place: Place) -> None:
    try:
        parts = urlsplit(place.uri)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host:
        raise ConfigError(
            f"tracking.mlflow.uri: {place.shown}: names no host, or no valid port",
            hint="For example https://mlflow.example.com or http://localhost:5000",
        )
