"""MXNet's ``.params``: a list of arrays, then the list of their names.

Source of the format: MXNet 1.9's ``src/ndarray/ndarray.cc`` (``NDArray::Save``, ``Load``, ``LegacyLoad``) and
``3rdparty/mshadow/mshadow/base.h`` (the numbers of the dtypes).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zoo_core.parameters.file import DTYPES, MAX_DIMENSIONS, ParameterFile, StoredTensor, contiguous, is_shape
from zoo_core.parameters.formats import PARAMS_MAGIC
from zoo_core.parameters.source import Cursor, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DENSE = 0

# mshadow's TypeFlag
TYPES: Mapping[int, str] = {
    0: "float32",
    1: "float64",
    2: "float16",
    3: "uint8",
    4: "int32",
    5: "int8",
    6: "int64",
    7: "bool",
    8: "int16",
    9: "uint16",
    10: "uint32",
    11: "uint64",
    12: "bfloat16",
}

#: A name takes at least its length, an array its number, shape, device and type: so many bytes.
SMALLEST = 4


def read_params(source: Source) -> ParameterFile:
    """Read the list.

    The prefixes ``arg:`` and ``aux:`` of the symbolic interface are taken off; arrays without names are numbered from "0".

    Raises:
        ParameterError: An array is sparse or has no shape, or the file contradicts itself.
    """
    cursor = Cursor(source, len(PARAMS_MAGIC))
    arrays = [_array(cursor, position) for position in range(_length(cursor, "the list of arrays"))]
    names = [_name(cursor, position) for position in range(_length(cursor, "the list of names"))]
    cursor.finish()
    if names and len(names) != len(arrays):
        raise source.malformed(f"has {len(arrays)} arrays and {len(names)} names")
    if len(set(names)) != len(names):
        raise source.malformed("two arrays have one name")
    named = zip(names or map(str, range(len(arrays))), arrays, strict=True)
    return ParameterFile(source.name, "params", (_stored(source, name, array) for name, array in named))


def _length(cursor: Cursor, what: str) -> int:
    length = cursor.integer("Q", what)
    left = len(cursor.source.data) - cursor.at
    if length * SMALLEST > left:
        raise cursor.source.malformed(f"{what} claims {length} items in {left} bytes")
    return length


def _name(cursor: Cursor, position: int) -> str:
    size = cursor.integer("Q", f"the length of name {position}")
    start = cursor.skip(size, f"name {position}")
    try:
        name = str(cursor.source.data[start : start + size], "utf-8")
    except UnicodeDecodeError as error:
        raise cursor.source.malformed(f"name {position} is no UTF-8: {error}") from error
    return name.removeprefix("arg:").removeprefix("aux:")


def _array(cursor: Cursor, position: int) -> tuple[str, tuple[int, ...], int]:
    """Step over one array and return its dtype, shape and offset."""
    what = f"array {position}"
    shape = _shape(cursor, what)
    # The device's kind and number; it does not matter here.
    _, _, number = cursor.unpack("iii", what)
    dtype = TYPES.get(number)
    if dtype is None:
        raise cursor.source.malformed(f"{what} has the dtype number {number}, which MXNet 1.9 does not have")
    return dtype, shape, cursor.skip(math.prod(shape) * DTYPES[dtype][0], f"the elements of {what}")


def _shape(cursor: Cursor, what: str) -> tuple[int, ...]:
    magic = version = cursor.integer("I", what)
    if version in (V2, V3) and cursor.integer("i", what) != DENSE:
        raise cursor.source.malformed(f"{what} is sparse; only dense arrays are read: array.tostype('default') makes one")
    # Before V1 the number of dimensions stood in the place of the version, and sizes had 32 bits.
    dimensions = cursor.integer("i", what) if version in (V1, V2, V3) else magic
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.source.malformed(f"{what} has {dimensions} dimensions; up to {MAX_DIMENSIONS} are read")
    shape = cursor.unpack(f"{dimensions}{'q' if version in (V1, V2, V3) else 'I'}", what)
    # Before V3 a shape () meant an array that nobody had allocated; nothing follows it.
    if not is_shape(shape) or (version != V3 and not shape):
        raise cursor.source.malformed(f"{what} has no shape that an array can have")
    return shape


def _stored(source: Source, name: str, array: tuple[str, tuple[int, ...], int]) -> StoredTensor:
    dtype, shape, offset = array
    return StoredTensor(name, dtype, shape, contiguous(shape), offset, source)
