"""Programs of TorchScript, traced and scripted.

A scripted network obeys `train` and `eval`, a traced one keeps the mode it was traced in. A frozen one has its weights among
its constants, where nothing can train them; they stay inside the program.

PyTorch calls TorchScript deprecated; most programs that are published are of it.
"""

from __future__ import annotations

import copy
import inspect
import io
import os
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor, nn
from torch.jit._recursive import wrap_cpp_module

from zoo_core import ParameterError, listing
from zoo_pytorch.archives import ProgramArchive, written
from zoo_pytorch.references import Reference, bind, find_references, loose_tensors, nodes_in
from zoo_pytorch.weights import empty, place, tensors_of

#: An entry of ours: the weights of this program lie beside it. TorchScript keeps files of its users in this folder.
OUTSIDE = "extra/zoo.weights_outside"
#: Which line of whose file a node comes from, and the inputs of a trace.
UNNEEDED = (".debug_pkl",)
TRACED = "traced_inputs"

#: TorchScript's numbers of the floating dtypes.
FLOATING = {5: "float16", 6: "float32", 7: "float64", 15: "bfloat16"}


class Script(NamedTuple):
    """A network of TorchScript as it was read.

    Attributes:
        network: Its weights are on the meta device where they were not inside.
        references: Its attributes that hold parameters.
        is_complete: Whether the weights were inside.
    """

    network: torch.jit.ScriptModule
    references: tuple[Reference, ...]
    is_complete: bool


def write_script(network: torch.jit.ScriptModule, references: Sequence[Reference] = ()) -> bytes:
    """The archive of a network without its weights.

    Args:
        network: It is not changed.
        references: What `prepare` found in it.

    Raises:
        ParameterError: TorchScript cannot save it.
    """
    try:
        # What `torch.jit.save` calls when it has warned that it is deprecated.
        content = _without_values(network, references).save_to_buffer()
    except ParameterError:
        raise
    except Exception as error:  # C++ raises what it likes
        raise ParameterError(f"the TorchScript program cannot be saved: {_first_line(error)}") from error
    return written(_needed(memoryview(content)) | {OUTSIDE: memoryview(b"")})


def _needed(content: memoryview) -> dict[str, memoryview]:
    return {name: value for name, value in ProgramArchive(content).contents().items() if _is_needed(name)}


def _is_needed(name: str) -> bool:
    return not name.endswith(UNNEEDED) and not name.startswith(TRACED)


def read_script(content: memoryview, device: torch.device | None = None) -> Script:
    """The network of an archive.

    TorchScript is not inspected: its code may read and write files. Whoever calls this trusts it.

    Args:
        content: The archive.
        device: Where its constants go; None: the CPU.

    Raises:
        ParameterError: TorchScript cannot read it, or it is none that a block can run and save.
    """
    # Never what only describes lines of code: damaged, it ends the process.
    archive = ProgramArchive(content)
    with _file(archive, {name for name in archive.names if not _is_needed(name)}) as file:
        try:
            network = _loaded(file, device or torch.device("cpu"))
        except Exception as error:  # C++ raises what it likes
            raise ParameterError(f"the TorchScript program cannot be read: {_first_line(error)}") from error
    references = prepare(network)
    if OUTSIDE in archive.names:
        empty(network, set(network.state_dict()))
        bind(network, references)
    return Script(network, references, OUTSIDE not in archive.names)


def _loaded(file: str | BinaryIO, device: torch.device) -> torch.jit.ScriptModule:
    """What ``torch.jit.load`` gives; it would warn that it is deprecated, and warnings are hushed for all threads or none."""
    unit = torch._C.CompilationUnit()
    if isinstance(file, str):
        module = torch._C.import_ir_module(unit, file, device, {}, False)  # type: ignore[call-arg]  # the stub lacks the last
    else:
        module = torch._C.import_ir_module_from_buffer(unit, file.read(), device, {}, False)  # type: ignore[call-arg, arg-type]
    network: torch.jit.ScriptModule = wrap_cpp_module(module)  # type: ignore[no-untyped-call]  # torch's is untyped
    return network


@contextmanager
def _file(archive: ProgramArchive, unneeded: Container[str]) -> Iterator[str | BinaryIO]:
    """An archive without some entries, as torch reads it fastest: of bytes in memory it makes three copies first."""
    with _memory() as stream:
        archive.write_without(unneeded, stream)
        stream.flush()
        path = Path(f"/proc/self/fd/{stream.fileno()}") if not isinstance(stream, io.BytesIO) else None
        if path is not None and path.exists():
            yield str(path)
            return
        stream.seek(0)
        yield stream


def _memory() -> BinaryIO:
    """A file in memory, which on Linux has a path."""
    return os.fdopen(os.memfd_create("program"), "w+b") if hasattr(os, "memfd_create") else io.BytesIO()


def prepare(network: torch.jit.ScriptModule) -> tuple[Reference, ...]:
    """Give a network what Python's modules have: parameters of their type, which others can share, and a mode.

    Returns:
        The attributes that hold parameters, for `bind` wherever these are exchanged.

    Raises:
        ParameterError: It has no method ``forward``, or an attribute that cannot be kept right; it is unchanged then.
    """
    _check_forward(network)
    references = find_references(network)
    for module in network.modules():
        # A frozen network has lost the flag, and it means nothing to it.
        if not hasattr(module, "training"):
            module.training = False
    made: dict[int, nn.Parameter] = {}
    for name, tensor in list(network.named_parameters(remove_duplicate=False)):
        if type(tensor) is not nn.Parameter:
            place(network, name, made.setdefault(id(tensor), _as_parameter(tensor)))
    # Also where nothing was exchanged: what cannot be set is refused now, and not when it is too late.
    bind(network, references, again=True)
    return references


def _check_forward(network: torch.jit.ScriptModule) -> None:
    methods = network._c._method_names()
    if "forward" not in methods:
        has = f"only {listing(methods, limit=4, near_to='forward')}" if methods else "no method at all"
        raise ParameterError(
            f"the TorchScript program has no method 'forward', {has}: script or trace a module whose forward calls what it is "
            "to compute"
        )


def _as_parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _without_values(network: torch.jit.ScriptModule, references: Sequence[Reference]) -> torch.jit.ScriptModule:
    """A copy whose weights have their shapes and no values: each is one element of one storage, seen as many.

    A copy, because someone else may run the network meanwhile.
    """
    copied = copy.deepcopy(network)
    bind(copied, references)
    zeros: dict[torch.dtype, Tensor] = {}
    for tensor in {id(value): value for value in copied.state_dict(keep_vars=True).values()}.values():
        zero = zeros.setdefault(tensor.dtype, torch.zeros((), dtype=tensor.dtype))
        tensor.data = zero.expand(tensor.shape)
    return copied


def follows_mode(network: torch.jit.ScriptModule) -> bool:
    """Whether the code asks if it trains, as scripted code does where it matters."""
    return any(node.s("name") == "training" for node in _nodes(network) if node.kind() == "prim::GetAttr")


def constants_bytes(content: memoryview) -> int:
    """The size of the tensors inside the program that are no weights, as a frozen network's."""
    return sum(len(value) for name, value in ProgramArchive(content).contents().items() if name.startswith("constants/"))


def fixed_dtype(network: torch.jit.ScriptModule) -> str:
    """The first node that makes values of a floating dtype that it names; "" where there is none."""
    weights = {id(tensor): tensor for tensor in tensors_of(network).values()}
    for node in _nodes(network):
        if node.kind() == "prim::GetAttr":
            if any(tensor.is_floating_point() for tensor in loose_tensors(_attribute(network, node), weights)):
                return f"attribute {node.s('name')}"
        elif node.kind() == "prim::Constant":
            kind = node.kindOf("value") if node.hasAttribute("value") else ""
            if kind == "t" and node.t("value").is_floating_point() and node.t("value").dim():
                return f"constant %{node.output().debugName()}"
        elif node.kind().startswith("aten::"):
            dtype = _dtype_argument(node)
            if dtype:
                return f"%{node.output().debugName()} ({node.kind()}, {dtype})"
    return ""


def _attribute(network: torch.jit.ScriptModule, node: Any) -> Any:
    """What an attribute that is read in the graph holds."""
    owner = node.input().node()
    held = _attribute(network, owner) if owner.kind() == "prim::GetAttr" else network
    return getattr(held, node.s("name"), None)


def _dtype_argument(node: Any) -> str:
    schema = node.schema()
    if schema == "(no schema)" or "dtype" not in schema:
        return ""
    arguments = torch._C.parse_schema(schema).arguments
    for argument, value in zip(arguments, node.inputs(), strict=False):
        if argument.name == "dtype" and value.node().kind() == "prim::Constant" and value.node().hasAttribute("value"):
            return FLOATING.get(value.toIValue(), "")
    return ""


def signature(network: torch.jit.ScriptModule) -> inspect.Signature:
    """The arguments of ``forward`` as the program names them."""
    schema = network.forward.schema  # type: ignore[attr-defined]  # a method of TorchScript
    found = [
        inspect.Parameter(
            argument.name,
            inspect.Parameter.KEYWORD_ONLY if argument.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
        )
        for argument in schema.arguments[1:]
    ]
    return inspect.Signature(found)


def _nodes(network: torch.jit.ScriptModule) -> Iterator[Any]:
    try:
        graph = network.inlined_graph
    except RuntimeError:  # a network without `forward`
        return
    yield from nodes_in(graph)
