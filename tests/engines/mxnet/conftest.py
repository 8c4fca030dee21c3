"""Fixtures for MXNet; they import it late, so that the tests can be collected, and then skip, where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture
def engine() -> Any:
    from zoo_mxnet.engine import MXNetEngine

    return MXNetEngine()


@pytest.fixture
def parameter_file(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes tensors, and texts as the header, to a safetensors file."""
    from safetensors.numpy import save_file

    def write(tensors: Mapping[str, Any], **header: str) -> Path:
        path = tmp_path / "model.safetensors"
        save_file(dict(tensors), path, metadata=header or None)
        return path

    return write


@pytest.fixture
def seeded() -> Callable[[Any], dict[str, Any]]:
    """A function that gives seeded values for every parameter of a block."""
    from tests.reference_networks import seeded_values

    def values(block: Any) -> dict[str, Any]:
        return seeded_values({name: held.shape for name, held in block._collect_params_with_prefix().items()})

    return values
