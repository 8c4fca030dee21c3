"""How far a file must be trusted before it is loaded: told by its bytes, never by its name or by what it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.errors import ParameterError
from zoo_core.parameters.file import ParameterFile
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.program import ATEN, KINDS
from zoo_core.parameters.reading import READERS
from zoo_core.parameters.source import ParameterSource, Source, open_source


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Attributes:
        format: ``safetensors``, ``pth``, ``pth-legacy``, ``params``, ``torchscript``, ``pt2``, ``mxnet-symbol``,
            ``torch-aten``, ``djl`` or ``unknown``.
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
        return _kind_of_file(source)
    return _kind_of_bytes(open_source(source))


def _kind_of_bytes(source: Source) -> FileKind:
    name = "unknown"
    try:
        name = format_of(source)
        if name in READERS:
            return _kind_of_file(READERS[name](source))
    except ParameterError as error:
        return FileKind(name, "unknown", str(error))
    if name in KINDS:
        return _kind_of_program(name, KINDS[name], "the file")
    return FileKind(name, "unknown", "no format of parameters or programs that is known here")


def _kind_of_file(file: ParameterFile) -> FileKind:
    others = [program for program in file.programs.values() if program.kind != ATEN]
    if not others:
        return FileKind(file.format, "data")
    if file.format in KINDS:
        return _kind_of_program(file.format, others[0].kind, "the file")
    return _kind_of_program(file.format, others[0].kind, f"tensor {others[0].name!r}")


def _kind_of_program(format_: str, kind: str, what: str) -> FileKind:
    if kind == ATEN:
        return FileKind(format_, "data")
    return FileKind(format_, "program", f"{what} holds a program ({kind})")
