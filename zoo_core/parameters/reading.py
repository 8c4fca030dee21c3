"""What reads the parameter files of each format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.params import read_params
from zoo_core.parameters.pth import read_legacy, read_zip
from zoo_core.parameters.safetensors import read_safetensors
from zoo_core.parameters.shards import INDEX_SUFFIX, read_shards
from zoo_core.parameters.source import ParameterSource, Source, open_source

READERS: Mapping[str, Callable[[Source], ParameterFile]] = {
    "safetensors": read_safetensors,
    "pth": read_zip,
    "pth-legacy": read_legacy,
    "params": read_params,
}

READ = "safetensors, .pth/.pt of tensors only, MXNet .params"

NOT_READ: Mapping[str, str] = {
    "torchscript": "is a TorchScript program; its tensors cannot be read without running an engine",
    "pt2": "is an exported program (.pt2); its tensors cannot be read without running an engine",
    "torch-aten": "is the program of a PyTorch network, without parameters",
    "mxnet-symbol": "is the program of an MXNet network, without parameters: they lie in the .params file beside it",
    "djl": "is in DJL's own parameter format (DJL@), which is not read yet",
    "unknown": f"is no parameter file that is read here; those are: {READ}",
}


def read_parameters(source: ParameterSource | ParameterFile) -> ParameterFile:
    """The tensors of a parameter file by name, read without any engine.

    Call it to look into a file, or to fill a network of any engine. The format is told by the bytes. Listing reads only what
    describes the tensors; a file given by its path is mapped, so that arrays are views and nothing is copied.

    Args:
        source: A path, which may be that of the index of a safetensors file in several parts
            (``model.safetensors.index.json``); or the content, as bytes or as a binary stream that is read to its end. A file
            that was read already is given back as it is.

    Raises:
        ParameterError: The file cannot be read, is in another format, holds anything but tensors, or is malformed.

    >>> header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    >>> file = read_parameters(len(header).to_bytes(8, "little") + header + bytes(8))
    >>> file.format, file.tensors["w"].dtype, file.tensors["w"].shape
    ('safetensors', 'float32', (2,))
    """
    if isinstance(source, ParameterFile):
        return source
    opened = open_source(source)
    # Content alone could not say where the parts of an index lie.
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(INDEX_SUFFIX):
        folder = Path(source).parent
        return read_shards(opened, lambda name: open_source(folder / name))
    return read_source(opened)


def read_source(source: Source) -> ParameterFile:
    """What `read_parameters` does, from bytes already at hand."""
    name = format_of(source)
    if name not in READERS:
        raise source.malformed(NOT_READ[name])
    return READERS[name](source)
