"""The structure of the combined model in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from zoo_pytorch import SymbolBlock

from zoo_core import BlockFactory

FEATURES, CLASSES = 2048, 5


class Standardise(nn.Module):
    """Pictures with values 0..1 -> values around 0."""

    def forward(self, x: Tensor) -> Tensor:
        """``float32[batch, 3, height, width]`` -> the same shape."""
        return (x - 0.45) / 0.225


def sequential(backbone: nn.Module) -> nn.Sequential:
    """Ours, any network, ours."""
    return nn.Sequential(Standardise(), backbone, nn.Linear(FEATURES, CLASSES))


@dataclass(frozen=True, kw_only=True)
class CombinedFactory(BlockFactory):
    """The structure with an empty place; registered nowhere, so it is handed over."""

    def new_block(self, model: Any, model_path: Any, arguments: Any) -> nn.Sequential:
        """The empty network."""
        return sequential(SymbolBlock())
