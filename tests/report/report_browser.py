"""A real, headless Chromium, driven by its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr",
    "--virtual-time-budget=3000",
)  # fmt: skip


@dataclass(frozen=True)
class Visit:
    dom: str
    console: list[str]
    requests: list[str]


def visit(page: Path, scratch: Path, *flags: str, fragment: str = "") -> Visit:
    """Open a file and report its DOM, its console and what it asked the network for."""
    log = scratch / "net.json"
    scratch.mkdir(parents=True, exist_ok=True)
    command = [
        _chromium(), *_FLAGS, f"--user-data-dir={scratch / 'profile'}", f"--log-net-log={log}",
        *flags, "--dump-dom", page.as_uri() + fragment,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    errors = done.stderr.decode(errors="replace")
    assert done.returncode == 0, errors[-3000:]
    console = [line for line in errors.splitlines() if "CONSOLE" in line]
    return Visit(done.stdout.decode(), console, _requests(log))


def _chromium() -> str:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no Chromium on PATH: install the Debian package `chromium` (see the Makefile)")
    if found is None:
        # `make test` installs it where it may; a laptop whose owner did not want it is no failure.
        pytest.skip("no Chromium on PATH")
    return found


def _requests(log: Path) -> list[str]:
    """Addresses that a page, not the browser itself, asked for."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = []
    for event in events:
        parameters = event.get("params", {})
        url, initiator = str(parameters.get("url", "")), str(parameters.get("initiator", ""))
        # What the browser asks for by itself has no initiator, or says that it is "not an origin".
        if url.startswith(("http", "ws")) and initiator not in ("", "not an origin"):
            asked.append(url)
    return asked
