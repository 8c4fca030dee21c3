"""Parameter files written as `Model.save` promises them, whatever engine made the tensors."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from zoo_core.errors import ParameterError
from zoo_core.parameters.header import ALIASES_ENTRY, GOLDEN_PREFIX, PROGRAMS_ENTRY
from zoo_core.parameters.program import program_kind
from zoo_core.parameters.safetensors import sort_header

Tensor = TypeVar("Tensor")


class Serializer(Protocol[Tensor]):
    """What ``safetensors.torch`` and ``safetensors.numpy`` are: the same verbs for the tensors of each engine."""

    def save(self, tensors: dict[str, Tensor], /, metadata: dict[str, str] | None = None) -> bytes:
        """The content of a file."""

    def save_file(
        self, tensors: dict[str, Tensor], filename: str | os.PathLike[str], /, metadata: dict[str, str] | None = None
    ) -> None:
        """Write a file."""


def write_parameters(
    target: Path | BinaryIO,
    state: Mapping[str, Tensor],
    header: Mapping[str, str],
    *,
    serializer: Serializer[Tensor],
    aliases: Mapping[str, str],
    programs: Mapping[str, bytes | memoryview],
    extra: Mapping[str, Tensor],
) -> None:
    """Write the state of a block as safetensors; one state gives the same bytes each time.

    Args:
        target: A path, written to as it is, or a stream.
        state: The parameters and programs by name, each tensor once.
        header: The entries of ``__metadata__``; ``zoo.aliases`` and ``zoo.programs`` are added where there are any.
        serializer: The engine's module of the package safetensors, such as ``safetensors.torch``.
        aliases: Further name -> the name in ``state`` under which its tensor is stored.
        programs: The bytes of the programs by all their names, for the header to tell what they are.
        extra: Tensors that are no parameters, such as golden ones.

    Raises:
        ParameterError: The name of a parameter is reserved.
    """
    _refuse_reserved((*state, *aliases))
    entries = dict(header)
    if aliases:
        entries[ALIASES_ENTRY] = json.dumps(dict(aliases))
    if programs:
        entries[PROGRAMS_ENTRY] = json.dumps({name: _described(content) for name, content in programs.items()})
    tensors = {**state, **extra}
    if isinstance(target, Path):
        serializer.save_file(tensors, target, metadata=entries)
        with target.open("r+b") as file:
            sort_header(file)
    else:
        content = io.BytesIO(serializer.save(tensors, metadata=entries))
        sort_header(content)
        target.write(content.getbuffer())


def _described(program: bytes | memoryview) -> dict[str, str]:
    return {"kind": program_kind(program), "sha256": sha256(program).hexdigest()}


def _refuse_reserved(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(GOLDEN_PREFIX):
            raise ParameterError(f"parameter {name!r}: names that begin with {GOLDEN_PREFIX!r} are reserved")
