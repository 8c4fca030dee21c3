"""NumPy arrays as MXNet arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo_mxnet.framework import mx

if TYPE_CHECKING:
    import numpy.typing as npt

FLOATS = ("float16", "float32", "float64")
#: What MXNet has arrays of.
DTYPES = (*FLOATS, "int8", "uint8", "int32", "int64", "bool")


def shared(array: npt.NDArray[np.generic], dtype: str) -> Any:
    """An MXNet array on the CPU, over the same memory where dtype and layout allow it.

    Whoever writes to it writes to that memory, so the given array is marked as read-only, which MXNet does not heed.
    """
    converted = np.ascontiguousarray(array, dtype)
    if dtype == "int8":
        return _copied(converted)
    return mx.nd.from_numpy(converted)


def _copied(array: npt.NDArray[np.generic]) -> Any:
    # `mx.nd.array` would do it too, and makes SciPy warn about a module that MXNet asks for.
    copy = mx.nd.empty(array.shape, dtype=array.dtype)
    copy[:] = array
    return copy
