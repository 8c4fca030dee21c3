"""NumPy arrays as MXNet arrays, and as the values of parameters."""

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


class _Shared:
    """Stands for an array while Gluon makes the copy that a parameter holds: on the same device the "copy" is the array itself.

    So a parameter lies in the mapped file, copy-on-write, and loading costs neither time nor memory for its values.
    """

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype, self.stype = array.shape, array.dtype, array.stype
        self.copyto = array.as_in_context


def fill(parameter: Any, value: Any, context: Any) -> None:
    """Give a parameter its value, which it holds without a copy where it has none yet and lies on the same device."""
    if is_initialized(parameter):
        if parameter.list_ctx() != [context]:
            parameter.reset_ctx(context)
    else:
        value = _Shared(value)
    named = mx.gluon.ParameterDict()
    named.update({parameter.name: parameter})
    # A list of pairs: in a dictionary, names that begin with "arg:" would lose that.
    named.load_dict([(parameter.name, value)], context, cast_dtype=True, dtype_source="saved")


def is_initialized(parameter: Any) -> bool:
    """Whether a parameter has a value, or will have one as soon as its shape is known."""
    try:
        parameter.list_ctx()
    except RuntimeError:
        return False
    return True


def agree(stored: tuple[int, ...], held: tuple[int, ...] | None) -> bool:
    """Whether shapes agree; a dimension of 0 or -1 is one that Gluon has not inferred yet."""
    if held is None:
        return True
    return len(stored) == len(held) and all(theirs in (0, -1, ours) for ours, theirs in zip(stored, held, strict=True))
