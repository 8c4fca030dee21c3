"""A safetensors file in several parts, with an index that says which part holds a tensor.

Source of the format: what Hugging Face's ``save_pretrained`` writes, ``model.safetensors.index.json``:
``{"metadata": {...}, "weight_map": {"<tensor>": "<file beside the index>"}}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.safetensors import read_safetensors
from zoo_core.parameters.source import Source

INDEX_SUFFIX = ".safetensors.index.json"

#: Of an index, in bytes; that of a network with 100 000 tensors has some 10 MB.
MAX_INDEX = 64 * 2**20


def read_shards(index: Source, part: Callable[[str], Source]) -> ParameterFile:
    """Read the index and the headers of its parts; the tensors stay where they are.

    Args:
        index: The content of the index.
        part: Opens a file that lies beside it.

    Raises:
        ParameterError: The index or a part is malformed, a part lies elsewhere, or the index and the parts do not agree.
    """
    wanted = _weight_map(index)
    parts = {name: read_safetensors(part(_plain(index, name))) for name in sorted(set(wanted.values()))}
    for name, place in wanted.items():
        if name not in parts[place].tensors:
            raise index.malformed(f"tensor {name!r} should be in {place}, which has no such tensor")
    tensors = [tensor for content in parts.values() for tensor in content.tensors.values()]
    if len(tensors) != len(wanted):
        raise index.malformed("its parts hold a tensor that it does not name, or one tensor twice")
    # What is said of the model as a whole, each part may repeat.
    header = next((content.header for content in parts.values() if content.header), {})
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


def _plain(index: Source, name: str) -> str:
    if name != os.path.basename(name) or "\\" in name or "\0" in name or name in ("", ".", ".."):  # noqa: PTH119 - Path drops "a/."
        raise index.malformed(f"part {name!r} is no file beside the index")
    return name
