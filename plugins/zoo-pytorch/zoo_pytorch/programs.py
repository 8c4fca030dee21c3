"""Programs of every kind as networks, and networks as programs: a class for each kind tells how it differs."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from zoo_core import InputError, ParameterError, did_you_mean, listing, printable, program_kind, read_model_file
from zoo_pytorch import aten, exported, script
from zoo_pytorch.references import Reference, bind
from zoo_pytorch.weights import place, tensors_of

FOLLOWS, FIXED = "follows train() and eval()", "fixed when it was made"

Given: TypeAlias = "ExportedProgram | torch.jit.ScriptModule | str | os.PathLike[str] | bytes"

#: Whether a file that is data is being loaded: of it no program is taken but such as are built from a closed list of operators.
_only_data: ContextVar[bool] = ContextVar("only_data", default=False)


@contextmanager
def only_data(is_data: bool) -> Iterator[None]:
    """Refuse programs that are no data meanwhile, however they get to a block."""
    token = _only_data.set(is_data or _only_data.get())
    try:
        yield
    finally:
        _only_data.reset(token)


def as_bytes(content: object) -> memoryview:
    """The bytes of a program's tensor, without a copy where it is on the CPU.

    Raises:
        ParameterError: It is no row of bytes.
    """
    if not isinstance(content, Tensor) or content.dtype != torch.uint8 or content.dim() != 1:
        what = f"{content.dtype}{list(content.shape)}" if isinstance(content, Tensor) else type(content).__name__
        raise ParameterError(f"a program is a row of bytes, uint8[bytes]; found {what}")
    return content.detach().cpu().contiguous().numpy().data


def as_tensor(content: bytes | memoryview) -> Tensor:
    """Bytes as the tensor under which they travel; those of a mapped file stay there."""
    # torch has no read-only tensors.
    writable = content if isinstance(content, memoryview) and not content.readonly else bytearray(content)
    return torch.frombuffer(writable, dtype=torch.uint8) if len(writable) else torch.empty(0, dtype=torch.uint8)


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two programs are the same bytes."""
    return one is other or (one.shape == other.shape and one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu()))


# The kinds.


@dataclass(frozen=True, eq=False, kw_only=True)
class Program(ABC):
    """A program and the network that it is.

    Attributes:
        kind: What its bytes are.
        is_data: Whether it is built from a closed list of operators, and so may always be taken.
        source: Makes its bytes, which takes a while where it came with its weights.
        network: It as a module, whose weights are on the meta device where nobody gave them.
        is_complete: Whether the weights came with it.
        references: Attributes of TorchScript that hold parameters a second time, which `bind` keeps right.
        reason: Why an exported graph is not kept as ``torch.aten``; "" where it is, and where nobody tried.
    """

    kind: ClassVar[str]
    is_data: ClassVar[bool] = False

    source: Callable[[], Tensor]
    network: nn.Module
    is_complete: bool
    references: tuple[Reference, ...] = ()
    reason: str = ""

    @classmethod
    @abstractmethod
    def read(cls, content: Tensor) -> Program:
        """Build the network of bytes of this kind; what is no data is inspected before torch sees it, as far as it can be.

        Raises:
            ParameterError: They are damaged or doctored.
        """

    @cached_property
    def content(self) -> Tensor:
        """Its bytes without weights, ``uint8[bytes]``."""
        return self.source()

    @property
    def mode(self) -> str:
        """What `train` and `eval` do to it."""
        return FIXED

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The names at which it can be cut, in the order in which they are computed."""

    def cut(self, name: str | None) -> Program:
        """It up to a named result, or without its last operator (None); the remaining weights are the same tensors.

        Raises:
            InputError: It has no such result, or is of a kind that cannot be cut.
        """
        ending = as_tensor(self._ending(name))
        found = replace(self.read(ending), source=lambda: ending, is_complete=self.is_complete, reason=self.reason)
        held = tensors_of(self.network)
        for each in tensors_of(found.network):
            place(found.network, each, held[each])
        found.network.train(self.network.training)
        return found

    @abstractmethod
    def _ending(self, name: str | None) -> bytes:
        """The bytes of what `cut` gives."""

    def _check_output(self, name: str | None) -> None:
        known = self.outputs
        if name is not None and name not in known:
            near, has = did_you_mean(name, known), listing(known, near_to=name)
            raise InputError(f"no output is named {printable(name)!r}{near}; the program has {has}")

    @property
    def constants_bytes(self) -> int:
        """The size of the tensors that stay inside, where no parameter file shows them and nothing trains them."""
        weights = self.network.state_dict()
        return sum(value.nbytes for name, value in self.network.named_buffers() if name not in weights)

    @property
    def signature(self) -> inspect.Signature:
        """Its arguments by the names that its author gave them."""
        return inspect.signature(self.network.forward)

    def bind(self, network: nn.Module) -> None:
        """Let attributes that hold parameters a second time hold those that stand under their names now.

        Args:
            network: Its own, or a replica.
        """
        if self.references and isinstance(network, torch.jit.ScriptModule):
            bind(network, self.references)

    @abstractmethod
    def check_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """Refuse to convert a network whose graph names a floating dtype: it would mix two.

        Args:
            convert: What is about to be done to each of its tensors.

        Raises:
            ParameterError: It would convert the weights; the message names the node.
        """

    def moved(self, device: torch.device) -> Program:
        """It with what is inside on a device where its weights are already.

        Args:
            device: Where operators are to make their values, and constants to be.
        """
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class AtenProgram(Program):
    """A graph of operators from a closed list."""

    kind = "torch.aten"
    is_data = True

    network: aten.AtenNetwork

    @classmethod
    def read(cls, content: Tensor) -> AtenProgram:
        """Its weights have no values."""
        return cls(source=lambda: content, network=aten.read_program(as_bytes(content)), is_complete=False)

    @property
    def mode(self) -> str:
        """Its batch norms and dropouts switch."""
        return FOLLOWS

    @property
    def outputs(self) -> tuple[str, ...]:
        """The nodes that give a tensor."""
        return aten.facts_of(self.network).outputs

    def _ending(self, name: str | None) -> bytes:
        self._check_output(name)
        content = as_bytes(self.content)
        return aten.without_last_block(content) if name is None else aten.cut_program(content, name)

    def check_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """The network does it by itself as well."""
        self.network.check_conversion(convert)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExportProgram(Program):
    """A graph of any operators, as ``torch.export.save`` writes it."""

    kind = "torch.export"

    @classmethod
    def read(cls, content: Tensor) -> ExportProgram:
        """It keeps an archive's weights, and is then written anew without them."""
        network, bare, is_complete = exported.read_exported(as_bytes(content))
        return cls(source=lambda: as_tensor(bare) if is_complete else content, network=network, is_complete=is_complete)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The nodes that give a tensor."""
        return exported.output_names(as_bytes(self.content))

    def _ending(self, name: str | None) -> bytes:
        self._check_output(name)
        return exported.cut_exported(as_bytes(self.content), name)

    def check_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """Asked each time: the graph is torch's own."""
        _check_conversion(self.network, convert, exported.fixed_dtype)

    def moved(self, device: torch.device) -> ExportProgram:
        """Itself: the graph is changed."""
        exported.retarget(self.network, device)
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class ScriptProgram(Program):
    """TorchScript, traced or scripted."""

    kind = "torchscript"

    network: torch.jit.ScriptModule

    @classmethod
    def read(cls, content: Tensor) -> ScriptProgram:
        """It keeps an archive's weights, and is then written anew without them."""
        network, references, is_complete = script.read_script(as_bytes(content))
        source = (lambda: as_tensor(script.write_script(network, references))) if is_complete else lambda: content
        return cls(source=source, network=network, is_complete=is_complete, references=references)

    @property
    def mode(self) -> str:
        """Scripted code follows where it asks for the mode, a trace never does."""
        return FOLLOWS if script.follows_mode(self.network) else FIXED

    @property
    def outputs(self) -> tuple[str, ...]:
        """None: TorchScript does not keep names."""
        return ()

    def _ending(self, name: str | None) -> bytes:
        raise InputError("a TorchScript program cannot be cut: export the network with torch.export.export instead")

    @property
    def constants_bytes(self) -> int:
        """Those of its archive, which the network does not show."""
        return script.constants_bytes(as_bytes(self.content))

    @property
    def signature(self) -> inspect.Signature:
        """TorchScript's own: its ``forward`` has none that Python knows."""
        return script.signature(self.network)

    def check_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """Asked of the code, where attributes that hold parameters fix nothing."""
        self.bind(self.network)
        _check_conversion(self.network, convert, script.fixed_dtype)

    def moved(self, device: torch.device) -> ScriptProgram:
        """Read again where it has constants, which stay on the device that they are read to."""
        if not self.constants_bytes:
            return self
        network = script.read_script(as_bytes(self.content), device).network
        for name, tensor in tensors_of(self.network).items():
            place(network, name, tensor)
        network.train(self.network.training)
        self.bind(network)
        return replace(self, source=lambda: self.content, network=network)


Network = TypeVar("Network", bound=nn.Module)


def _check_conversion(network: Network, convert: Callable[[Tensor], Tensor], fixed_dtype: Callable[[Network], str]) -> None:
    # A frozen network has none that would tell, and constants that nobody converts.
    dtypes = {value.dtype for value in tensors_of(network).values() if value.is_floating_point()} or {torch.float32}
    changed = {dtype: found for dtype in dtypes if (found := convert(torch.empty(0, dtype=dtype)).dtype) != dtype}
    if changed and (fixed := fixed_dtype(network)):
        (dtype, found), *_ = changed.items()
        raise ParameterError(
            f"the program cannot be converted from {dtype} to {found}: {fixed} fixes its dtype; convert the original "
            "module and export it again"
        )


_KINDS: dict[str, type[Program]] = {each.kind: each for each in (AtenProgram, ExportProgram, ScriptProgram)}
KINDS = tuple(_KINDS)


# What is a program.


def read_program(content: Tensor) -> Program:
    """Build the network of a program; what is no data is inspected before torch sees it, as far as it can be.

    Raises:
        ParameterError: It is no program of PyTorch, damaged, doctored, or of a kind that must not be taken now.
    """
    name = program_kind(as_bytes(content))
    kind = _KINDS.get(name)
    if kind is None:
        raise ParameterError(f"a SymbolBlock of PyTorch takes programs of the kinds {', '.join(KINDS)}; this one is {name}")
    if _only_data.get() and not kind.is_data:
        raise ParameterError(f"the program is {name}, which can run code, and the file that is loaded was taken for data")
    return kind.read(content)


def program_of(given: Given) -> Program:
    """The program that an object or a file is, with its weights; an exported graph becomes ``torch.aten`` where that can be.

    Raises:
        InputError: It is nothing of which a program can be made.
        ParameterError: It cannot be read, or holds what no program may hold.
    """
    if isinstance(given, ExportedProgram):
        return _of_exported(given)
    if isinstance(given, torch.jit.ScriptModule):
        return _of_script(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return _of_content(memoryview(given))
    if isinstance(given, str | os.PathLike):
        return _of_content(_content_of(Path(given)))
    if isinstance(given, nn.Module):
        raise InputError(f"{type(given).__name__} is code and no program: give torch.export.export(module, (example,))")
    raise InputError(
        f"a program is an ExportedProgram, a TorchScript module, or the path or bytes of a file; this is {type(given).__name__}"
    )


def _content_of(path: Path) -> memoryview:
    programs = read_model_file(path).programs
    if list(programs) != ["_extra_state"]:
        raise InputError(
            f"{path} is no program; programs are TorchScript (.pt), exported programs (.pt2) and torch.aten (JSON)"
        )
    return programs["_extra_state"].content


def _of_content(content: memoryview) -> Program:
    program = read_program(as_tensor(content))
    if not isinstance(program, ExportProgram) or not program.is_complete:
        return program
    # The content is what the inspection left of the archive.
    whole = exported.read_whole(as_bytes(program.content), tensors_of(program.network))
    try:
        return _as_aten(whole)
    except aten.NotExpressible as error:
        return replace(program, reason=str(error))


def _of_exported(given: ExportedProgram) -> Program:
    try:
        return _as_aten(given)
    except aten.NotExpressible as error:
        reason = str(error)
    network = exported.network_of(given)
    network.train(exported.is_training(given))
    bare = as_tensor(exported.write_exported(given))
    return ExportProgram(source=lambda: bare, network=network, is_complete=True, reason=reason)


def _as_aten(given: ExportedProgram) -> AtenProgram:
    content = aten.write_program(given)
    network = aten.read_program(content)
    for name in network.state_dict():
        place(network, name, given.state_dict[name])
    network.train(exported.is_training(given))
    return AtenProgram(source=lambda: as_tensor(content), network=network, is_complete=True)


def _of_script(given: torch.jit.ScriptModule) -> ScriptProgram:
    references = script.prepare(given)
    bare = as_tensor(script.write_script(given, references))
    return ScriptProgram(source=lambda: bare, network=given, is_complete=True, references=references)
