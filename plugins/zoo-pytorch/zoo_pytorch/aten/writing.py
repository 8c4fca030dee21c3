"""An exported program of PyTorch as a program of ours."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from zoo_core import ParameterError, printable
from zoo_pytorch.aten import names
from zoo_pytorch.aten.document import read_document, write_document
from zoo_pytorch.aten.memory import argument_of, without_unused
from zoo_pytorch.aten.operators import BATCH_NORM, TRAINING_FLAGS, TRAINING_PROBABILITIES, find_operator, name_of
from zoo_pytorch.aten.program import (
    DEVICE,
    TRAINING,
    Constant,
    Fixed,
    Node,
    Program,
    Ref,
    State,
    TensorType,
    TrainingOnly,
    dtype_name,
)


class NotExpressible(Exception):  # noqa: N818  # no fault: the caller keeps the program in another form
    """An exported program has what a `torch.aten` program cannot say.

    Attributes:
        reason: With the node and the operator, where it is one.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"torch.aten cannot express this program: {reason}")
        self.reason = reason


def write_program(exported: ExportedProgram) -> bytes:
    """An exported program as compact JSON, without weights; equal programs give equal bytes.

    Constants and non-persistent buffers are inside. Checks that the export inserted are left out, except that inputs keep
    their fixed sizes. Batch norm and dropout follow the network's mode afterwards, in whichever mode it was exported.

    Raises:
        NotExpressible: An operator is not on the list, a graph holds control flow, inputs are mutated, and the like.
    """
    content = write_document(without_unused(_Writer(exported).program(), keeps_effects=True))
    try:
        read_document(content)
    except ParameterError as error:
        raise NotExpressible(str(error)) from error
    return content


#: Nodes that only check, or tell the tracer something.
_CHECKS = frozenset(
    {
        *("aten::_assert_async", "aten::_assert_async.msg", "aten::_assert_scalar", "aten::_assert_tensor_metadata"),
        *("aten::sym_constrain_range", "aten::sym_constrain_range_for_size"),
    }
)
#: Uninitialised tensors as zeros: any value will do, and none should come from elsewhere in memory.
_ZEROS = {
    "aten::empty.memory_format": "aten::zeros",
    "aten::empty_like": "aten::zeros_like",
    "aten::new_empty": "aten::new_zeros",
}
_NO_TRAINING = "aten::_native_batch_norm_legit_no_training"
_LEGIT = "aten::_native_batch_norm_legit"
_FUNCTIONAL = "aten::_native_batch_norm_legit_functional"


class _Writer:
    """An exported program on its way to a program."""

    def __init__(self, exported: ExportedProgram) -> None:
        self._exported = exported
        self._signature = exported.graph_signature
        #: What the nodes of the exported graph are in the program.
        self._values: dict[fx.Node, Ref | State] = {}
        self._taken: set[str] = set()
        self._inputs: dict[str, TensorType | Fixed] = {}
        self._parameters: dict[str, TensorType] = {}
        self._frozen: set[str] = set()
        self._buffers: dict[str, TensorType] = {}
        self._tied: dict[str, str] = {}
        self._constants: dict[str, Constant] = {}
        #: The path in the program of every parameter and buffer, by what tells one from another.
        self._known: dict[object, str] = {}
        self._devices: set[torch.device] = set()
        #: Batch norms of a decomposed graph, which give several results.
        self._decomposed: set[fx.Node] = set()
        #: Names of nodes that PyTorch's own layers called.
        self._of_modules: set[str] = set()
        self._graph_nodes = list(exported.graph.nodes)

    def program(self) -> Program:
        self._register_state()
        self._place_inputs()
        nodes = [written for node in self._graph_nodes if node.op == "call_function" for written in self._node(node)]
        output, mutations = self._output()
        nodes += mutations
        if len({device.type for device in self._devices}) > 1:
            raise NotExpressible(f"it makes tensors on several devices: {', '.join(sorted(map(str, self._devices)))}")
        return Program(
            inputs=self._inputs,
            parameters=self._parameters,
            frozen=frozenset(self._frozen),
            buffers=self._buffers,
            tied=self._tied,
            constants=self._constants,
            nodes=_counting(_following_mode(nodes, self._of_modules), self._buffers),
            output=output,
        )

    # Inputs and state

    def _place_inputs(self) -> None:
        placeholders = [node for node in self._graph_nodes if node.op == "placeholder"]
        specs = list(zip(placeholders, self._signature.input_specs, strict=True))
        user_inputs = [node for node, spec in specs if spec.kind == InputKind.USER_INPUT]
        input_names = dict(zip(user_inputs, self._input_names(user_inputs), strict=True))
        self._taken.update(input_names.values())
        for node, spec in specs:
            match spec.kind:
                case InputKind.USER_INPUT:
                    self._place_input(node, spec.arg, input_names[node])
                case InputKind.PARAMETER:
                    self._place_state(node, str(spec.target))
                case InputKind.BUFFER if spec.persistent:
                    self._place_state(node, str(spec.target))
                case InputKind.BUFFER | InputKind.CONSTANT_TENSOR:
                    self._place_constant(node, str(spec.target), is_buffer=spec.kind == InputKind.BUFFER)
                case _:
                    raise NotExpressible(f"input {node.name} is of the kind {spec.kind.name}")

    def _input_names(self, user_inputs: list[fx.Node]) -> list[str]:
        """The names of forward's arguments."""
        spec = self._exported.call_spec.in_spec
        if spec is None or spec.type is not tuple or len(spec.children()) != 2 or spec.num_leaves != len(user_inputs):
            raise NotExpressible("its inputs are not those of a forward function")
        positional, keywords = spec.children()
        if any(not child.is_leaf() for group in (positional, keywords) for child in group.children()):
            raise NotExpressible("an input is a list, mapping or object; tensors alone can be inputs")
        signature = self._exported.module_call_graph[0].signature
        found = list(signature.forward_arg_names or []) if signature else []
        if len(found) != len(user_inputs):
            found = [str(node.target) for node in user_inputs[: len(positional.children())]] + [
                str(key) for key in keywords.context
            ]
        for name in found:
            if not names.is_input_name(name):
                raise NotExpressible(f"an input is named {name!r}, which the generated code has for itself")
        return found

    def _place_input(self, node: fx.Node, argument: object, name: str) -> None:
        if isinstance(argument, ConstantArgument):
            if not isinstance(argument.value, bool | int | float | str | None):
                raise NotExpressible(f"input {name} is {type(argument.value).__name__}")
            self._inputs[name] = Fixed(argument.value)
        elif isinstance(argument, TensorArgument):
            value = node.meta["val"]
            self._inputs[name] = _tensor_type(f"input {name}", value)
            self._devices.add(value.device)
        else:
            raise NotExpressible(f"input {name} is a number that may change; tensors alone can be inputs")
        self._values[node] = Ref(name)

    def _register_state(self) -> None:
        """All of the module's parameters and buffers in its own order; an export may name those only that it uses."""
        for path, value in self._exported.state_dict.items():
            identity = _identity(value)
            if identity in self._known:
                self._tied[path] = self._known[identity]
                continue
            self._known[identity] = path
            self._devices.add(value.device)
            types = self._parameters if isinstance(value, nn.Parameter) else self._buffers
            types[path] = _tensor_type(path, value)
            if isinstance(value, nn.Parameter) and not value.requires_grad:
                self._frozen.add(path)

    def _place_state(self, node: fx.Node, path: str) -> None:
        if path not in self._exported.state_dict:
            raise NotExpressible(f"{path} has no value in the exported program")
        self._values[node] = State(self._known[_identity(self._exported.state_dict[path])])

    def _place_constant(self, node: fx.Node, path: str, *, is_buffer: bool) -> None:
        value = self._exported.constants[path]
        if not isinstance(value, Tensor) or value.is_meta:
            raise NotExpressible(f"constant {path} is no tensor with values")
        kind = _tensor_type(path, value)
        plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        self._constants[path] = Constant(type=kind, data=data, is_buffer=is_buffer)
        self._values[node] = State(path)

    # Nodes

    def _node(self, node: fx.Node) -> list[Node]:
        name = _schema_name(node)
        if name in _CHECKS:
            return []
        if name in (_NO_TRAINING, _LEGIT, _FUNCTIONAL):
            return [self._batch_norm(node, name)]
        if node.target is operator.getitem and node.args[0] in self._decomposed:
            return self._result_of_batch_norm(node)
        allowed = _ZEROS.get(name) or name_of(node.target)
        if allowed is None:
            raise NotExpressible(f"node {node.name} calls {_described(node)}, which is not on the list of operators")
        arguments = [self._argument(node, value) for value in node.args]
        named = {key: self._argument(node, value) for key, value in node.kwargs.items() if not _is_default(key, value)}
        if name in _ZEROS and named.pop("memory_format", torch.contiguous_format) not in (
            torch.contiguous_format,
            torch.preserve_format,
        ):
            raise NotExpressible(f"node {node.name} ({name}) makes a tensor of a special memory format")
        return [self._named(node, allowed, tuple(_with_cudnn(allowed, arguments)), named)]

    def _batch_norm(self, node: fx.Node, name: str) -> Node:
        """A batch norm of a decomposed graph as the one it came from, which updates its running statistics itself."""
        values = [self._argument(node, value) for value in node.args]
        if name == _NO_TRAINING:
            values.insert(5, False)
        if len(values) != 8:
            self._refuse(node, "has other arguments than exports write")
        self._decomposed.add(node)
        return self._named(node, BATCH_NORM, (*values, True), {})

    def _result_of_batch_norm(self, node: fx.Node) -> list[Node]:
        """Its first result is the tensor; the new running statistics, 3 and 4, are outputs that nothing else uses."""
        source, number = node.args
        if number == 0 and isinstance(source, fx.Node):
            self._values[node] = self._values[source]
        elif node.users and (number not in (3, 4) or any(user.op != "output" for user in node.users)):
            self._refuse(node, "uses the statistics of a batch norm")
        return []

    def _named(self, node: fx.Node, operator_name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Node:
        name = self._unique(node.name)
        self._values[node] = Ref(name)
        stack = list(node.meta.get("nn_module_stack", {}).values())
        if stack and str(stack[-1][1]).startswith("torch.nn.modules."):
            self._of_modules.add(name)
        return Node(name=name, operator=operator_name, arguments=arguments, named=named)

    def _unique(self, wanted: str) -> str:
        base = wanted if names.is_node_name(wanted) else f"node_{wanted}"
        name, number = base, 0
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    def _argument(self, node: fx.Node, value: Any) -> Any:
        match value:
            case fx.Node():
                return self._values.get(value) or self._refuse(node, f"uses {value.name}, which a program cannot hold")
            case None | bool() | int() | str() | float() | complex():
                return value
            case list() | tuple():
                return [self._argument(node, item) for item in value]
            case torch.device():
                self._devices.add(value)
                return DEVICE
            case torch.dtype() | torch.layout() | torch.memory_format() if dtype_name(value):
                return value
        return self._refuse(node, f"has an argument that cannot be written: {printable(str(value))[:80]}")

    def _refuse(self, node: fx.Node, reason: str) -> NoReturn:
        raise NotExpressible(f"node {node.name} ({_described(node)}) {reason}")

    # Output

    def _output(self) -> tuple[Any, list[Node]]:
        """The output in the shape that forward gives it, and nodes that write what a functional graph gives for buffers."""
        (values,) = self._graph_nodes[-1].args
        if not isinstance(values, list | tuple):
            raise NotExpressible("its output is no list")
        leaves, mutations = [], []
        for value, spec in zip(values, self._signature.output_specs, strict=True):
            match spec.kind:
                case OutputKind.USER_OUTPUT:
                    leaves.append(self._argument(self._graph_nodes[-1], value))
                case OutputKind.BUFFER_MUTATION:
                    mutations += self._mutation(value, str(spec.target))
                case _:
                    raise NotExpressible(f"output {spec.arg} is of the kind {spec.kind.name}")
        return _unflatten(self._exported.call_spec.out_spec, iter(leaves).__next__), mutations

    def _mutation(self, value: Any, path: str) -> list[Node]:
        if (
            isinstance(value, fx.Node)
            and value.target is operator.getitem
            and value.args[0] in self._decomposed
            and value.args[1] in (3, 4)
        ):
            return []
        if path in self._constants:
            raise NotExpressible(f"it writes to {path}, which is no persistent buffer")
        name = self._unique(f"update_{path.replace('.', '_').replace('-', '_')}")
        buffer = State(self._tied.get(path, path))
        return [Node(name=name, operator="aten::copy_", arguments=(buffer, self._argument(self._graph_nodes[-1], value)))]


def _with_cudnn(operator_name: str, arguments: list[Any]) -> list[Any]:
    """Arguments that allow cuDNN where there is one: a module asks at each call, and an export keeps what its machine had."""
    found = find_operator(operator_name)
    parameters = found.by_position if found else ()
    return [
        True if parameter.name in ("cudnn_enabled", "cudnn_enable") else value
        for parameter, value in zip(parameters, arguments, strict=False)
    ] or arguments


def _schema_name(node: fx.Node) -> str:
    """``aten::name.overload`` of an operator; empty for anything else."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return ""
    overload = node.target._overloadname
    return node.target._schema.name + (f".{overload}" if overload != "default" else "")


def _described(node: fx.Node) -> str:
    return _schema_name(node) or printable(str(getattr(node.target, "__name__", node.target)))[:80]


def _is_default(key: str, value: Any) -> bool:
    """Whether a keyword says what would hold without it."""
    return value is None or (key == "pin_memory" and value is False) or (key == "layout" and value is torch.strided)


def _identity(value: Tensor) -> object:
    """What two names of one tied tensor have in common: the object, or its memory, once it was saved and loaded."""
    pointer = 0 if value.is_meta else value.data_ptr()
    return (pointer, value.dtype, value.shape, value.stride()) if pointer else id(value)


def _tensor_type(what: str, value: Tensor) -> TensorType:
    if not dtype_name(value.dtype) or value.layout != torch.strided:
        raise NotExpressible(f"{what} is a tensor of {value.dtype}, {value.layout}")
    return TensorType(value.dtype, tuple(size if type(size) is int else None for size in value.shape))


def _unflatten(spec: pytree.TreeSpec | None, leaf: Callable[[], Any]) -> Any:
    """Values in the nesting of an output; of the types that a program has."""
    if spec is None:
        raise NotExpressible("its output has no structure")
    if spec.is_leaf():
        return leaf()
    children = [_unflatten(child, leaf) for child in spec.children()]
    if spec.type is tuple:
        return tuple(children)
    if spec.type is list:
        return children
    if spec.type is dict and all(isinstance(key, str) for key in spec.context):
        return dict(zip(spec.context, children, strict=True))
    raise NotExpressible(
        f"an output is {getattr(spec.type, '__name__', spec.type)}; tuples, lists and dict of text are possible"
    )


# The mode


def _counting(nodes: tuple[Node, ...], buffers: Mapping[str, TensorType]) -> tuple[Node, ...]:
    """Batch norms that follow the mode, with the counter beside their running mean; without the nodes that counted so far."""
    counters = {number: _counter(node, buffers) for number, node in enumerate(nodes)}
    counted = {path for path in counters.values() if path is not None}
    # Exported for training, the counter is a buffer that one is added to, in place or as a new value that is copied to it.
    added = {node.name for node in nodes if node.operator == "aten::add.Tensor" and _is_count(node, counted)}
    kept = []
    for number, node in enumerate(nodes):
        counts = node.operator == "aten::add_.Tensor" and _is_count(node, counted)
        copies = node.operator == "aten::copy_" and isinstance(node.arguments[1], Ref) and node.arguments[1].name in added
        if not (counts or copies):
            path = counters[number]
            kept.append(node if path is None else replace(node, counter=path))
    return tuple(kept)


def _counter(node: Node, buffers: Mapping[str, TensorType]) -> str | None:
    if node.operator != BATCH_NORM or TRAINING not in node.arguments or not isinstance(node.arguments[3], State):
        return None
    prefix, _, name = node.arguments[3].path.rpartition(".")
    path = f"{prefix}.num_batches_tracked" if prefix else "num_batches_tracked"
    return path if name == "running_mean" and path in buffers else None


def _is_count(node: Node, counters: set[str]) -> bool:
    target, amount = node.arguments[:2]
    return isinstance(target, State) and target.path in counters and amount == 1


def _following_mode(nodes: list[Node], of_modules: set[str]) -> tuple[Node, ...]:
    """Nodes whose training flags follow the network's mode instead of the mode at export.

    A flag that disagrees with the mode at export was set by the author on purpose, a frozen batch norm or a dropout that is
    always on, and stays. An exported program does not say its mode: it was training if PyTorch's own layers, which have one,
    trained; where none has a flag, if any function call did.

    Args:
        nodes: Of the program.
        of_modules: The names of those that PyTorch's own layers called, and not a function in the author's code.
    """
    flags = [(node, _flag(node)) for node in nodes]
    by_layers = {flag for node, flag in flags if flag is not None and node.name in of_modules}
    trains = any(by_layers) if by_layers else any(flag or _probability(node) for node, flag in flags)
    return tuple(_with_mode(node) if flag == trains or (trains and _probability(node)) else node for node, flag in flags)


def _flag(node: Node) -> bool | None:
    """A node's training flag; None where it has none, or must not change it: a norm without running statistics."""
    found = find_operator(node.operator)
    key = TRAINING_FLAGS.get(node.operator)
    if found is None or key is None:
        return None
    has_statistics = any(parameter.name == "running_mean" for parameter in found.parameters)
    if has_statistics and not isinstance(argument_of(node, found, "running_mean"), State):
        return None
    flag = argument_of(node, found, key)
    return flag if isinstance(flag, bool) else None


def _probability(node: Node) -> float:
    """The probability of a dropout that has no flag."""
    found = find_operator(node.operator)
    key = TRAINING_PROBABILITIES.get(node.operator)
    probability = argument_of(node, found, key) if found and key else None
    return probability if isinstance(probability, float) and not math.isnan(probability) else 0.0


def _with_mode(node: Node) -> Node:
    found = find_operator(node.operator)
    key = TRAINING_FLAGS.get(node.operator) or TRAINING_PROBABILITIES[node.operator]
    value = TRAINING if node.operator in TRAINING_FLAGS else TrainingOnly(_probability(node))
    assert found is not None  # noqa: S101  # it has a flag, so it is on the list
    position = next(number for number, parameter in enumerate(found.parameters) if parameter.name == key)
    if position < len(node.arguments):
        arguments = (*node.arguments[:position], value, *node.arguments[position + 1 :])
        return replace(node, arguments=arguments)
    return replace(node, named={**node.named, key: value})
