"""The block factories of this plugin: what describes a network, checked without importing MXNet.

The PyTorch plugin has the same classes with the same fields, so that one parameter file serves both engines.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zoo_core import BlockFactory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo_core import Model

#: How many units each stage of a ResNet has, by the number of its layers.
RESNET_DEPTHS: Mapping[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

_DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8")


class Network(BlockFactory):
    """A network that the factory's fields describe completely."""

    engines: ClassVar[tuple[str, ...]] = ("PyTorch", "MXNet")

    @abstractmethod
    def network(self) -> Any:
        """The empty network; MXNet is imported here and not before."""

    def new_block(self, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """Build the empty network."""
        return self.network()


@dataclass(frozen=True, kw_only=True)
class Identity(Network):
    """A block that returns its input."""

    def network(self) -> Any:
        """Build `zoo_mxnet.networks.simple.Identity`."""
        from zoo_mxnet.networks import simple

        return simple.Identity()


@dataclass(frozen=True, kw_only=True)
class Ones(Network):
    """A block that returns ones of ``[batch, *shape]`` whatever its input holds.

    Attributes:
        shape: The output's shape without the batch axis.
        dtype: The output's dtype.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _require_positive("shape", *self.shape)
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype {self.dtype!r}: allowed are {', '.join(_DTYPES)}")

    def network(self) -> Any:
        """Build `zoo_mxnet.networks.simple.Ones`."""
        from zoo_mxnet.networks import simple

        return simple.Ones(self.shape, self.dtype)


@dataclass(frozen=True, kw_only=True)
class MLP(Network):
    """A multilayer perceptron.

    Attributes:
        inputs: Values of one item, which is flattened.
        hidden: Widths of the layers between, possibly none.
        outputs: Values for one item.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int

    def __post_init__(self) -> None:
        _require_positive("inputs", self.inputs)
        _require_positive("hidden", *self.hidden)
        _require_positive("outputs", self.outputs)

    def network(self) -> Any:
        """Build `zoo_mxnet.networks.mlp.MLP`."""
        from zoo_mxnet.networks import mlp

        return mlp.MLP(self.inputs, self.hidden, self.outputs)


@dataclass(frozen=True, kw_only=True)
class ResNetV1(Network):
    """A ResNet v1.5, with torchvision's parameter names.

    Attributes:
        layers: 18, 34, 50, 101 or 152.
        classes: Length of the logits.
    """

    layers: int = 50
    classes: int = 1000

    def __post_init__(self) -> None:
        if self.layers not in RESNET_DEPTHS:
            raise ValueError(f"layers={self.layers!r}: allowed are {', '.join(map(str, RESNET_DEPTHS))}")
        _require_positive("classes", self.classes)

    def network(self) -> Any:
        """Build `zoo_mxnet.networks.resnet.ResNetV1`."""
        from zoo_mxnet.networks import resnet

        return resnet.ResNetV1(self.layers, self.classes)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Network):
    """EfficientNet-Lite0, with the parameter names of its published weights.

    Attributes:
        classes: Length of the logits.
    """

    classes: int = 1000

    def __post_init__(self) -> None:
        _require_positive("classes", self.classes)

    def network(self) -> Any:
        """Build `zoo_mxnet.networks.efficientnet.EfficientNetLite0`."""
        from zoo_mxnet.networks import efficientnet

        return efficientnet.EfficientNetLite0(self.classes)


def _require_positive(field: str, *values: int) -> None:
    for value in values:
        if value < 1:
            raise ValueError(f"{field}: {value} is not allowed, only whole numbers from 1 on")
