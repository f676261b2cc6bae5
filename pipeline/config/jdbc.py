"""``ingest.sources.NAME.jdbc``: a table or query of a database that has a JDBC driver."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from pipeline.config.section import Count, Name, Section

_DRIVERS = {
    "mariadb": "org.mariadb.jdbc.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "oracle": "oracle.jdbc.OracleDriver",
    "postgresql": "org.postgresql.Driver",
    "sqlite": "org.sqlite.JDBC",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
}
_CREDENTIALS = re.compile(
    r"(?i)\w*(user|uid|password|pwd|token|secret)\w*=|//[^/]*@|thin:[^@]*/[^@]*@"
)
_QUOTED = r'"[^"]+"|`[^`]+`|\[[^\]]+\]'
_TABLE = re.compile(rf"(?:[\w$]+|{_QUOTED})(?:\.(?:[\w$]+|{_QUOTED}))*")
_COMMENT = re.compile(r"\s*(--[^\n]*\n|/\*.*?\*/)", re.DOTALL)


def _url(value: str) -> str:
    # Nothing of it is shown: it may have come from the environment.
    if not re.match(r"jdbc:[a-z0-9]+:", value):
        raise ValueError("must begin with jdbc: and the kind of database, as jdbc:postgresql://…")
    if _CREDENTIALS.search(value):
        raise ValueError(
            "must not hold a user, password or token; they are set as jdbc.user, jdbc.password and "
            "jdbc.properties, where no log and no manifest shows them"
        )
    return value


def _table(value: str) -> str:
    if not _TABLE.fullmatch(value):
        raise ValueError(f"must be a table's name, with its schema or without. Got {value!r}")
    return value


def _select(value: str) -> str:
    text = value.strip()
    while comment := _COMMENT.match(text):
        text = text[comment.end() :].lstrip()
    if not re.match(r"(?i)(select|with)\b", text) or ";" in text:
        raise ValueError("must be one SELECT or WITH query without a semicolon")
    return value.strip()


def _bound(value: int | str) -> int | datetime:
    try:
        return value if isinstance(value, int) else datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(
            "lower and upper must be whole numbers, dates as 2024-01-31, or times as "
            f"2024-01-31 23:59:00. Got {value!r} instead"
        ) from error


Query = Annotated[str, AfterValidator(_select)]


class JdbcPartition(Section):
    """Read by several connections side by side, each a range of one column's values.

    The bounds only decide how the ranges are cut: rows outside them, and nulls, are read too.
    """

    column: Name
    lower: int | str = Field(description="a number, a date, or a time")
    upper: int | str
    num_partitions: Annotated[int, Field(ge=2, le=256)]

    @model_validator(mode="after")
    def _bounds(self) -> JdbcPartition:
        low, high = _bound(self.lower), _bound(self.upper)
        if isinstance(low, int) != isinstance(high, int):
            raise ValueError("lower and upper must both be numbers, or both dates or times")
        if not low < high:  # type: ignore[operator]  # of one type, by the lines above
            raise ValueError(
                f"lower must be below upper. Got {self.lower} and {self.upper} instead"
            )
        return self


class JdbcConfig(Section):
    """What to read, and as whom. The connection is opened for reading only."""

    url: Annotated[str, AfterValidator(_url)]
    table: Annotated[str, AfterValidator(_table)] | None = None
    query: Query | None = None
    version: Query | None = Field(
        default=None,
        description="a query of one row that differs whenever the rows do, such as "
        "SELECT max(updated_at), count(*) FROM orders; left out, the rows are read in every run",
    )
    driver: str | None = Field(default=None, description="the driver's class; known for many")
    driver_jar: str | None = Field(
        default=None,
        description="the driver's file; left out, it must be among Spark's own (spark.jars)",
    )
    user: SecretStr | None = None
    password: SecretStr | None = None
    properties: dict[str, SecretStr] = Field(default={}, description="for the driver")
    partition: JdbcPartition | None = None
    fetch_size: Count = 10_000
    connect_timeout_seconds: Count = 30
    query_timeout_seconds: Count = 3600

    @model_validator(mode="after")
    def _one_of_table_and_query(self) -> JdbcConfig:
        if (self.table is None) == (self.query is None):
            raise ValueError("must have either table or query")
        return self

    @model_validator(mode="after")
    def _ranges_need_a_version(self) -> JdbcConfig:
        if self.partition is not None and self.version is None:
            raise ValueError(
                "partition needs version: each connection sees the table at another moment, and "
                "only a version tells that it did not change meanwhile"
            )
        return self

    @model_validator(mode="after")
    def _known_driver(self) -> JdbcConfig:
        if self.driver is None and self.database not in _DRIVERS:
            raise ValueError(
                f"driver must be set for {self.database}; known are {', '.join(_DRIVERS)}"
            )
        return self

    @property
    def database(self) -> str:
        """The kind of database: ``postgresql``."""
        return self.url.split(":", 2)[1]

    @property
    def driver_class(self) -> str:
        return self.driver or _DRIVERS[self.database]

    @property
    def place(self) -> str:
        """What is read, as reports and quarantines show it."""
        return self.table or "query"

    def connection_properties(self) -> dict[str, str]:
        """What the driver is given, secrets in clear: read-only and time-outs, then the user's."""
        timeout = self.connect_timeout_seconds
        # A break of the network is no answer for ever, unless the driver is told how long to wait.
        silence = str(self.query_timeout_seconds + timeout)
        by_database = {
            "postgresql": {
                "readOnly": "true",
                "readOnlyMode": "always",
                "connectTimeout": str(timeout),
                "loginTimeout": str(timeout),
                "socketTimeout": silence,
            },
            "sqlite": {"open_mode": "1", "busy_timeout": str(timeout * 1000)},
        }
        secrets = {"user": self.user, "password": self.password, **self.properties}
        return by_database.get(self.database, {}) | {
            name: value.get_secret_value() for name, value in secrets.items() if value is not None
        }

    def hide(self, text: str) -> str:
        """A driver's message without the user, the password and the properties' values."""
        secrets = (self.user, self.password, *self.properties.values())
        values = {secret.get_secret_value() for secret in secrets if secret is not None}
        for value in sorted(values - {""}, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "***", text)
        return text
