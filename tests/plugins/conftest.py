"""Fresh environments in which small distributions are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.environments import Distribution, Environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands import Commands

Installed = "Callable[..., Commands]"


def install(folder: Path, *distributions: Distribution) -> Commands:
    """A fresh environment with distributions installed by pip, whatever they require."""
    environment = Environment.make(folder / "environment")
    environment.install(*(distribution.wheel(folder) for distribution in distributions), dependencies=False)
    return environment.commands(folder)


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., Commands]:
    """A function that installs distributions and gives the command ``zoo`` of that environment."""
    return lambda *distributions: install(tmp_path, *distributions)
