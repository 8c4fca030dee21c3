"""Distributions that are installed for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import distributions


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that installs a distribution until the test ends; its arguments are those of `distributions.install`."""
    yield from distributions.installing(tmp_path / "site-packages", monkeypatch)
