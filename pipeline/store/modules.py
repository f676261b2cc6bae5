"""The project's own Python files that a function of the configuration runs, found unread by Python.

Only the text is looked at, so that a plan can tell what changed without running any of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from pipeline.errors import ConfigError


def find_module_files(root: Path, module: str, function: str, where: str) -> list[Path]:
    """The module's file, and those of every module of the project that it imports, sorted.

    Imports are followed wherever in a file they stand. What is not a file below ``root`` is an
    installed package, and none of the project's.

    Args:
        root: the project's folder.
        module: dotted name of a module in it.
        function: what the module must define.
        where: the step, for messages.

    Raises:
        ConfigError: no such file or function, a file that is not Python, or a link out of the
            project.
    """
    root = root.resolve()
    wanted = module_file(root, module)
    if wanted is None:
        place = f"{module.replace('.', '/')}.py"
        raise ConfigError(
            f"{where}: no such file: {place}",
            hint=f"Functions are of the project's own folder, {root}; installed modules are not.",
        )
    found: dict[Path, ast.Module] = {}
    _follow(root, module, where, found)
    _check_function(found[wanted], wanted.relative_to(root), function, where)
    return sorted(found)


def module_file(root: Path, module: str) -> Path | None:
    """The file of the project that a dotted name means; None if it means none.

    The pipeline's own package is installed, wherever its folder lies.
    """
    if module.partition(".")[0] == "pipeline":
        return None
    place = root.joinpath(*module.split("."))
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if file.is_file():
            return file
    return None


def _follow(root: Path, module: str, where: str, found: dict[Path, ast.Module]) -> None:
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # importing a.b.c also runs a and a.b
        name = ".".join(parts[:depth])
        file = module_file(root, name)
        if file is None or file in found:
            continue
        if not file.resolve().is_relative_to(root):
            raise ConfigError(f"{where}: {file.relative_to(root)} is a link out of the project")
        found[file] = _parse(file, file.relative_to(root), where)
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(found[file], package):
            _follow(root, imported, where, found)


def _parse(file: Path, shown: Path, where: str) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except SyntaxError as error:
        raise ConfigError(f"{where}: {shown}, line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: {shown} cannot be read as UTF-8 text: {error}") from error


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module that a file may import: ``from a import b`` may mean a.b as well as a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _check_function(tree: ast.Module, shown: Path, function: str, where: str) -> None:
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in names:
        near = get_close_matches(function, names, 1)
        there = f"there is {near[0]!r}" if near else f"there are {', '.join(names) or 'none'}"
        raise ConfigError(f"{where}: {shown} defines no function {function!r} ({there})")
