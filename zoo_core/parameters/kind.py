"""How far a file must be trusted before it is loaded: told by its bytes, never by its name or by what it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.errors import ParameterError
from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.formats import recognised
from zoo_core.parameters.source import ParameterSource, Source, open_source

PROGRAMS = ("torchscript", "pt2", "mxnet-symbol")

#: The last part of the name under which a SymbolBlock keeps its program; torch calls the state of a module's own so.
PROGRAM_TENSOR = "_extra_state"

#: The key in a safetensors header that describes the programs inside.
PROGRAMS_KEY = "zoo.programs"


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Attributes:
        format: ``safetensors``, ``pth``, ``pth-legacy``, ``params``, ``torchscript``, ``pt2``, ``mxnet-symbol``, ``djl`` or
            ``unknown``.
        trust: ``data`` may always be loaded; a ``program`` only from where the user trusts programs; what is ``unknown``,
            never.
        reason: Why it is not ``data``; "" where it is.
    """

    format: str
    trust: Literal["data", "program", "unknown"]
    reason: str = ""


def kind_of(source: ParameterSource | ParameterFile) -> FileKind:
    """Inspect a file, or one that was read already, before an engine sees it.

    A malformed file is ``unknown``, with the error as the reason; so is a pickle that holds anything but tensors.

    Raises:
        ParameterError: The file cannot be opened.
    """
    if isinstance(source, ParameterFile):
        return _kind_of_tensors(source)
    return _kind_of_bytes(open_source(source))


def _kind_of_bytes(source: Source) -> FileKind:
    name = "unknown"
    try:
        name, read = recognised(source)
        if read is not None:
            return _kind_of_tensors(read())
    except ParameterError as error:
        return FileKind(name, "unknown", str(error))
    if name in PROGRAMS:
        return FileKind(name, "program", "the file is a program")
    return FileKind(name, "unknown", "no format of parameters or programs that is known here")


def _kind_of_tensors(file: ParameterFile) -> FileKind:
    # Whatever its dtype is: what a module makes of its extra state is its own affair. An alias becomes such a name in loading.
    inside = [name for name in (*file.tensors, *file.aliases) if name.rpartition(".")[2] == PROGRAM_TENSOR]
    if inside:
        return FileKind(file.format, "program", f"tensor {inside[0]!r} holds a program")
    # The header is no proof that there is none, but its word that there is one is taken.
    if PROGRAMS_KEY in file.header:
        return FileKind(file.format, "program", f"the header has {PROGRAMS_KEY}")
    return FileKind(file.format, "data")
