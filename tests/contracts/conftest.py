"""Every engine keeps one contract; a test runs once for each that is installed."""

from __future__ import annotations

import pytest

import zoo_core as zoo
from zoo_core.entry_points import InstalledEntryPoints

ENGINES = ("MXNet", "PyTorch")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> zoo.Engine:
    """An engine that is installed."""
    return load_engine(request.param)


@pytest.fixture
def both_engines() -> tuple[zoo.Engine, zoo.Engine]:
    """MXNet and PyTorch."""
    first, second = (load_engine(name) for name in ENGINES)
    return first, second


def load_engine(name: str) -> zoo.Engine:
    entry = InstalledEntryPoints.scan().provider(name)
    if entry is None:
        pytest.skip(f"needs zoo-{name.lower()}")
    found: zoo.Engine = entry.load()()
    return found
