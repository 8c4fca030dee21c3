"""Programs of every kind as networks, and networks as programs: what differs between the kinds is told here."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from zoo_core import InputError, ParameterError, did_you_mean, listing, printable, program_kind, read_model_file
from zoo_pytorch import aten, exported, script
from zoo_pytorch.references import Reference, bind
from zoo_pytorch.weights import place, tensors_of

ATEN, EXPORT, SCRIPT = "torch.aten", "torch.export", "torchscript"
KINDS = (ATEN, EXPORT, SCRIPT)

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


@dataclass(frozen=True, eq=False)
class Program:
    """A program and the network that it is.

    Attributes:
        kind: ``torch.aten``, ``torch.export`` or ``torchscript``.
        source: Makes its bytes, which takes a while where it came with its weights.
        network: It as a module, whose weights are on the meta device where nobody gave them.
        is_complete: Whether the weights came with it.
        references: Attributes of TorchScript that hold parameters a second time, which `bind` keeps right.
    """

    kind: str
    source: Callable[[], Tensor]
    network: nn.Module
    is_complete: bool
    references: tuple[Reference, ...] = ()

    @cached_property
    def content(self) -> Tensor:
        """Its bytes without weights, ``uint8[bytes]``."""
        return self.source()


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


def read_program(content: Tensor) -> Program:
    """Build the network of a program; what is no data is inspected before torch sees it, as far as it can be.

    Raises:
        ParameterError: It is no program of PyTorch, damaged, doctored, or of a kind that must not be taken now.
    """
    data = as_bytes(content)
    kind = program_kind(data)
    if kind not in KINDS:
        raise ParameterError(f"a SymbolBlock of PyTorch takes programs of the kinds {', '.join(KINDS)}; this one is {kind}")
    if kind == ATEN:
        return Program(kind, lambda: content, aten.read_program(data), False)
    if _only_data.get():
        raise ParameterError(f"the program is {kind}, which can run code, and the file that is loaded was taken for data")
    if kind == EXPORT:
        network, bare, is_complete = exported.read_exported(data)
        return Program(kind, lambda: as_tensor(bare) if is_complete else content, network, is_complete)
    compiled, references, is_complete = script.read_script(data)
    source = (lambda: as_tensor(script.write_script(compiled, references))) if is_complete else lambda: content
    return Program(kind, source, compiled, is_complete, references)


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
    if program.kind != EXPORT or not program.is_complete:
        return program
    # The content is what the inspection left of the archive.
    return _as_aten(exported.read_whole(as_bytes(program.content), tensors_of(program.network))) or program


def _of_exported(given: ExportedProgram) -> Program:
    as_data = _as_aten(given)
    if as_data is not None:
        return as_data
    network = exported.network_of(given)
    network.train(exported.is_training(given))
    bare = as_tensor(exported.write_exported(given))
    return Program(EXPORT, lambda: bare, network, True)


def _as_aten(given: ExportedProgram) -> Program | None:
    try:
        content = aten.write_program(given)
    except aten.NotExpressible:
        return None
    network = aten.read_program(content)
    for name in network.state_dict():
        place(network, name, given.state_dict[name])
    network.train(exported.is_training(given))
    return Program(ATEN, lambda: as_tensor(content), network, True)


def _of_script(given: torch.jit.ScriptModule) -> Program:
    references = script.prepare(given)
    bare = as_tensor(script.write_script(given, references))
    return Program(SCRIPT, lambda: bare, given, True, references)


def output_names(program: Program) -> tuple[str, ...]:
    """The names at which it can be cut, in the order in which they are computed; none for TorchScript."""
    if isinstance(program.network, aten.AtenNetwork):
        return aten.facts_of(program.network).outputs
    return exported.output_names(as_bytes(program.content)) if program.kind == EXPORT else ()


def cut(program: Program, name: str | None) -> Program:
    """The program up to a named result, or without its last operator (None); the remaining weights are the same tensors.

    Raises:
        InputError: It has no such result, or is of a kind that cannot be cut.
    """
    if program.kind == SCRIPT:
        raise InputError("a TorchScript program cannot be cut: export the network with torch.export.export instead")
    known = output_names(program)
    if name is not None and name not in known:
        raise InputError(
            f"no output is named {printable(name)!r}{did_you_mean(name, known)}; the program has {listing(known, near_to=name)}"
        )
    content = as_bytes(program.content)
    if program.kind == EXPORT:
        ending = exported.cut_exported(content, name)
    else:
        ending = aten.without_last_block(content) if name is None else aten.cut_program(content, name)
    found = replace(read_program(as_tensor(ending)), source=lambda: as_tensor(ending), is_complete=program.is_complete)
    held = tensors_of(program.network)
    for each in tensors_of(found.network):
        place(found.network, each, held[each])
    found.network.train(program.network.training)
    return found


def mode_text(program: Program) -> str:
    """What `train` and `eval` do to it."""
    follows = program.kind == ATEN or (
        isinstance(program.network, torch.jit.ScriptModule) and script.follows_mode(program.network)
    )
    return "follows train() and eval()" if follows else "fixed when it was made"


def constants_bytes(program: Program) -> int:
    """The size of the tensors that stay inside the program, where no parameter file shows them and nothing trains them."""
    if program.kind == SCRIPT:
        return script.constants_bytes(as_bytes(program.content))
    weights = program.network.state_dict()
    return sum(value.nbytes for name, value in program.network.named_buffers() if name not in weights)


def signature(program: Program) -> inspect.Signature:
    """The arguments of the program by the names that its author gave them."""
    if isinstance(program.network, torch.jit.ScriptModule):
        return script.signature(program.network)
    return inspect.signature(program.network.forward)


def bind_references(program: Program, network: nn.Module) -> None:
    """Let attributes that hold parameters a second time hold those that stand under their names now.

    Args:
        program: The program.
        network: Its own, or a replica.
    """
    if program.references and isinstance(network, torch.jit.ScriptModule):
        bind(network, program.references)


def check_conversion(program: Program, convert: Callable[[Tensor], Tensor]) -> None:
    """Refuse to convert a network whose graph names a floating dtype: it would mix two.

    Args:
        program: The program.
        convert: What is about to be done to each of its tensors.

    Raises:
        ParameterError: It would convert the weights; the message names the node.
    """
    if isinstance(program.network, aten.AtenNetwork):
        program.network.check_conversion(convert)
        return
    # A frozen network has none that would tell, and constants that nobody converts.
    dtypes = {value.dtype for value in tensors_of(program.network).values() if value.is_floating_point()} or {torch.float32}
    changed = {dtype: found for dtype in dtypes if (found := convert(torch.empty(0, dtype=dtype)).dtype) != dtype}
    if not changed:
        return
    network = program.network
    bind_references(program, network)
    fixed = script.fixed_dtype(network) if isinstance(network, torch.jit.ScriptModule) else exported.fixed_dtype(network)
    if fixed:
        (dtype, found), *_ = changed.items()
        raise ParameterError(
            f"the program cannot be converted from {dtype} to {found}: {fixed} fixes its dtype; convert the original "
            "module and export it again"
        )


def moved(program: Program, device: torch.device) -> Program:
    """The program with what is inside on a device where its weights are already.

    Args:
        program: The program.
        device: Where operators are to make their values, and constants to be.
    """
    if isinstance(program.network, torch.jit.ScriptModule) and constants_bytes(program):
        network = script.read_script(as_bytes(program.content), device).network
        for name, tensor in tensors_of(program.network).items():
            place(network, name, tensor)
        network.train(program.network.training)
        bind_references(program, network)
        return replace(program, source=lambda: program.content, network=network)
    if program.kind == EXPORT:
        exported.retarget(program.network, device)
    return program
