"""Files that hold a network as a whole: a program with its weights, which fill an empty SymbolBlock."""

from __future__ import annotations

import os
from pathlib import Path

from zoo_core.parameters.file import ParameterFile, StoredTensor
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.program import KINDS, PROGRAM_TENSOR
from zoo_core.parameters.reading import read_parameters
from zoo_core.parameters.shards import INDEX_SUFFIX
from zoo_core.parameters.source import ParameterSource, Source, open_source

#: What MXNet's `export` writes: ``net-symbol.json`` beside ``net-0000.params``, where the number is the epoch.
SYMBOL_SUFFIX = "-symbol.json"


def read_model_file(
    source: ParameterSource | ParameterFile, *, parameters: ParameterSource | ParameterFile | None = None
) -> ParameterFile:
    """A file that fills a network: what `read_parameters` reads, and programs.

    A program becomes a file with the one tensor ``_extra_state`` of its bytes, under which an empty SymbolBlock takes it.

    Args:
        source: As for `read_parameters`; also TorchScript, a ``.pt2`` and the JSON of an MXNet symbol.
        parameters: The file with the parameters of a symbol; None: the only ``.params`` file beside it that has its name.

    Raises:
        ParameterError: It cannot be read, is malformed, or several files could hold the symbol's parameters.
    """
    if isinstance(source, ParameterFile):
        return source
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(INDEX_SUFFIX):
        return read_parameters(source)
    opened = open_source(source)
    name = format_of(opened)
    if name not in KINDS:
        return read_parameters(opened)
    if name == "mxnet-symbol" and parameters is None and isinstance(source, str | os.PathLike):
        parameters = _parameters_beside(Path(source), opened)
    beside = read_parameters(parameters) if parameters is not None else None
    program = StoredTensor(PROGRAM_TENSOR, "uint8", (len(opened.data),), (1,), 0, opened)
    if beside is None:
        return ParameterFile(opened.name, name, [program])  # type: ignore[arg-type]  # all KINDS are formats
    if PROGRAM_TENSOR in beside.tensors or PROGRAM_TENSOR in beside.aliases:
        raise opened.malformed(f"its parameters in {beside.name} hold another program, {PROGRAM_TENSOR}")
    return ParameterFile(opened.name, name, [program, *beside.tensors.values()], beside.header)  # type: ignore[arg-type]


def symbol_names(parameters: str) -> tuple[str, ...]:
    """The names that the symbol of a ``.params`` file may have.

    >>> symbol_names("net-0000.params")
    ('net-0000-symbol.json', 'net-symbol.json')
    """
    stem = parameters.removesuffix(".params")
    stems = (stem, stem[:-5]) if stem[-5:-4] == "-" and stem[-4:].isdigit() else (stem,)
    return tuple(name + SYMBOL_SUFFIX for name in stems)


def _parameters_beside(path: Path, opened: Source) -> Path | None:
    found = sorted(other for other in path.parent.glob("*.params") if path.name in symbol_names(other.name))
    if len(found) > 1:
        names = ", ".join(other.name for other in found)
        raise opened.malformed(f"its parameters may be in {names}: give one of these files instead")
    return found[0] if found else None
