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
    """Values for every parameter of a network, the same wherever they are computed: by name, from one frozen generator."""
    import numpy as np

    def values(block: Any) -> dict[str, Any]:
        random = np.random.RandomState(7)
        named = block._collect_params_with_prefix()
        return {name: value(name, named[name].shape, random).astype(np.float32) for name in sorted(named)}

    def value(name: str, shape: tuple[int, ...], random: Any) -> Any:
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            return random.uniform(0.5, 1.5, shape)
        reach = (6 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.5
        return random.uniform(-reach, reach, shape)

    return values
