"""The block factories of this plugin: what describes a network, checked without importing PyTorch.

The MXNet plugin has the same classes with the same fields, so that one parameter file serves both engines.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zoo_core import BlockFactory

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from zoo_core import Model

#: How many blocks each stage of a ResNet has, by the number of its layers.
DEPTHS: Mapping[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
#: What `Ones` can give.
DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8")


class NeutralFactory(BlockFactory):
    """A factory that every engine has under the same name: its fields describe the network completely."""

    engines: ClassVar[tuple[str, ...]] = ("PyTorch", "MXNet")

    @abstractmethod
    def network(self) -> nn.Module:
        """The empty network; PyTorch is imported here and not before."""

    def new_block(self, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        """Build the empty network, which knows this factory."""
        return self.network()


@dataclass(frozen=True, kw_only=True)
class Identity(NeutralFactory):
    """A network that gives back what it gets."""

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.simple.Identity`."""
        from zoo_pytorch.networks import simple

        return simple.Identity()


@dataclass(frozen=True, kw_only=True)
class Ones(NeutralFactory):
    """A network that gives ones of ``[batch, *shape]`` whatever its input holds.

    Attributes:
        shape: Of one item, without the batch axis; its sizes are at least 1.
        dtype: One of `DTYPES`.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise ValueError(f"shape must have sizes of at least 1, not {self.shape}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.simple.Ones`."""
        from zoo_pytorch.networks import simple

        return simple.Ones(self.shape, self.dtype)


@dataclass(frozen=True, kw_only=True)
class MLP(NeutralFactory):
    """A multilayer perceptron.

    Attributes:
        inputs: Values of one item, all axes after the batch together.
        hidden: Widths of the layers between, possibly none.
        outputs: Values for one item.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int

    def __post_init__(self) -> None:
        _require_positive("inputs", self.inputs)
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must have widths of at least 1, not {self.hidden}")
        _require_positive("outputs", self.outputs)

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.mlp.MLP`."""
        from zoo_pytorch.networks import mlp

        return mlp.MLP(self.inputs, self.hidden, self.outputs)


@dataclass(frozen=True, kw_only=True)
class ResNetV1(NeutralFactory):
    """A residual network, version 1.5, with torchvision's parameter names.

    Attributes:
        layers: 18, 34, 50, 101 or 152.
        classes: Length of the logits.
    """

    layers: int = 50
    classes: int = 1000

    def __post_init__(self) -> None:
        if self.layers not in DEPTHS:
            raise ValueError(f"layers must be one of {', '.join(map(str, DEPTHS))}, not {self.layers}")
        _require_positive("classes", self.classes)

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.resnet.ResNet`."""
        from zoo_pytorch.networks import resnet

        return resnet.ResNet(self.layers, self.classes)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(NeutralFactory):
    """EfficientNet-Lite0, with the parameter names of its published weights.

    Attributes:
        classes: Length of the logits.
    """

    classes: int = 1000

    def __post_init__(self) -> None:
        _require_positive("classes", self.classes)

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.efficientnet.EfficientNetLite0`."""
        from zoo_pytorch.networks import efficientnet

        return efficientnet.EfficientNetLite0(self.classes)


def _require_positive(field: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{field} must be at least 1, not {value}")
