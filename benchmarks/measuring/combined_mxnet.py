"""The structure of the combined model in MXNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo_mxnet import SymbolBlock
from zoo_mxnet.framework import mx

from zoo_core import BlockFactory

FEATURES, CLASSES = 2048, 5


class Standardise(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Pictures with values 0..1 -> values around 0."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """``float32[batch, 3, height, width]`` -> the same shape."""
        return (x - 0.45) / 0.225


def sequential(backbone: Any) -> Any:
    """Ours, any network, ours."""
    network = mx.gluon.nn.HybridSequential()
    network.add(Standardise(), backbone, mx.gluon.nn.Dense(CLASSES, in_units=FEATURES))
    return network


@dataclass(frozen=True, kw_only=True)
class CombinedFactory(BlockFactory):
    """The structure with an empty place; registered nowhere, so it is handed over."""

    def new_block(self, model: Any, model_path: Any, arguments: Any) -> Any:
        """The empty network."""
        return sequential(SymbolBlock())
