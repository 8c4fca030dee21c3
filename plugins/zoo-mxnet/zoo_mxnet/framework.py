"""MXNet itself, imported so that it runs beside NumPy 1.26; every other module takes it from here.

MXNet 1.9.1 is the last release of a retired project and was written for NumPy below 1.24. It ships no types either: the two
base classes that our networks have are described here for the type checker.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

# MXNet uses them at run time too (a boolean index, its test utilities), so they stay. `hasattr` would make NumPy warn.
for _name, _type in (("bool", bool), ("int", int)):
    if _name not in vars(np):
        setattr(np, _name, _type)

with warnings.catch_warnings():
    # Its import asks for NumPy's removed financial functions and compiles docstrings with invalid escapes.
    warnings.simplefilter("ignore")
    import mxnet as mx
    from mxnet.gluon import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    class HybridBlock:
        """What our networks use of ``mxnet.gluon.HybridBlock``."""

        params: Any
        prefix: str
        _reg_params: dict[str, Any]

        def __init__(self) -> None: ...
        def __call__(self, *inputs: Any) -> Any:
            """Run on arrays, or on symbols while Gluon compiles."""

    class HybridSequential(HybridBlock):
        """What our networks use of ``mxnet.gluon.nn.HybridSequential``."""

        def add(self, *blocks: Any) -> None:
            """Append blocks, which are named by their numbers."""

        def __iter__(self) -> Iterator[Any]:
            """The blocks in order."""

else:
    HybridBlock, HybridSequential = nn.HybridBlock, nn.HybridSequential

__all__ = ["HybridBlock", "HybridSequential", "mx", "nn"]
