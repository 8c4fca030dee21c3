"""A program that travels among the parameters of a file: what kind it is, told by its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zoo_core.errors import ParameterError
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.source import Source

if TYPE_CHECKING:
    from zoo_core.parameters.file import StoredTensor

#: The last part of the name under which a SymbolBlock keeps its program; torch calls the state of a module's own so.
PROGRAM_TENSOR = "_extra_state"

ATEN = "torch.aten"

#: The format of a program's bytes -> the kind of program.
KINDS: Mapping[str, str] = {
    "torch-aten": ATEN,
    "pt2": "torch.export",
    "torchscript": "torchscript",
    "mxnet-symbol": "mxnet.symbol",
}


def program_kind(content: bytes | bytearray | memoryview) -> str:
    """The kind of a program, told by its bytes.

    Returns:
        ``torch.aten``, ``torch.export``, ``torchscript``, ``mxnet.symbol`` or ``unknown``.

    >>> program_kind(b'{"torch.aten":1,"nodes":[]}'), program_kind(b"print()")
    ('torch.aten', 'unknown')
    """
    try:
        return KINDS.get(format_of(Source("the program", memoryview(content))), "unknown")
    except ParameterError:
        return "unknown"


def is_program_name(name: str) -> bool:
    """Whether a tensor of this name is taken for a program.

    >>> is_program_name("1._extra_state"), is_program_name("_extra_state"), is_program_name("extra_state.weight")
    (True, True, False)
    """
    return name.rpartition(".")[2] == PROGRAM_TENSOR


@dataclass(frozen=True)
class StoredProgram:
    """A program of a file, before an engine has seen it.

    Attributes:
        name: The tensor's name: the place of a SymbolBlock in the tree, and ``_extra_state``.
        tensor: The tensor that holds its bytes.
    """

    name: str
    tensor: StoredTensor

    @cached_property
    def kind(self) -> str:
        """``torch.aten``, ``torch.export``, ``torchscript``, ``mxnet.symbol`` or ``unknown``."""
        return program_kind(self.content) if self._is_plain else "unknown"

    @property
    def content(self) -> memoryview:
        """Its bytes, in the mapped file.

        Raises:
            ParameterError: The tensor is no row of bytes.
        """
        if not self._is_plain:
            raise self.tensor.source.malformed(
                f"tensor {self.name!r} is {self.tensor.dtype}{list(self.tensor.shape)}; a program is a row of uint8"
            )
        return self.tensor.source.data[self.tensor.offset : self.tensor.offset + self.tensor.shape[0]]

    @cached_property
    def sha256(self) -> str:
        """The digest of its bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def _is_plain(self) -> bool:
        return self.tensor.dtype == "uint8" and len(self.tensor.shape) == 1 and self.tensor.strides == (1,)
