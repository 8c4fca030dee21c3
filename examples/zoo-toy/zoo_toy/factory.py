"""The network and its factory, which is imported when the model is loaded and not before: a search needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo_core as zoo


class ColourNet(nn.Module):
    """``float32[batch, 3]``, colours with values from 0 to 1 -> logits ``float32[batch, classes]``.

    Each class has a typical colour, and the logit falls with the squared distance to it. Both are learned.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.typical = nn.Parameter(torch.rand(classes, 3))
        self.sharpness = nn.Parameter(torch.full((classes,), 10.0))

    def forward(self, colours: Tensor) -> Tensor:
        """The logits."""
        squares = (colours[:, None, :] - self.typical) ** 2
        return -self.sharpness * squares.sum(2)


@dataclass(frozen=True, kw_only=True)
class ToyNet(zoo.BlockFactory):
    """Builds an empty `ColourNet`; the parameter file fills it.

    Attributes:
        classes: How many colours have names.
    """

    classes: int = 8

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"classes must be at least 1, not {self.classes}")

    def new_block(self, model: zoo.Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        """The network, which knows this factory, so that ``Model(net).save(path)`` needs none named."""
        net = ColourNet(self.classes)
        net.zoo_factory = self  # type: ignore[assignment]  # a plain attribute, not a module
        return net
