"""Which files of the project a Python step runs, and so what its fingerprint depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.planning import plan
from pipeline.store.modules import find_module_files
from tests.config.test_loader import MINIMAL

FILES = {
    "features/__init__.py": "",
    "features/sales.py": "import os\nfrom . import days\nfrom shared.texts import clean\n"
    "def add(inputs, params):\n    import features.late\n    return inputs['t']\n",
    "features/days.py": "from .deep.er import *\n",
    "features/deep/er.py": "import features.sales\n",
    "features/late.py": "",
    "shared/texts.py": "import numpy, pipeline.cli\nclean = str\n",
    "unused.py": "",
}
USED = [name for name in FILES if name != "unused.py"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_imports_are_followed_within_the_project(root: Path) -> None:
    (root / "pipeline").mkdir()
    (root / "pipeline" / "cli.py").write_text("")  # the installed package's name is not its
    found = find_module_files(root, "features.sales", "add", "step f")
    assert [str(path.relative_to(root)) for path in found] == sorted(USED)


@pytest.mark.parametrize(
    ("module", "function", "message"),
    [
        ("features.sale", "add", r"no such file: features/sale\.py"),
        ("os", "system", r"no such file: os\.py"),
        ("pipeline.cli", "app", r"no such file: pipeline/cli\.py"),
        ("features.sales", "ad", r"sales\.py defines no function 'ad' \(there is 'add'\)"),
        ("broken", "f", r"step f: broken\.py, line 2: "),
        ("outside", "f", r"outside\.py is a link out of the project"),
    ],
)
def test_what_is_no_function_of_the_project_is_refused(
    root: Path, tmp_path_factory: pytest.TempPathFactory, module: str, function: str, message: str
) -> None:
    (root / "broken.py").write_text("x = 1\ndef f(:\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "outside.py"
    elsewhere.write_text("def f(inputs, params): ...")
    (root / "outside.py").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=message):
        find_module_files(root, module, function, "step f")


def test_the_fingerprint_changes_with_a_module_that_is_used_and_with_no_other(root: Path) -> None:
    file = configured(root)

    def preprocess() -> str:
        return plan(load_config(file))[1].fingerprint

    before = preprocess()
    (root / "unused.py").write_text("x = 1")
    assert preprocess() == before
    for name in ("features/late.py", "shared/texts.py"):
        (root / name).write_text(f"{FILES[name]}\n# changed\n")
        after = preprocess()
        assert after != before
        before = after


def test_a_plan_lists_the_steps(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "-c", str(configured(root)), "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert steps == [{"name": "f", "kind": "python", "python": "features.sales:add"}]


def configured(root: Path) -> Path:
    """A configuration whose one step is a function."""
    (root / "data").mkdir()
    (root / "data" / "t.csv").write_text("id,at,g,y\n")
    file = root / "small.yaml"
    file.write_text(MINIMAL.replace("sql: conf/f.sql", 'python: "features.sales:add"'))
    return file
