"""A web server, and distributions that are installed for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import distributions, web


@pytest.fixture
def site() -> Iterator[web.Site]:
    """A web server on this machine."""
    with web.serving() as site:
        yield site


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that installs a distribution until the test ends; its arguments are those of `distributions.install`."""
    yield from distributions.installing(tmp_path / "site-packages", monkeypatch)
