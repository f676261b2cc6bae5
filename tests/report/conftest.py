"""Artifacts made by hand, and the pages made from them, once for all tests here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file, in any import mode

from report_artifacts import make

from pipeline.report.inputs import ReportInputs
from pipeline.report.page import render

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "</style></svg>]]>--><a href='javascript:0'>&amp;{{7*7}}{% raw %}$\\frac{\x1b[31m\u202e\x00\r\n"
)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return make(tmp_path_factory.mktemp("report") / "artifacts")


@pytest.fixture(scope="session")
def page(inputs: ReportInputs) -> str:
    return render(inputs)


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that would run, break out, forge lines or turn text around, wherever it is trusted."""
    return HOSTILE


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(make(tmp_path_factory.mktemp("report") / "hostile", mark=HOSTILE))
