"""Which format the bytes of a file are in, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from zoo_core.parameters import archive, params, pth, safetensors
from zoo_core.parameters.file import ParameterFile

if TYPE_CHECKING:
    from zoo_core.parameters.source import Source

#: Reads a file of a format; None where the format has no reader.
Reader: TypeAlias = Callable[[], ParameterFile] | None

DJL_MAGIC = b"DJL@"

#: A larger JSON text is taken for no symbol; that of ResNet-152 has 0.2 MB.
MAX_SYMBOL = 64 * 2**20


def recognised(source: Source) -> tuple[str, Reader]:
    """The format and its reader.

    Returns:
        ``safetensors``, ``pth``, ``pth-legacy`` or ``params`` with a reader; or without one ``torchscript``, ``pt2``,
        ``mxnet-symbol``, ``djl`` or ``unknown``.

    Raises:
        ParameterError: It is a zip file whose directory cannot be read.
    """
    head = bytes(source.data[:64])
    if safetensors.looks_like_safetensors(head):
        return "safetensors", partial(safetensors.read_safetensors, source)
    if head.startswith(archive.MAGIC):
        return _of_archive(source, archive.Archive(source))
    if head.startswith(b"\x80") and pth.LEGACY_MARK in head:
        return "pth-legacy", partial(pth.read_legacy, source)
    if head.startswith(params.MAGIC):
        return "params", partial(params.read_params, source)
    if head.startswith(DJL_MAGIC):
        return "djl", None
    return ("mxnet-symbol" if _is_symbol(source) else "unknown"), None


def _of_archive(source: Source, content: archive.Archive) -> tuple[str, Reader]:
    paths = [name.split("/") for name in content.entries]
    # One trace of a program is enough, whatever else lies there: an engine might look for that first.
    if any("code" in path[:-1] or path[-1] in ("constants.pkl", "bytecode.pkl") for path in paths):
        return "torchscript", None
    # The second is how torch before 2.8 wrote a .pt2.
    if any(path[-1] in ("archive_format", "serialized_exported_program.json") for path in paths):
        return "pt2", None
    roots = [path[0] for path in paths if path[1:] == ["data.pkl"]]
    if len(roots) == 1:
        return "pth", partial(pth.read_zip, source, content, roots[0])
    return "unknown", None


def _is_symbol(source: Source) -> bool:
    """Whether this is the JSON of an MXNet symbol."""
    if len(source.data) > MAX_SYMBOL or not bytes(source.data[:64]).lstrip().startswith(b"{"):
        return False
    try:
        document = json.loads(str(source.data, "utf-8"))
    except (ValueError, RecursionError):
        return False
    return {"nodes", "arg_nodes", "heads"}.issubset(document)
