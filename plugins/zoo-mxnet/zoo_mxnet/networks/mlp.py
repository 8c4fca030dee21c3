"""Multilayer perceptron: affine layers with ReLU between them.

Source: Rosenblatt, "Principles of Neurodynamics" (1962), with the activation of Nair and Hinton, "Rectified Linear Units
Improve Restricted Boltzmann Machines" (2010).
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridSequential, nn


class MLP(HybridSequential):
    """Maps ``[batch, ...]``, flattened from axis 1, to ``[batch, outputs]``.

    Layers and activations are numbered through, so that parameters are called ``0.weight``, ``2.weight``, ... as in a
    ``torch.nn.Sequential`` of the same layers.

    Args:
        inputs: Values of one item.
        hidden: Widths of the layers between, possibly none.
        outputs: Values for one item.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self._factory = factories.MLP(inputs=inputs, hidden=tuple(hidden), outputs=outputs)
        for width, following in zip((inputs, *hidden), hidden, strict=False):
            self.add(nn.Dense(following, in_units=width), nn.Activation("relu"))
        self.add(nn.Dense(outputs, in_units=(inputs, *hidden)[-1]))

    @property
    def zoo_factory(self) -> factories.MLP:
        """What builds a block like this one."""
        return self._factory
