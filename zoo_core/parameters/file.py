"""A parameter file: names, dtypes and shapes at once, values when asked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from zoo_core.errors import PackageNotInstalledError, ParameterError
from zoo_core.frozen import FrozenDict
from zoo_core.parameters.header import ALIASES_ENTRY, GOLDEN_PREFIX
from zoo_core.parameters.program import ATEN, StoredProgram, is_program_name
from zoo_core.wording import printable

if TYPE_CHECKING:
    import numpy as np

    from zoo_core.parameters.source import Source

Format = Literal["safetensors", "pth", "pth-legacy", "params", "torchscript", "pt2", "mxnet-symbol", "torch-aten"]

#: dtype -> bytes of an element, NumPy's code for its bits. Files are little-endian, whatever the machine is.
DTYPES: Mapping[str, tuple[int, str]] = {
    "bool": (1, "|b1"),
    "uint8": (1, "|u1"),
    "int8": (1, "|i1"),
    "float8_e4m3fn": (1, "|u1"),
    "float8_e4m3fnuz": (1, "|u1"),
    "float8_e5m2": (1, "|u1"),
    "float8_e5m2fnuz": (1, "|u1"),
    "float8_e8m0fnu": (1, "|u1"),
    "uint16": (2, "<u2"),
    "int16": (2, "<i2"),
    "float16": (2, "<f2"),
    "bfloat16": (2, "<u2"),
    "uint32": (4, "<u4"),
    "int32": (4, "<i4"),
    "float32": (4, "<f4"),
    "uint64": (8, "<u8"),
    "int64": (8, "<i8"),
    "float64": (8, "<f8"),
    "complex64": (8, "<c8"),
    "complex128": (16, "<c16"),
}

#: NumPy 1.26 has no more dimensions.
MAX_DIMENSIONS = 32

#: Of 16 bytes each they fill 63 bits; NumPy counts an empty array as if its dimensions of size 0 were absent.
MAX_ELEMENTS = 2**59


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """One tensor of a file, before anything of it is read.

    Attributes:
        name: Its name in the file.
        dtype: The type of an element: ``float32``, ``bfloat16``, ``int64``, ``bool``, ``complex64``, ...
        shape: Its shape; () is one element.
        strides: The step to the next element of each dimension, in elements.
        offset: Where its first element lies, in bytes from the beginning of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    source: Source = field(repr=False)

    @property
    def nbytes(self) -> int:
        """The size of all elements in bytes, as if none was shared."""
        return math.prod(self.shape) * DTYPES[self.dtype][0]

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values: a writable view of the mapped file, whose changes stay in this process.

        It is a copy where the file does not align the elements, and for ``bfloat16``, which NumPy lacks: that is widened to
        ``float32`` without a loss.

        Raises:
            ParameterError: The dtype is an 8-bit float, which NumPy cannot express; `raw` gives its bits.
            PackageNotInstalledError: NumPy is not installed.
        """
        if self.dtype.startswith("float8"):
            raise self.source.malformed(
                f"tensor {self.name!r} is {self.dtype}, which NumPy lacks: take .raw(), its bits as uint8"
            )
        bits = self.raw()
        if self.dtype != "bfloat16":
            return bits
        from zoo_core.parameters.values import widened

        return widened(bits)

    def raw(self) -> np.ndarray[Any, Any]:
        """The values as they are stored: ``uint16`` for ``bfloat16``, ``uint8`` for 8-bit floats, else what `numpy` gives."""
        try:
            from zoo_core.parameters.values import view
        except ImportError as error:
            from zoo_core.requirements import install_line

            missing = ["numpy>=1.26"]
            raise PackageNotInstalledError(f"the values of parameters need NumPy: {install_line(missing)}", missing) from error
        itemsize, code = DTYPES[self.dtype]
        steps = [step * itemsize for step in self.strides]
        return view(self.source.data, self.shape, code, self.offset, steps)


class ParameterFile(Mapping[str, "np.ndarray[Any, Any]"]):
    """The tensors of one file by name; a value is made when it is asked, so that listing needs no NumPy.

    The file stays mapped as long as this object or an array of it lives, and must not be shortened meanwhile.

    Attributes:
        name: What messages call the file.
        format: ``safetensors``, ``pth`` (the zip layout), ``pth-legacy`` or ``params``; where the whole file is a program,
            ``torchscript``, ``pt2``, ``mxnet-symbol`` or ``torch-aten``.
        header: The text that a safetensors file carries beside the tensors; empty for other formats.
        tensors: Name -> dtype, shape and strides, in the order of the file.
        aliases: Further name -> the name under which its tensor is stored, for tensors that are tied.

    Raises:
        ParameterError: The header's ``zoo.aliases`` does not name stored tensors.
    """

    def __init__(
        self, name: str, format: Format, tensors: Iterable[StoredTensor], header: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.format: Format = format
        self.header: Mapping[str, str] = FrozenDict(header)
        self.tensors: Mapping[str, StoredTensor] = MappingProxyType({tensor.name: tensor for tensor in tensors})
        self.aliases: Mapping[str, str] = FrozenDict(self._checked_aliases())

    @cached_property
    def state(self) -> Mapping[str, StoredTensor]:
        """What fills a block, parameters and programs, by all names that each has; golden tensors are left aside."""
        own = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(GOLDEN_PREFIX)}
        return MappingProxyType(own | {name: self.tensors[stored] for name, stored in self.aliases.items()})

    @cached_property
    def programs(self) -> Mapping[str, StoredProgram]:
        """The programs inside, by every name under which a SymbolBlock would take one.

        Whatever has such a name counts, of any dtype: what a module makes of its own state is its own affair. An alias becomes
        such a name in loading.
        """
        named = {**self.tensors, **{name: self.tensors[stored] for name, stored in self.aliases.items()}}
        found = {name: StoredProgram(name, tensor) for name, tensor in named.items() if is_program_name(name)}
        # An empty holder that was saved holds nothing.
        return MappingProxyType({name: program for name, program in found.items() if program.tensor.shape != (0,)})

    @property
    def is_data(self) -> bool:
        """Whether it may always be loaded: no program is inside, or only such as are built from a closed list of operators."""
        return all(program.kind == ATEN for program in self.programs.values())

    def _checked_aliases(self) -> dict[str, str]:
        try:
            aliases = json.loads(self.header.get(ALIASES_ENTRY, "{}"))
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"{self.name}: header entry {ALIASES_ENTRY} is no JSON: {error}") from error
        if not isinstance(aliases, dict):
            raise ParameterError(f"{self.name}: header entry {ALIASES_ENTRY} is no object of names")
        for name, stored in aliases.items():
            if not isinstance(stored, str) or stored not in self.tensors or name in self.tensors:
                raise ParameterError(
                    f"{self.name}: header entry {ALIASES_ENTRY} ties {name!r} to {stored!r}; "
                    "expected a new name and a stored one"
                )
        return aliases

    def check_tied(self, names: Iterable[str]) -> None:
        """Refuse different values for names that are one parameter in a block: nobody would notice which one was taken.

        Raises:
            ParameterError: Two of them have different values; both are in its ``mismatched``.
        """
        stored = list(dict.fromkeys(self.aliases.get(name, name) for name in names))
        for other in stored[1:]:
            if not self._are_same(self.tensors[stored[0]], self.tensors[other]):
                raise ParameterError(
                    f"{self.name} has different values for {printable(repr(stored[0]))} and {printable(repr(other))}, "
                    "which are one tied parameter in the block",
                    mismatched=(stored[0], other),
                )

    @staticmethod
    def _are_same(one: StoredTensor, other: StoredTensor) -> bool:
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        if one.source is other.source and (one.offset, one.strides) == (other.offset, other.strides):
            return True
        from zoo_core.parameters.values import have_same_bits

        return have_same_bits(one.raw(), other.raw())

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self.tensors[name].numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __repr__(self) -> str:
        return f"<ParameterFile {self.name}: {self.format}, {len(self)} tensors>"


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor whose elements follow one another, the last dimension first.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    steps = [1]
    for size in shape[:0:-1]:
        steps.append(steps[-1] * max(size, 1))
    return tuple(reversed(steps)) if shape else ()


def is_shape(shape: Sequence[object]) -> bool:
    """Whether an array can have these sizes: whole numbers, not too many, not beyond what an address can reach."""
    return are_counts(shape) and math.prod(size for size in shape if size) < MAX_ELEMENTS


def are_counts(values: Sequence[object]) -> TypeGuard[Sequence[int]]:
    """Whether these are sizes or steps, one for each dimension of an array: integers, none negative, not too many."""
    return len(values) <= MAX_DIMENSIONS and all(type(value) is int and value >= 0 for value in values)
