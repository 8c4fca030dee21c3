"""The block factories of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from zoo_core import BlockFactory, Model
from zoo_pytorch.networks.efficientnet import EfficientNetLite0Network
from zoo_pytorch.networks.mlp import MLPNetwork
from zoo_pytorch.networks.resnet import DEPTHS, ResNet
from zoo_pytorch.networks.simple import IdentityNetwork, OnesNetwork


class NeutralFactory(BlockFactory):
    """A factory that every engine has under the same name, with the same parameters."""

    engines: ClassVar[tuple[str, ...]] = ("PyTorch", "MXNet")

    def new_block(self, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        """Build the network, which knows this factory."""
        network = self._network()
        network.zoo_factory = self  # type: ignore[assignment]  # a plain attribute, not a module
        return network

    def _network(self) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Identity(NeutralFactory):
    """A network that gives back what it gets."""

    def _network(self) -> nn.Module:
        return IdentityNetwork()


@dataclass(frozen=True, kw_only=True)
class Ones(NeutralFactory):
    """A network that gives ones.

    Attributes:
        shape: Of one item, without the batch axis.
        dtype: ``float32``, ``float16``, ``float64``, ``int32``, ``int64`` or ``uint8``.
    """

    DTYPES: ClassVar[tuple[str, ...]] = ("float16", "float32", "float64", "int32", "int64", "uint8")

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape):
            raise ValueError(f"shape must have no negative size: {self.shape}")
        if self.dtype not in self.DTYPES:
            raise ValueError(f"dtype {self.dtype!r}: expected one of {', '.join(self.DTYPES)}")

    def _network(self) -> nn.Module:
        return OnesNetwork(self.shape, getattr(torch, self.dtype))


@dataclass(frozen=True, kw_only=True)
class MLP(NeutralFactory):
    """A multi-layer perceptron.

    Attributes:
        inputs: Values of one item, all axes after the batch together.
        hidden: The widths of the hidden layers.
        outputs: Values that it gives for one item.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int

    def __post_init__(self) -> None:
        if min(self.inputs, self.outputs, *self.hidden) < 1:
            raise ValueError(f"inputs, hidden and outputs must be at least 1: {self.inputs}, {self.hidden}, {self.outputs}")

    def _network(self) -> nn.Module:
        return MLPNetwork(self.inputs, self.hidden, self.outputs)


@dataclass(frozen=True, kw_only=True)
class ResNetV1(NeutralFactory):
    """A residual network, version 1.5, with torchvision's parameter names.

    Attributes:
        layers: 18, 34, 50, 101 or 152.
        classes: How many classes there are.
    """

    layers: int = 50
    classes: int = 1000

    def __post_init__(self) -> None:
        if self.layers not in DEPTHS:
            raise ValueError(f"layers must be one of {', '.join(map(str, DEPTHS))}, not {self.layers}")
        if self.classes < 1:
            raise ValueError(f"classes must be at least 1, not {self.classes}")

    def _network(self) -> nn.Module:
        return ResNet(self.layers, self.classes)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(NeutralFactory):
    """EfficientNet-Lite0, with the parameter names of the published file.

    Attributes:
        classes: How many classes there are.
    """

    classes: int = 1000

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"classes must be at least 1, not {self.classes}")

    def _network(self) -> nn.Module:
        return EfficientNetLite0Network(self.classes)
