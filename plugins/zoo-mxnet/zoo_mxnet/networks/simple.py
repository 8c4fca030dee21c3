"""Blocks without parameters, for tests and as placeholders in larger networks.

Source: Deep Java Library's ``IdentityBlockFactory`` and ``OnesBlockFactory`` (Apache-2.0); nothing of their text is used.
"""

from __future__ import annotations

from typing import Any

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridBlock


class Identity(HybridBlock):
    """Returns its input, or a tuple of all its inputs."""

    @property
    def zoo_factory(self) -> factories.Identity:
        """What builds a block like this one."""
        return factories.Identity()

    def hybrid_forward(self, F: Any, *inputs: Any) -> Any:  # noqa: N803 - Gluon's name
        """Return what comes."""
        return F.identity(inputs[0]) if len(inputs) == 1 else tuple(F.identity(x) for x in inputs)


class Ones(HybridBlock):
    """Returns ones of ``[batch, *shape]`` whatever its input holds.

    Args:
        shape: The output's shape without the batch axis.
        dtype: The output's dtype.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32") -> None:
        super().__init__()
        self._factory = factories.Ones(shape=shape, dtype=dtype)

    @property
    def zoo_factory(self) -> factories.Ones:
        """What builds a block like this one."""
        return self._factory

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Take the batch's size from ``x``."""
        one = F.ones((1, *self._factory.shape), dtype=self._factory.dtype)
        return F.broadcast_like(one, x, lhs_axes=(0,), rhs_axes=(0,))
