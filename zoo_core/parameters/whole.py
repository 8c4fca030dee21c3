"""Files that hold a network as a whole: a program with its weights, which fill an empty SymbolBlock."""

from __future__ import annotations

import os
from pathlib import Path

from zoo_core.parameters.file import ParameterFile, StoredTensor
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.program import KINDS, PROGRAM_TENSOR
from zoo_core.parameters.reading import read_parameters, read_source
from zoo_core.parameters.shards import is_index
from zoo_core.parameters.source import ParameterSource, Source, open_source

#: What MXNet's `export` writes: ``net-symbol.json`` beside ``net-0000.params``, where the number is the epoch.
SYMBOL_SUFFIX = "-symbol.json"


def read_model_file(
    source: ParameterSource | ParameterFile, *, parameters: str | os.PathLike[str] | bytes | None = None
) -> ParameterFile:
    """A file that fills a network: what `read_parameters` reads, and programs.

    A program becomes a file with the one tensor ``_extra_state`` of its bytes, under which an empty SymbolBlock takes it.

    Args:
        source: As for `read_parameters`; also TorchScript, a ``.pt2`` and the JSON of an MXNet symbol.
        parameters: The file with the parameters of a symbol; None: the only ``.params`` file beside it that has its name.

    Raises:
        ParameterError: It cannot be read, is malformed, or several files could hold the symbol's parameters.
    """
    if isinstance(source, ParameterFile) or is_index(source):
        return read_parameters(source)
    opened = open_source(source)
    name = format_of(opened)
    if name not in KINDS:
        return read_source(opened)
    if name != "mxnet-symbol":
        return ParameterFile(opened.name, name, [_program(opened)])  # type: ignore[arg-type]  # KINDS are formats
    beside = parameters if parameters is not None else _beside(source, opened)
    tensors = read_parameters(beside).tensors.values() if beside is not None else ()
    return ParameterFile(opened.name, "mxnet-symbol", [_program(opened), *tensors])


def symbol_beside(path: Path) -> Path | None:
    """The symbol that a ``.params`` file belongs to, if it lies beside it.

    >>> symbol_beside(Path("nowhere/net-0000.params"))
    """
    stem = path.name.removesuffix(".params")
    names = dict.fromkeys((stem, stem[:-5] if stem[-5:-4] == "-" and stem[-4:].isdigit() else stem))
    return next((found for name in names if (found := path.with_name(name + SYMBOL_SUFFIX)).is_file()), None)


def _program(source: Source) -> StoredTensor:
    return StoredTensor(PROGRAM_TENSOR, "uint8", (len(source.data),), (1,), 0, source)


def _beside(source: ParameterSource, opened: Source) -> Path | None:
    """The parameters of a symbol that was given by its path."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source)
    stem = path.name.removesuffix(SYMBOL_SUFFIX) if path.name.endswith(SYMBOL_SUFFIX) else path.stem
    found = sorted(other for other in path.parent.glob("*.params") if symbol_beside(other) == path or other.stem == stem)
    if len(found) > 1:
        names = ", ".join(other.name for other in found)
        raise opened.malformed(f"its parameters may be in {names}: give one of these files instead")
    return found[0] if found else None
