"""A web server, and distributions that are installed for one test."""

from __future__ import annotations

import sys
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
    before = set(sys.modules)
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install_here(name: str, version: str = "1.0", **parts: object) -> Path:
        return distributions.install(folder, name, version, **parts)  # type: ignore[arg-type]  # passed on as they are

    yield install_here
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
