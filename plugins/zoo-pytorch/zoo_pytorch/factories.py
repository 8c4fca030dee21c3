"""The block factories of this plugin: what describes a network, checked without importing PyTorch.

The MXNet plugin has the same classes with the same fields, so that one parameter file serves both engines.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
class Symbol(BlockFactory):
    """An empty `zoo_pytorch.SymbolBlock`, which a program file fills: the program is the network."""

    def new_block(self, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        """Build the empty holder."""
        from zoo_pytorch import symbol

        return symbol.SymbolBlock()


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


@dataclass(frozen=True, kw_only=True)
class SSD(NeutralFactory):
    """A multi-box single-shot detector; the translator ``object_detection`` turns what it gives into objects.

    The backbone's output is the first scale, and each further one halves the one before. Every cell of a scale has an anchor of
    each size with the first ratio, then one of the first size with each further ratio. The default sizes are those of the
    paper (https://arxiv.org/abs/1512.02325, equation 4) from 0.2 to 0.9, with the geometric mean of neighbours after each.

    Attributes:
        classes: How many classes of objects there are, without the background.
        backbone: Channels of the backbone's stages, each of which halves height and width.
        scales: Channels of the further scales, possibly none.
        sizes: For each scale, sides of square anchors in fractions of the picture's height.
        ratios: Width over height of the anchors.
    """

    classes: int = 20
    backbone: tuple[int, ...] = (32, 64, 128)
    scales: tuple[int, ...] = (128, 128, 128)
    sizes: tuple[tuple[float, ...], ...] = ((0.2, 0.29), (0.43, 0.54), (0.67, 0.77), (0.9, 1.0))
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5)

    def __post_init__(self) -> None:
        _require_positive("classes", self.classes)
        for field, widths in (("backbone", self.backbone), ("scales", self.scales)):
            if any(width < 1 for width in widths):
                raise ValueError(f"{field} must have channels of at least 1, not {widths}")
        if not self.backbone:
            raise ValueError("backbone must have at least one stage")
        if len(self.sizes) != 1 + len(self.scales):
            raise ValueError(
                f"sizes must have an entry for the backbone and for each of {len(self.scales)} scales, not {len(self.sizes)}"
            )
        for field, values in (*(("sizes", scale) for scale in self.sizes), ("ratios", self.ratios)):
            if not values or not all(0.0 < value < float("inf") for value in values):
                raise ValueError(f"{field} must have one or more numbers above 0, not {values}")

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.ssd.SSD`."""
        from zoo_pytorch.networks import ssd

        return ssd.SSD(self.classes, self.backbone, self.scales, self.sizes, self.ratios)


@dataclass(frozen=True, kw_only=True)
class TransformerEncoder(NeutralFactory):
    """BERT's encoder, with the parameter names of its published checkpoints; the defaults are BERT-base, uncased.

    Attributes:
        vocabulary: How many tokens there are.
        positions: The longest sequence.
        types: How many token types (segments) there are.
        hidden: Width of a token's state, a multiple of ``heads``.
        layers: How many layers.
        heads: Attention heads of a layer.
        intermediate: Width between the two dense layers of a layer.
        activation: Between them: ``gelu``, which is the exact form with the error function, or ``relu``.
        epsilon: Added to the variance in layer normalisation.
        pooler: Whether the first token's state, through a dense layer and tanh, is a second output.
        dropout: The share of values that training drops.
    """

    vocabulary: int = 30522
    positions: int = 512
    types: int = 2
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    activation: Literal["gelu", "relu"] = "gelu"
    epsilon: float = 1e-12
    pooler: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for field in ("vocabulary", "positions", "types", "hidden", "layers", "heads", "intermediate"):
            _require_positive(field, getattr(self, field))
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads, not {self.hidden} with {self.heads} heads")
        if self.activation not in ("gelu", "relu"):
            raise ValueError(f"activation must be gelu or relu, not {self.activation!r}")
        if not 0.0 < self.epsilon < 1.0:
            raise ValueError(f"epsilon must be above 0 and below 1, not {self.epsilon}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")

    def network(self) -> nn.Module:
        """Build `zoo_pytorch.networks.transformer.TransformerEncoder`."""
        from zoo_pytorch.networks import transformer

        return transformer.TransformerEncoder(**asdict(self))


def _require_positive(field: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{field} must be at least 1, not {value}")
