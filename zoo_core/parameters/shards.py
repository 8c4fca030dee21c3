"""A safetensors file in several parts, with an index that says which part holds a tensor.

Source of the format: what Hugging Face's ``save_pretrained`` writes, ``model.safetensors.index.json``:
``{"metadata": {...}, "weight_map": {"<tensor>": "<file beside the index>"}}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.safetensors import read_safetensors
from zoo_core.parameters.source import ParameterSource, Source, open_source

INDEX_SUFFIX = ".safetensors.index.json"

#: Of an index, in bytes; that of a network with 100 000 tensors has some 10 MB.
MAX_INDEX = 64 * 2**20


def is_index(source: ParameterSource) -> TypeGuard[str | os.PathLike[str]]:
    """Whether this is the path of an index; content alone could not say where the parts lie."""
    return isinstance(source, str | os.PathLike) and os.fspath(source).endswith(INDEX_SUFFIX)


def read_shards(path: str | os.PathLike[str]) -> ParameterFile:
    """Read the index and the headers of its parts; the tensors stay where they are.

    Raises:
        ParameterError: The index or a part is malformed, a part lies elsewhere, or the index and the parts do not agree.
    """
    index = open_source(path)
    wanted = _weight_map(index)
    parts = {name: _part(index, Path(path).parent, name) for name in sorted(set(wanted.values()))}
    for name, part in wanted.items():
        if name not in parts[part].tensors:
            raise index.malformed(f"tensor {name!r} should be in {part}, which has no such tensor")
    # What only a part knows of itself stays out; what the first says of the model is said once.
    header = next((part.header for part in parts.values() if part.header), {})
    tensors = [tensor for part in parts.values() for tensor in part.tensors.values() if tensor.name in wanted]
    if len(tensors) != len(wanted):
        raise index.malformed("a tensor stands in two of its parts, and readers differ in which they take")
    return ParameterFile(index.name, "safetensors", tensors, header)


def _weight_map(index: Source) -> Mapping[str, str]:
    if len(index.data) > MAX_INDEX:
        raise index.malformed(f"an index of {len(index.data)} bytes; {MAX_INDEX} are read")
    try:
        document = json.loads(str(index.data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise index.malformed(f"the index is no JSON: {error}") from error
    wanted = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(wanted, dict) or not wanted or not all(isinstance(name, str) for name in wanted.values()):
        raise index.malformed("the index has no weight_map from tensors to files")
    return wanted


def _part(index: Source, folder: Path, name: str) -> ParameterFile:
    if name != os.path.basename(name) or "\\" in name or name in ("", ".", ".."):  # noqa: PTH119 - Path drops "a/."
        raise index.malformed(f"part {name!r} is no file beside the index")
    return read_safetensors(open_source(folder / name))
