"""The one function that reads a parameter file of any format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.formats import recognised
from zoo_core.parameters.source import ParameterSource, open_source

if TYPE_CHECKING:
    from collections.abc import Mapping

READ = "safetensors, .pth/.pt of tensors only, MXNet .params"

NOT_READ: Mapping[str, str] = {
    "torchscript": "is a TorchScript program; its tensors cannot be read without running an engine",
    "pt2": "is an exported program (.pt2); its tensors cannot be read without running an engine",
    "mxnet-symbol": "is the program of an MXNet network, without parameters: they lie in the .params file beside it",
    "djl": "is in DJL's own parameter format (DJL@), which is not read yet",
    "unknown": f"is no parameter file that is read here; those are: {READ}",
}


def read_parameters(source: ParameterSource | ParameterFile) -> ParameterFile:
    """The tensors of a parameter file by name, read without any engine.

    Call it to look into a file, or to fill a network of any engine. The format is told by the bytes. Listing reads only what
    describes the tensors; a file given by its path is mapped, so that arrays are views and nothing is copied.

    Args:
        source: A path; or the content, as bytes or as a binary stream that is read to its end. A file that was read already is
            given back as it is.

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
    name, read = recognised(opened)
    if read is None:
        raise opened.malformed(NOT_READ[name])
    return read()
