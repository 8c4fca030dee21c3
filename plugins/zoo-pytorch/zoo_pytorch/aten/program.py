"""A program: an exported network as plain data.

A program names its inputs, the tensors it needs, and nodes in the order in which they are computed. It says nothing about how
it is written (`zoo_pytorch.aten.document`) or run (`zoo_pytorch.aten.network`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Ref:
    """The result of an earlier node, or an input, by its name."""

    name: str


@dataclass(frozen=True)
class State:
    """A parameter, buffer or constant, by its path in the network."""

    path: str


@dataclass(frozen=True)
class Training:
    """Whether the network trains: true after ``train()``, false after ``eval()``."""


@dataclass(frozen=True)
class Own:
    """The device on which the network's tensors are."""


@dataclass(frozen=True)
class TrainingOnly:
    """A probability in training, and zero in evaluation."""

    probability: float


TRAINING = Training()
DEVICE = Own()


@dataclass(frozen=True)
class TensorType:
    """A tensor's dtype and sizes; None is a size that may change from call to call.

    >>> str(TensorType(torch.float32, (None, 3)))
    'float32[*,3]'
    """

    dtype: torch.dtype
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ",".join("*" if size is None else str(size) for size in self.shape)
        return f"{dtype_name(self.dtype)}[{sizes}]"


@dataclass(frozen=True)
class Fixed:
    """An input that the exported graph was specialised on: it takes this value and no other."""

    value: bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A tensor whose values are a part of the program.

    Attributes:
        type: Its dtype and shape.
        data: Its elements in C order, little-endian.
        is_buffer: It is a non-persistent buffer, which follows the network's dtype, and not a plain tensor, which does not.
    """

    type: TensorType
    data: bytes = field(repr=False)
    is_buffer: bool


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of an operator.

    Attributes:
        name: Under which later nodes refer to it.
        operator: Its name, such as ``aten::conv2d``.
        arguments: By position: numbers, strings, dtypes and the like, lists of them, `Ref`, `State`, `TRAINING`,
            `TrainingOnly`, `DEVICE`.
        named: By name.
        counter: The path of the buffer that a batch norm counts its batches in while training.
    """

    name: str
    operator: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    counter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network as data.

    Attributes:
        inputs: In the order of ``forward``, by name.
        parameters: Their types by path, in the order of the original network.
        frozen: Paths of parameters that need no gradient.
        buffers: Types of the persistent buffers by path.
        tied: Further paths of a parameter or buffer: path -> path of the same object.
        constants: By path.
        nodes: In the order of computation; each refers to earlier ones only.
        output: A `Ref` or `State`, or a tuple, list or dictionary of such, of None and of plain values.
    """

    inputs: Mapping[str, TensorType | Fixed]
    parameters: Mapping[str, TensorType]
    frozen: frozenset[str] = frozenset()
    buffers: Mapping[str, TensorType]
    tied: Mapping[str, str]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]
    output: Any


#: The dtypes that a program may name.
DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"),
        *("complex64", "complex128"),
    )
}
LAYOUTS: Mapping[str, torch.layout] = {"strided": torch.strided}
MEMORY_FORMATS: Mapping[str, torch.memory_format] = {
    name: getattr(torch, name) for name in ("channels_last", "channels_last_3d", "contiguous_format", "preserve_format")
}
_NAMES = {value: name for names in (DTYPES, LAYOUTS, MEMORY_FORMATS) for name, value in names.items()}


def dtype_name(value: torch.dtype | torch.layout | torch.memory_format) -> str:
    """The name of a dtype, layout or memory format; empty where a program cannot name it."""
    return _NAMES.get(value, "")


def operands(node: Node) -> Iterator[Ref | State]:
    """What a node takes from elsewhere, in the order of its arguments."""
    for value in (*node.arguments, *node.named.values()):
        yield from references(value)
    if node.counter is not None:
        yield State(node.counter)


def references(value: Any) -> Iterator[Ref | State]:
    """The references in an argument or output."""
    if isinstance(value, Ref | State):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
