"""What this environment has: engines, photographs. A test that lacks something says what it needs and is skipped."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ENGINES = ("PyTorch", "MXNet")

#: Photographs -> the package that brings them and their folder in it; they are found without importing the package.
PHOTOGRAPHS = {
    "chelsea.png": ("scikit-image", "skimage", "data"),
    "coffee.png": ("scikit-image", "skimage", "data"),
    "rocket.jpg": ("scikit-image", "skimage", "data"),
    "motorcycle_left.png": ("scikit-image", "skimage", "data"),
    "flower.jpg": ("scikit-learn", "sklearn", "datasets/images"),
    "china.jpg": ("scikit-learn", "sklearn", "datasets/images"),
}


def has(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def needs(*distributions: str) -> pytest.MarkDecorator:
    """A mark that skips a test where a distribution is missing."""
    missing = [name for name in distributions if not has(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def each_engine() -> list[Any]:
    """Parameters: every engine by its name, skipped where its plugin is missing."""
    return [pytest.param(name, marks=needs(f"zoo-{name.lower()}"), id=name) for name in ENGINES]


def any_engine() -> str:
    """The name of an engine that is installed; skips where there is none."""
    found = [name for name in ENGINES if has(f"zoo-{name.lower()}")]
    return found[0] if found else pytest.skip("needs an engine: zoo-pytorch or zoo-mxnet")


def photograph(name: str) -> Path:
    """The path of a real photograph; skips where its package is missing."""
    distribution, package, folder = PHOTOGRAPHS[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{name} needs {distribution}")
    return Path(spec.submodule_search_locations[0], folder, name)
