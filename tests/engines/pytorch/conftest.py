"""Fixtures for PyTorch."""

from __future__ import annotations

import pytest

from tests.engines.pytorch.kinds import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of program."""
    return str(request.param)
