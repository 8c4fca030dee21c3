"""The structure in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn
from zoo_pytorch import SymbolBlock


class Standardise(nn.Module):
    """``float32[batch, 3, height, width]`` with values 0..1 -> what EfficientNet-Lite was trained on: (255 x - 127) / 128."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift."""
        return (x * 255.0 - 127.0) / 128.0


def flowers(*, features: int, classes: int, backbone: SymbolBlock | None = None) -> nn.Sequential:
    """A picture to logits.

    Args:
        features: What the backbone gives for a picture.
        classes: Length of the logits.
        backbone: The published network; None leaves an empty place, which the parameter file fills.
    """
    return nn.Sequential(Standardise(), backbone or SymbolBlock(), nn.Linear(features, classes))
