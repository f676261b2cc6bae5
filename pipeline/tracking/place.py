"""Where a pipeline is tracked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.config.tracking import DATABASES, MlflowConfig
from pipeline.errors import ConfigError
from pipeline.store import Store

_URI = "tracking.mlflow.uri"
_SQLITE_FILE = re.compile(r"(sqlite(?:\+[a-z0-9_]+)?:///)([^?]+)")


@dataclass(frozen=True)
class Place:
    """A tracking server or database, and the experiment in it.

    Attributes:
        uri: may hold a password; show ``shown`` instead.
        shown: the URI without user, password and options.
        artifacts: where files and models go, or None where the server chooses.
        fixed: whether files must go to ``artifacts``, rather than where the experiment has them.
        experiment: its name.
        secrets: texts that no message may show.
    """

    uri: str = field(repr=False)
    shown: str
    artifacts: str | None
    fixed: bool
    experiment: str
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def is_database(self) -> bool:
        return self.uri.startswith(DATABASES)

    @property
    def sqlite_file(self) -> Path | None:
        found = _SQLITE_FILE.match(self.uri)
        return Path(found[2]) if found else None

    def scrubbed(self, text: str) -> str:
        """A message of somebody else's, without what must not be shown."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def settings_of(config: PipelineConfig) -> MlflowConfig:
    """The section, which must be there.

    Raises:
        ConfigError: it is left out.
    """
    if config.tracking.mlflow is None:
        raise ConfigError(
            "tracking.mlflow: is not configured, so there is nowhere to track to",
            hint="Add to the configuration: tracking: {mlflow: {}}, or --set tracking.mlflow={}",
        )
    return config.tracking.mlflow


def place_of(config: PipelineConfig) -> Place:
    """Where this pipeline is tracked; the defaults are in its store."""
    settings, folder = settings_of(config), Store(config.store_path).tracking
    uri = settings.uri or f"sqlite:///{folder / 'mlflow.db'}"
    if found := _SQLITE_FILE.match(uri):
        uri = f"{found[1]}{config.path(found[2])}{uri[found.end() :]}"
    shown, secrets = _without_secrets(uri)
    if text := config.secrets.get(_URI):
        shown, secrets = text, (uri, *secrets)
    return Place(
        uri=uri,
        shown=shown,
        artifacts=_artifacts(config, settings, folder, uri),
        fixed=settings.uri is None or settings.artifacts is not None,
        experiment=settings.experiment or config.name,
        secrets=secrets,
    )


def _artifacts(
    config: PipelineConfig, settings: MlflowConfig, folder: Path, uri: str
) -> str | None:
    if settings.artifacts is None:
        return (folder / "artifacts").as_uri() if uri.startswith(DATABASES) else None
    if "://" in settings.artifacts:
        return settings.artifacts
    return config.path(settings.artifacts).as_uri()


def _without_secrets(uri: str) -> tuple[str, tuple[str, ...]]:
    """A URI that may be shown, and the parts of it that may not."""
    scheme, _, rest = uri.partition("://")
    rest, _, options = rest.partition("?")
    login, at, address = rest.rpartition("@")
    if scheme.startswith("sqlite"):  # a path, which may hold an @
        login, at, address = "", "", rest
    password = login.partition(":")[2]
    secrets = (uri, login, password, options) if at or options else ()
    shown = f"{scheme}://{'***@' if at else ''}{address}{'?***' if options else ''}"
    return shown, tuple(sorted({s for s in secrets if s}, key=len, reverse=True))
