"""Networks without parameters, for tests of everything around a network.

Source: Deep Java Library has blocks of the same purpose, ``IdentityBlockFactory`` and ``OnesBlockFactory``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class IdentityNetwork(nn.Module):
    """Gives back what it gets."""

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The inputs."""
        return inputs[0] if len(inputs) == 1 else inputs


class OnesNetwork(nn.Module):
    """Gives ones, whatever it gets.

    Args:
        shape: Of one item, without the batch axis.
        dtype: ``float32``, ``int64``, ...
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Ones of ``[batch, *shape]``."""
        return torch.ones((len(x), *self.shape), dtype=self.dtype, device=x.device)
