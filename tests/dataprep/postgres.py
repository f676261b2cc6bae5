"""A PostgreSQL server of the tests' own: temporary, on a free port, for this machine alone."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

JARS = Path("/usr/share/java")
PASSWORD = "s3cret-of-the-tests"
READER = "pipeline_reader"


def driver(name: str) -> Path:
    """A JDBC driver from Debian's packages, or the test is skipped."""
    jar = JARS / name
    if not jar.exists():
        pytest.skip(f"no {jar}; apt install libpostgresql-jdbc-java libxerial-sqlite-jdbc-java")
    return jar


@dataclass(frozen=True)
class Postgres:
    """A running server with the database ``shop`` and a user that may read it."""

    port: int
    _psql: list[str]
    _environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.port}/shop"

    def execute(self, sql: str) -> None:
        subprocess.run(self._psql, input=sql, text=True, check=True, env=self._environment)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server, and stop it; skips the test where PostgreSQL is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or not shutil.which("psql"):
        pytest.skip("PostgreSQL is not installed; apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    user = _server_user(folder)
    data, password, port = folder / "data", folder / "password", _free_port()
    password.write_text(PASSWORD)
    password.chmod(0o644)
    settings = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -p {port} -c fsync=off"
    control = programs[-1] / "pg_ctl"
    try:
        authentication = ["-A", "scram-sha-256", "--pwfile", str(password), "-E", "UTF8"]
        _run(user, [programs[-1] / "initdb", "-D", data, "-U", "owner", "-N", *authentication])
        _run(user, [control, "-D", data, "-w", "-o", settings, "-l", folder / "log", "start"])
        try:
            yield _with_database(port)
        finally:
            _run(user, [control, "-D", data, "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_database(port: int) -> Postgres:
    connect = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port)]
    environment = os.environ | {"PGPASSWORD": PASSWORD}
    first = Postgres(port, [*connect, "-U", "owner", "postgres"], environment)
    first.execute(f"CREATE USER {READER} PASSWORD '{PASSWORD}'; CREATE DATABASE shop;")
    return Postgres(port, [*connect, "-U", "owner", "shop"], environment)


def _server_user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root; Debian's package brings a user along."""
    if os.getuid() != 0:
        return None
    name = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
    shutil.chown(folder, name)
    return name


def _run(user: str | None, command: list[Any]) -> None:
    # Its own output would keep pytest's pipes open for as long as the server runs.
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "Asia/Kolkata"},
    )
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
