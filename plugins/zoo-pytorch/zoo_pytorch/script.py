"""Programs of TorchScript, traced and scripted.

A scripted network obeys `train` and `eval`, a traced one keeps the mode it was traced in. A frozen one has its weights among
its constants, where nothing can train them; they stay inside the program.

PyTorch calls TorchScript deprecated; most programs that are published are of it.
"""

from __future__ import annotations

import inspect
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import ParameterError
from zoo_pytorch.archives import entries, written
from zoo_pytorch.weights import empty, place, tensors_of

#: An entry of ours: the weights of this program lie beside it. TorchScript keeps files of its users in this folder.
OUTSIDE = "extra/zoo.weights"
OUTSIDE_VALUE = b"beside the program"
#: Which line of whose file a node comes from, and the inputs of a trace.
UNNEEDED = (".debug_pkl",)
TRACED = "traced_inputs"

#: TorchScript's numbers of the floating dtypes.
FLOATING = {5: "float16", 6: "float32", 7: "float64", 15: "bfloat16"}


def write_script(network: torch.jit.ScriptModule) -> bytes:
    """The archive of a network without its weights; the network is given back as it was.

    Raises:
        ParameterError: TorchScript cannot save it.
    """
    stream = io.BytesIO()
    with _without_values(network), _undeprecated():
        try:
            torch.jit.save(network, stream)
        except Exception as error:  # C++ raises what it likes
            raise ParameterError(f"the TorchScript program cannot be saved: {_first_line(error)}") from error
    return written(_needed(memoryview(stream.getvalue())) | {OUTSIDE: memoryview(OUTSIDE_VALUE)})


def _needed(content: memoryview) -> dict[str, memoryview]:
    found = entries(content, inflated=True)
    return {name: value for name, value in found.items() if not name.endswith(UNNEEDED) and not name.startswith(TRACED)}


def read_script(content: memoryview, device: torch.device | None = None) -> tuple[nn.Module, bytes, bool]:
    """The network of an archive, the archive without weights, and whether the weights were inside.

    TorchScript is not inspected: its code may read and write files. Whoever calls this trusts it.

    Args:
        content: The archive.
        device: Where its constants go; None: the CPU.

    Raises:
        ParameterError: TorchScript cannot read it.
    """
    found = _needed(content)
    # Not the file itself: a damaged entry that only describes lines of code ends the process.
    needed = written(found)
    network = _loaded(needed, device or torch.device("cpu"))
    prepare(network)
    if bytes(found.get(OUTSIDE, b"")) == OUTSIDE_VALUE:
        empty(network, set(network.state_dict()))
        return network, needed, False
    return network, write_script(network), True


def prepare(network: torch.jit.ScriptModule) -> None:
    """Give a network what Python's modules have: parameters of their type, which others can share, and a mode."""
    for module in network.modules():
        # A frozen network has lost the flag, and it means nothing to it.
        if not hasattr(module, "training"):
            module.training = False
    made: dict[int, nn.Parameter] = {}
    for name, tensor in list(network.named_parameters(remove_duplicate=False)):
        if type(tensor) is not nn.Parameter:
            place(network, name, made.setdefault(id(tensor), _as_parameter(tensor)))


def _as_parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)


def _loaded(content: bytes, device: torch.device) -> torch.jit.ScriptModule:
    with _undeprecated():
        try:
            return torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-any-return,no-untyped-call]  # torch has no types here
        except Exception as error:  # C++ raises what it likes
            raise ParameterError(f"the TorchScript program cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


_saving = threading.Lock()


@contextmanager
def _without_values(network: torch.jit.ScriptModule) -> Iterator[None]:
    """A network whose weights have their shapes and no values: each is one element, seen as many."""
    held = {id(tensor): tensor for tensor in network.state_dict(keep_vars=True).values() if isinstance(tensor, Tensor)}
    with _saving:
        values = [(tensor, tensor.data) for tensor in held.values()]
        try:
            for tensor, value in values:
                tensor.data = torch.zeros((), dtype=value.dtype, device=value.device).expand(value.shape)
            yield
        finally:
            for tensor, value in values:
                tensor.data = value


@contextmanager
def _undeprecated() -> Iterator[None]:
    """No warning that TorchScript is deprecated: its user has a published program, and no choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        yield


def follows_mode(network: torch.jit.ScriptModule) -> bool:
    """Whether the code asks if it trains, as scripted code does where it matters."""
    return any(node.s("name") == "training" for node in _nodes(network) if node.kind() == "prim::GetAttr")


def constants_bytes(content: memoryview) -> int:
    """The size of the tensors inside the program that are no weights, as a frozen network's."""
    return sum(len(value) for name, value in entries(content, inflated=True).items() if name.startswith("constants/"))


def fixed_dtype(network: torch.jit.ScriptModule) -> str:
    """The first node that makes values of a floating dtype that it names; "" where there is none."""
    weights = {id(tensor) for tensor in tensors_of(network).values()}
    for node in _nodes(network):
        if node.kind() == "prim::GetAttr":
            value = _attribute(network, node)
            if isinstance(value, Tensor) and value.is_floating_point() and id(value) not in weights:
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
    yield from _in_blocks(graph)


def _in_blocks(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _in_blocks(inner)
