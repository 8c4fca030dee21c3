"""safetensors: an 8-byte length, a JSON header, the tensors one after another.

Source of the format: https://github.com/huggingface/safetensors ("Format") and its reference reader
``safetensors/src/tensor.rs``, whose rules are kept: no overlap, no hole, nothing after the last tensor.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo_core.parameters.file import ParameterFile, StoredTensor, contiguous, is_shape
from zoo_core.parameters.source import Cursor, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The format's own bound, in bytes.
MAX_HEADER = 100_000_000

# F4, F6_E2M3 and F6_E3M2 share bytes between elements and are left out.
NAMES: Mapping[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}


def read_safetensors(source: Source) -> ParameterFile:
    """Read the header; the tensors stay where they are.

    Raises:
        ParameterError: The file breaks a rule of the format.
    """
    document, start = _document(source)
    header = _metadata(source, document.pop("__metadata__", None))
    _check_text(source, (*document, *header, *header.values()))
    tensors = [_tensor(source, name, entry, start) for name, entry in document.items()]
    _check_coverage(source, tensors, start)
    return ParameterFile(source.name, "safetensors", tensors, header)


def _document(source: Source) -> tuple[dict[str, Any], int]:
    cursor = Cursor(source)
    size = cursor.integer("Q", "the length of the header")
    if size > MAX_HEADER:
        raise source.malformed(f"claims a header of {size} bytes; the format allows {MAX_HEADER}")
    start = cursor.skip(size, "the header")
    try:
        document = json.loads(str(source.data[start : start + size], "utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise source.malformed(f"the header is no JSON: {error}") from error
    # It begins with a brace, or it would not have been taken for safetensors: it is an object.
    return document, start + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
    raise ValueError(f"{name!r} stands twice")


def _metadata(source: Source, metadata: object) -> Mapping[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or any(type(value) is not str for value in metadata.values()):
        raise source.malformed("the header's __metadata__ is no object of texts")
    return metadata


def _check_text(source: Source, texts: Iterable[str]) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        # JSON can escape one half of a surrogate pair; that is no text, and no terminal can print it.
        raise source.malformed(f"a name or value in the header is no Unicode text: {error}") from error


def _tensor(source: Source, name: str, entry: object, start: int) -> StoredTensor:
    match entry:
        # bool is a subclass of int, and no number in JSON.
        case {"dtype": str(text), "shape": list(sizes), "data_offsets": [begin, end], **rest} if (
            not rest and type(begin) is type(end) is int
        ):
            pass
        case _:
            raise source.malformed(f"tensor {name!r} is not described by dtype, shape and two data_offsets alone")
    dtype = NAMES.get(text)
    if dtype is None:
        raise source.malformed(f"tensor {name!r} has the dtype {text!r}; known are {', '.join(NAMES)}")
    if not is_shape(sizes):
        raise source.malformed(f"tensor {name!r} has no shape that an array can have")
    shape = tuple(sizes)
    tensor = StoredTensor(name, dtype, shape, contiguous(shape), start + begin, source)
    if not 0 <= begin <= end <= len(source.data) - start or end - begin != tensor.nbytes:
        raise source.malformed(
            f"tensor {name!r} needs {tensor.nbytes} bytes; its data_offsets are {begin}, {end} of {len(source.data) - start}"
        )
    return tensor


def _check_coverage(source: Source, tensors: list[StoredTensor], start: int) -> None:
    for offset, size, name in sorted((tensor.offset, tensor.nbytes, tensor.name) for tensor in tensors):
        if offset != start:
            raise source.malformed(
                f"tensor {name!r} {'overlaps the one' if offset < start else 'leaves a hole after the one'} before"
            )
        start += size
    Cursor(source, start).finish()


def sort_header(file: BinaryIO) -> None:
    """Put the texts of ``__metadata__`` in a written safetensors file in order, in place.

    The reference writer leaves their order to chance, so that one model would have another digest each time it is saved.

    Args:
        file: Open for reading and writing.

    >>> import io
    >>> text = b'{"__metadata__":{"b":"1","a":"2"}}'
    >>> file = io.BytesIO(len(text).to_bytes(8, "little") + text)
    >>> sort_header(file)
    >>> file.getvalue()[8:]
    b'{"__metadata__":{"a":"2","b":"1"}}'
    """
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    document = json.loads(file.read(size))
    document["__metadata__"] = dict(sorted(document.get("__metadata__", {}).items()))
    # Spaces behind it align the tensors, and stay as many as they were.
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
    if len(text) == size:
        file.seek(8)
        file.write(text)
