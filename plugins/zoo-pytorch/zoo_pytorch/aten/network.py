"""A program as a module that runs: a graph of PyTorch's fx, from which it generates Python code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn

from zoo_core import InputError, ParameterError
from zoo_pytorch.aten.code import CompactGraph
from zoo_pytorch.aten.operators import find_operator
from zoo_pytorch.aten.program import (
    Constant,
    Fixed,
    Node,
    Own,
    Program,
    Ref,
    State,
    TensorType,
    Training,
    TrainingOnly,
)
from zoo_pytorch.aten.recurrent import CHECKED

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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AtenNetwork:
        """Move or convert all tensors; a conversion is refused, before it begins, where the graph fixes a dtype."""
        fixed = facts_of(self).fixed_dtypes
        if fixed:
            for dtype in {value.dtype for value in (*self.parameters(), *self.buffers()) if value.is_floating_point()}:
                found = fn(torch.empty(0, dtype=dtype)).dtype
                if found != dtype:
                    raise ParameterError(
                        f"the program cannot be converted from {dtype} to {found}: {_listed(fixed)} fixed its dtype when it "
                        "was exported; convert the original module and export it again"
                    )
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
    network.graph = _Builder(program).graph()
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


# The graph


class _Builder:
    """A program on its way to a graph."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._graph = CompactGraph()
        self._values: dict[str, fx.Node] = {}
        self._states: dict[str, fx.Node] = {}
        self._training: fx.Node | None = None
        self._device: fx.Node | None = None

    def graph(self) -> fx.Graph:
        inputs = list(self._program.inputs.items())
        last = max((number for number, (_, kind) in enumerate(inputs) if isinstance(kind, TensorType)), default=-1)
        for number, (name, kind) in enumerate(inputs):
            # Python has defaults for the last parameters only.
            if isinstance(kind, Fixed) and number > last:
                self._values[name] = self._graph.placeholder(name, default_value=kind.value)
            else:
                self._values[name] = self._graph.placeholder(name)
        self._check_inputs()
        self._count_batches()
        for node in self._program.nodes:
            self._add(node)
        self._graph.output(self._value(self._program.output))
        return self._graph

    def _check_inputs(self) -> None:
        for name, kind in self._program.inputs.items():
            if isinstance(kind, Fixed):
                self._graph.call_function(expect_value, (self._values[name], name, kind.value))
            else:
                self._graph.call_function(expect_shape, (self._values[name], name, kind.shape))

    def _count_batches(self) -> None:
        counters = [self._state(node.counter) for node in self._program.nodes if node.counter is not None]
        if counters:
            self._graph.call_function(count_batch, (self._mode(), counters))

    def _add(self, node: Node) -> None:
        found = find_operator(node.operator)
        assert found is not None  # noqa: S101  # a program names operators of the list only
        arguments = tuple(self._value(value) for value in node.arguments)
        named = {name: self._value(value) for name, value in node.named.items()}
        target = CHECKED.get(node.operator, found.target)
        self._values[node.name] = self._graph.create_node("call_function", target, arguments, named, node.name)

    def _value(self, value: Any) -> Any:
        match value:
            case Ref(name):
                return self._values[name]
            case State(path):
                return self._state(path)
            case list():
                return [self._value(item) for item in value]
            case tuple():
                return tuple(self._value(item) for item in value)
            case dict():
                return {key: self._value(item) for key, item in value.items()}
            case Training():
                return self._mode()
            case TrainingOnly(probability):
                return self._graph.call_function(only_in_training, (probability, self._mode()))
            case Own():
                return self._own_device()
        return value

    def _state(self, path: str) -> fx.Node:
        if path not in self._states:
            self._states[path] = self._graph.create_node("get_attr", path, name=path.replace(".", "_"))
        return self._states[path]

    def _mode(self) -> fx.Node:
        if self._training is None:
            self._training = self._graph.get_attr("training")
        return self._training

    def _own_device(self) -> fx.Node:
        """The device of the first tensor that the network owns, or of its first input."""
        if self._device is None:
            program = self._program
            owned = next(iter((*program.parameters, *program.buffers, *program.constants)), None)
            inputs = [name for name, kind in program.inputs.items() if isinstance(kind, TensorType)]
            if owned is None and not inputs:
                raise ParameterError("torch.aten program: it makes tensors on a device, and has no tensor that is on one")
            anchor = self._values[inputs[0]] if owned is None else self._state(owned)
            self._device = self._graph.call_function(getattr, (anchor, "device"))
        return self._device


# What generated code calls beside operators; fx finds them as attributes of this module.


def count_batch(training: bool, counters: list[Tensor]) -> None:
    """Count a batch of every batch norm that trains, as `torch.nn.BatchNorm2d` does."""
    if training:
        for counter in counters:
            counter.add_(1)


def only_in_training(probability: float, training: bool) -> float:
    """A probability of dropout; zero in evaluation."""
    return probability if training else 0.0


def expect_shape(value: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    """Refuse an input of other sizes than those that the program was exported for: it might compute something else.

    Raises:
        InputError: With both shapes.
    """
    found = value.shape
    if len(found) == len(shape):
        for size, expected in zip(found, shape, strict=True):
            if expected is not None and size != expected:
                break
        else:
            return
    raise InputError(
        f"input {name!r} has the shape {list(found)}; the program was exported for "
        f"[{', '.join('*' if size is None else str(size) for size in shape)}]; "
        "export it with dynamic_shapes where other sizes are needed"
    )


def expect_value(value: object, name: str, expected: object) -> None:
    """Refuse another value of an input that is no tensor than the one that the program was exported for.

    Raises:
        InputError: With both values.
    """
    if type(value) is not type(expected) or value != expected:
        raise InputError(f"input {name!r} is {value!r}; the program was exported for {expected!r} and computes nothing else")
