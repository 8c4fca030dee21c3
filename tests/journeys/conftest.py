"""What the journeys start from: a command in a process of its own, and a server on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.commands import Commands
from tests.web import Site, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """The command ``zoo``, with an empty cache."""
    return Commands(tmp_path)


@pytest.fixture
def here(tmp_path: Path) -> Commands:
    """The machine on which a lock is made."""
    return Commands(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Commands:
    """Another machine, with a cache of its own, where nothing is configured."""
    return Commands(tmp_path / "there")


@pytest.fixture
def site() -> Iterator[Site]:
    """A real web server on this machine, without pages."""
    with serving() as started:
        yield started
