"""The structure in MXNet."""

from __future__ import annotations

from typing import Any

from zoo_mxnet import SymbolBlock
from zoo_mxnet.framework import mx


class Standardise(mx.gluon.HybridBlock):
    """``float32[batch, 3, height, width]`` with values 0..1 -> what EfficientNet-Lite was trained on: (255 x - 127) / 128."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Scale and shift."""
        return (x * 255.0 - 127.0) / 128.0


def flowers(*, features: int, classes: int, backbone: Any = None) -> Any:
    """A picture to logits.

    Args:
        features: What the backbone gives for a picture.
        classes: Length of the logits.
        backbone: The published network; None leaves an empty place, which the parameter file fills.
    """
    net = mx.gluon.nn.HybridSequential()
    net.add(Standardise(), backbone or SymbolBlock(), mx.gluon.nn.Dense(classes, in_units=features))
    return net
