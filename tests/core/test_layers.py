"""What plugins and examples may use of zoo_core: its public names, as any third party would.

The layers inside zoo_core and the plugins are contracts of import-linter in pyproject.toml; it knows modules but not names.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo_core

ROOT = Path(__file__).parents[2]
OUTSIDE_CORE = sorted(path for folder in ("plugins", "examples", "benchmarks") for path in ROOT.glob(f"{folder}/**/*.py"))
PUBLIC_MODULES = {"zoo_core", "zoo_core.hookspecs", "zoo_core.testing"}


def imports_of_core(source: str) -> Iterator[tuple[str, str | None]]:
    """Each import of zoo_core as its module and, for ``from module import name``, the name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.partition(".")[0] == "zoo_core")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "zoo_core":
            yield from ((node.module, alias.name) for alias in node.names)


def is_public(module: str, name: str | None) -> bool:
    if module == "zoo_core" and name is not None:
        return name in zoo_core.__all__ or f"zoo_core.{name}" in PUBLIC_MODULES
    return module in PUBLIC_MODULES


@pytest.mark.parametrize("path", OUTSIDE_CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_outside_core_only_its_public_names_are_imported(path):
    private = [f"{module}: {name}" for module, name in imports_of_core(path.read_text("utf-8")) if not is_public(module, name)]
    assert private == []


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("import zoo_core as zoo", True),
        ("from zoo_core import Criteria", True),
        ("from zoo_core import hookspecs", True),
        ("from zoo_core.testing import anything", True),
        ("from zoo_core.block import BlockFactory", False),
        ("import zoo_core.block", False),
        ("from zoo_core import block", False),
        ("from zoo_core_extras import anything", True),
    ],
)
def test_the_rule_tells_public_from_private(line, allowed):
    assert all(is_public(module, name) for module, name in imports_of_core(line)) is allowed
