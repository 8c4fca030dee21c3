"""Networks whose constructors compute what no parameter file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo_core as zoo


class BufferThatIsNotSaved(nn.Module):
    """A buffer with ``persistent=False`` stands in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("scale", torch.tensor([1.0, 10.0, 100.0]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


class AnchorsInAList(nn.Module):
    """Tensors in a plain list are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.anchors = [torch.arange(3) * size for size in (8.0, 16.0)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.anchors[0] - self.anchors[1]


class ItemInTheConstructor(nn.Module):
    """A number that is read from a tensor while the network is built."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0.1, 0.3, 2)]
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in self.rates)

    def forward(self, x: Tensor) -> Tensor:
        for layer, rate in zip(self.layers, self.rates, strict=True):
            x = x + rate * layer(x)
        return x


@dataclass(frozen=True, kw_only=True)
class Built(zoo.BlockFactory):
    """Builds the network of this module that has a name."""

    network: str

    def new_block(self, model: zoo.Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        return globals()[self.network]()
