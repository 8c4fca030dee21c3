"""Arrays over the bytes of a file; the one module here that needs NumPy, imported when values are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def view(data: memoryview, shape: Sequence[int], code: str, offset: int, steps: Sequence[int]) -> np.ndarray[Any, Any]:
    """An array over bytes of a file, or a copy where the file does not align its elements.

    Args:
        data: The whole file; writing to the array writes to it.
        shape: The array's shape.
        code: NumPy's code for the dtype.
        offset: Where the first element lies, in bytes.
        steps: The strides, in bytes.
    """
    if 0 in shape:
        return np.empty(shape, code)
    array: np.ndarray[Any, Any] = np.ndarray(shape, code, data, offset, steps)
    # Vector instructions of the engines may fault on elements that are not aligned.
    return array if array.flags.aligned else array.copy(order="K")


def widened(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``bfloat16`` as ``float32``, of which it is the upper half."""
    wide = bits.astype(np.uint32)
    # In place: of a 0-d array `<<` would give a scalar.
    np.left_shift(wide, np.uint32(16), out=wide)
    return wide.view(np.float32)


def have_same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays of one dtype and shape are equal as bytes, so that a NaN is no other value than itself."""
    ours, theirs = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (one, other))
    return np.array_equal(ours, theirs)
