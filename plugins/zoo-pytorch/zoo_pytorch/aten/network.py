"""A program as a module that runs: a graph module of PyTorch's fx."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn

from zoo_core import ParameterError
from zoo_pytorch.aten.graph import ProgramGraph
from zoo_pytorch.aten.program import Constant, Program, TensorType

#: Where a network keeps its `Facts`; fx copies `meta` with the module.
_FACTS = "zoo_pytorch.aten"
_META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a network beside its graph.

    Attributes:
        outputs: Names that the program can be cut at.
        fixed_dtypes: Nodes and constants that fix a floating point dtype, by name.
        unsaved: Paths of buffers that are in no state dictionary.
    """

    outputs: tuple[str, ...]
    fixed_dtypes: tuple[str, ...]
    unsaved: frozenset[str]


class AtenNetwork(fx.GraphModule):
    """The module of a program: parameters under their original names, forward as generated code.

    Its mode is read at each call, so that ``train()``, ``eval()`` and the flag alone all count.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> AtenNetwork:
        copied = super().__deepcopy__(memo)
        assert isinstance(copied, AtenNetwork)  # noqa: S101  # PyTorch's annotation says less
        # fx registers every buffer anew, as one to save.
        for path in facts_of(self).unsaved:
            module, name = _at(copied, path)
            module.register_buffer(name, getattr(module, name), persistent=False)
        return copied

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a network of a program is not pickled: keep the program's bytes and the weights, as a SymbolBlock does"
        )

    def check_conversion(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Refuse what would convert tensors where the graph fixes a dtype.

        Raises:
            ParameterError: It would; the message names the nodes.
        """
        fixed = facts_of(self).fixed_dtypes
        if fixed:
            for dtype in {value.dtype for value in (*self.parameters(), *self.buffers()) if value.is_floating_point()}:
                found = fn(torch.empty(0, dtype=dtype)).dtype
                if found != dtype:
                    raise ParameterError(
                        f"the program cannot be converted from {dtype} to {found}: {_listed(fixed)} fixed its dtype when it "
                        "was exported; convert the original module and export it again"
                    )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AtenNetwork:
        """Move or convert all tensors; a conversion is refused, before it begins, where the graph fixes a dtype."""
        self.check_conversion(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # PyTorch's is untyped
        return self


def facts_of(network: AtenNetwork) -> Facts:
    """What is known of a network beside its graph."""
    facts: Facts = network.meta[_FACTS]
    return facts


def build_network(program: Program, outputs: tuple[str, ...]) -> AtenNetwork:
    """A module that computes a program; its parameters and saved buffers are on the meta device.

    Args:
        program: As the reader or writer gives it.
        outputs: Names to cut at, for `Facts`.
    """
    network = AtenNetwork(nn.Module(), fx.Graph())
    network.meta[_FACTS] = Facts(
        outputs=outputs,
        fixed_dtypes=fixed_dtypes(program),
        unsaved=frozenset(program.constants),
    )
    _register_state(network, program)
    network.graph = ProgramGraph(program)
    return network


def fixed_dtypes(program: Program) -> tuple[str, ...]:
    """What in a program names a floating point dtype, so that the network computes right in the exported dtype only."""
    nodes = [node.name for node in program.nodes if any(map(_is_floating, (*node.arguments, *node.named.values())))]
    # A tensor without axes takes the dtype of what it meets.
    constants = [
        path
        for path, constant in program.constants.items()
        if not constant.is_buffer and constant.type.shape and _is_floating(constant.type.dtype)
    ]
    return (*nodes, *constants)


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.dtype) and (value.is_floating_point or value.is_complex)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


# State


def _register_state(network: nn.Module, program: Program) -> None:
    modules = {"": network}
    for path, kind in program.parameters.items():
        module, name = _place(modules, path)
        module.register_parameter(name, nn.Parameter(_meta(kind), requires_grad=path not in program.frozen))
    for path, kind in program.buffers.items():
        module, name = _place(modules, path)
        module.register_buffer(name, _meta(kind))
    for path, constant in program.constants.items():
        module, name = _place(modules, path)
        module.register_buffer(name, _values(constant), persistent=False)
    for path, original in program.tied.items():
        module, name = _place(modules, path)
        source, source_name = _at(network, original)
        value = getattr(source, source_name)
        if isinstance(value, nn.Parameter):
            module.register_parameter(name, value)
        else:
            module.register_buffer(name, value)


def _place(modules: dict[str, nn.Module], path: str) -> tuple[nn.Module, str]:
    """The module that a path's tensor belongs to, and the tensor's name in it.

    Args:
        modules: Those that are there, by path; what is made is added.
        path: Of the tensor.
    """
    prefix, _, name = path.rpartition(".")
    if prefix not in modules:
        parent, segment = _place(modules, prefix)
        modules[prefix] = nn.Module()
        parent.add_module(segment, modules[prefix])
    return modules[prefix], name


def _at(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    prefix, _, name = path.rpartition(".")
    return network.get_submodule(prefix), name


def _meta(kind: TensorType) -> Tensor:
    return torch.empty([size or 0 for size in kind.shape], dtype=kind.dtype, device=_META)


def _values(constant: Constant) -> Tensor:
    shape = [size or 0 for size in constant.type.shape]
    if not constant.data:
        return torch.empty(shape, dtype=constant.type.dtype)
    return torch.frombuffer(bytearray(constant.data), dtype=constant.type.dtype).reshape(shape)
