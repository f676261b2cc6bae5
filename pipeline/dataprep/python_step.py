"""The Python functions of ``preprocess.steps``: of the project's own folder, and no other."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pyspark import cloudpickle
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame

from pipeline.config.steps import PythonStep
from pipeline.errors import ConfigError, PipelineError, StageFailed
from pipeline.store.modules import find_module_files, module_file

Param = int | float | str


def run_function(
    step: PythonStep, root: Path, params: Mapping[str, Param], views: Mapping[str, DataFrame]
) -> DataFrame:
    """Call the step's function with the views and the parameters.

    Its modules are imported afresh and forgotten afterwards: a file may have changed since, and
    another project of this process may have modules of the same names. They travel to Spark's
    Python workers by value, so that functions of columns need no folder there.

    Raises:
        ConfigError: the function is not there, takes other arguments, gives no DataFrame, or
            names a column that is not there.
        StageFailed: it raised; the message has the file and the line.
    """
    where = f"step {step.name} ({step.python})"
    root = root.resolve()
    files = find_module_files(root, step.module, step.function, where)
    with _project_modules(root), _errors_placed(root, files, where):
        function = _load(step, root, where)
        with _by_value(root):
            result = function(dict(views), dict(params))
        _check_imports(root, files, where)
    if not isinstance(result, DataFrame):
        raise ConfigError(f"{where} must return a DataFrame. Got {type(result).__name__} instead")
    return result


def _load(step: PythonStep, root: Path, where: str) -> Callable[..., Any]:
    module = importlib.import_module(step.module)
    if not _is_own(module, root):
        raise ConfigError(
            f"{where}: {step.module} is the name of an installed module",
            hint="Name the project's module otherwise.",
        )
    function: Callable[..., Any] = getattr(module, step.function)
    try:
        inspect.signature(function).bind({}, {})
    except TypeError as error:
        line = inspect.unwrap(function).__code__.co_firstlineno
        raise ConfigError(
            f"{where}, line {line}: must take two arguments, the inputs by name and the "
            f"parameters: {error}"
        ) from error
    return function


@contextmanager
def _project_modules(root: Path) -> Iterator[None]:
    """Let modules be imported from the project's folder, and forget them afterwards."""
    written = sys.dont_write_bytecode
    # A cached file would be taken for the source that was changed within the same second.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
        sys.dont_write_bytecode = written
        for module in _own_modules(root):
            del sys.modules[module.__name__]


@contextmanager
def _by_value(root: Path) -> Iterator[None]:
    modules = _own_modules(root)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _own_modules(root: Path) -> list[ModuleType]:
    return [m for name, m in list(sys.modules.items()) if m.__name__ == name and _is_own(m, root)]


def _is_own(module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:  # a folder without __init__.py
        return str(root.joinpath(*module.__name__.split("."))) in getattr(module, "__path__", [])
    return Path(file) == module_file(root, module.__name__)  # environments lie in projects, too


def _check_imports(root: Path, files: Sequence[Path], where: str) -> None:
    """What was imported must be in the fingerprint."""
    for module in _own_modules(root):
        if module.__file__ and Path(module.__file__) not in files:
            raise ConfigError(
                f"{where}: {module.__name__} is imported in a way that a plan cannot see",
                hint=f"Write: import {module.__name__}",
            )


@contextmanager
def _errors_placed(root: Path, files: Sequence[Path], where: str) -> Iterator[None]:
    """Turn what the project's code raises into one message with its file and line."""
    try:
        yield
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        places = [
            f"{Path(frame.filename).relative_to(root)}, line {frame.lineno}: "
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) in files
        ]
        first = (str(error).strip().splitlines() or ["no message"])[0]
        message = f"{where}: {places[-1] if places else ''}{type(error).__name__}: {first}"
        if isinstance(error, AnalysisException | ParseException):
            raise ConfigError(message, hint=f"correct the function of step {where}") from error
        raise StageFailed(message) from error
