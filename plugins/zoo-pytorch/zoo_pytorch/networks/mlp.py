"""A multi-layer perceptron: linear layers with ReLU between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from zoo_pytorch import factories


class MLP(nn.Sequential):
    """``float32[batch, ...]`` with ``inputs`` values an item -> ``float32[batch, outputs]``.

    Its parameters are named ``0.weight``, ``0.bias``, ``2.weight``, ...: the even places are the linear layers.

    Args:
        inputs: Values of one item, all axes after the batch together.
        hidden: The widths of the hidden layers.
        outputs: Values that it gives for one item.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        widths = [inputs, *hidden, outputs]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])
        self._factory = factories.MLP(inputs=inputs, hidden=tuple(hidden), outputs=outputs)

    @property
    def zoo_factory(self) -> factories.MLP:
        """What builds a block like this one."""
        return self._factory

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last layer, without an activation."""
        x = x.flatten(1)
        for layer in self:
            x = layer(x)
        return x
