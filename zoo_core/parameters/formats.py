"""Which format the bytes of a file are in, told by its bytes and never by its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from zoo_core.parameters import archive

if TYPE_CHECKING:
    from zoo_core.parameters.source import Source

#: What a legacy ``.pth`` pickles first; so do its first bytes, behind those that name the protocol.
PTH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PTH_LEGACY_MARK = b"\x8a\n" + PTH_LEGACY_MAGIC.to_bytes(10, "little")

#: ``.params`` begins with the number of a list and a reserved field.
PARAMS_MAGIC = (0x112).to_bytes(8, "little") + bytes(8)

DJL_MAGIC = b"DJL@"

#: The exported graph as JSON of our own begins so, to the byte: whatever begins otherwise is never read as one.
ATEN_MAGIC = b'{"torch.aten":'

#: A larger JSON text is taken for no symbol; that of ResNet-152 has 0.2 MB. Read, it may need twenty times as much memory.
MAX_SYMBOL = 16 * 2**20


def format_of(source: Source) -> str:
    """The format of a file.

    Returns:
        ``safetensors``, ``pth``, ``pth-legacy`` or ``params``, which hold tensors; ``torchscript``, ``pt2``, ``mxnet-symbol``
        or ``torch-aten``, which are programs; ``djl``; or ``unknown``.

    Raises:
        ParameterError: It is a zip file whose directory cannot be read.
    """
    head = bytes(source.data[:64])
    if head.startswith(ATEN_MAGIC):
        return "torch-aten"
    if looks_like_safetensors(head):
        return "safetensors"
    if head.startswith(archive.MAGIC):
        return _format_of_zip(archive.ZipArchive(source.data, name=source.name))
    if head.startswith(b"\x80") and PTH_LEGACY_MARK in head:
        return "pth-legacy"
    if head.startswith(PARAMS_MAGIC):
        return "params"
    if head.startswith(DJL_MAGIC):
        return "djl"
    return "mxnet-symbol" if _is_symbol(source) else "unknown"


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that begins so can only be meant as safetensors: a length below 4 GiB, then a JSON object.

    JSON has no zero bytes and the list of MXNet has one more of them, so that no file of another format is taken.
    """
    return head[4:9] == b"\0\0\0\0{"


def state_dict_roots(content: archive.ZipArchive) -> list[str]:
    """The folders of a zip file in which ``torch.save`` may have put a state dict; torch names the folder after the file."""
    paths = (name.split("/") for name in content.names)
    return [path[0] for path in paths if path[1:] == ["data.pkl"]]


def _format_of_zip(content: archive.ZipArchive) -> str:
    paths = [name.split("/") for name in content.names]
    # One trace of a program is enough, whatever else lies there: an engine might look for that first.
    if any("code" in path[:-1] or path[-1] in ("constants.pkl", "bytecode.pkl") for path in paths):
        return "torchscript"
    # The second is how torch before 2.8 wrote a .pt2.
    if any(path[-1] in ("archive_format", "serialized_exported_program.json") for path in paths):
        return "pt2"
    return "pth" if len(state_dict_roots(content)) == 1 else "unknown"


def _is_symbol(source: Source) -> bool:
    """Whether this is the JSON of an MXNet symbol."""
    if len(source.data) > MAX_SYMBOL or not bytes(source.data[:64]).lstrip().startswith(b"{"):
        return False
    try:
        document = json.loads(str(source.data, "utf-8"))
    except (ValueError, RecursionError):
        return False
    return {"nodes", "arg_nodes", "heads"}.issubset(document)
