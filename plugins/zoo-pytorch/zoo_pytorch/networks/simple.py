"""Networks without parameters, for tests of everything around a network.

Source: Deep Java Library has blocks of the same purpose, ``IdentityBlockFactory`` and ``OnesBlockFactory``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_pytorch import factories


class Identity(nn.Module):
    """Gives back what it gets: its input, or a tuple of all its inputs."""

    @property
    def zoo_factory(self) -> factories.Identity:
        """What builds a block like this one."""
        return factories.Identity()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The inputs."""
        return inputs[0] if len(inputs) == 1 else inputs


class Ones(nn.Module):
    """Gives ones, whatever it gets.

    Args:
        shape: Of one item, without the batch axis.
        dtype: ``float32``, ``int64``, ...
    """

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32") -> None:
        super().__init__()
        self._factory = factories.Ones(shape=shape, dtype=dtype)
        self.shape, self.dtype = shape, getattr(torch, dtype)

    @property
    def zoo_factory(self) -> factories.Ones:
        """What builds a block like this one."""
        return self._factory

    def forward(self, x: Tensor) -> Tensor:
        """Ones of ``[batch, *shape]``."""
        return torch.ones((len(x), *self.shape), dtype=self.dtype, device=x.device)
