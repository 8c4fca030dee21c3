"""A program as a graph of PyTorch's fx.

A network runs by the source that `zoo_pytorch.aten.code` writes from its program. Making a node for each operator and each
tensor takes as long as all the rest of building a network, so they are made when somebody looks at the graph: to print, change
or copy it.
"""

from __future__ import annotations

import threading
from typing import Any

from torch import fx
from torch.fx.graph import CodeGen, PythonCode

from zoo_pytorch.aten.calls import count_batch, expect_shape, expect_value, only_in_training
from zoo_pytorch.aten.code import owner_of_device, write_code
from zoo_pytorch.aten.operators import find_operator
from zoo_pytorch.aten.program import Fixed, Node, Own, Program, Ref, State, TensorType, Training, TrainingOnly
from zoo_pytorch.aten.recurrent import CHECKED

_making = threading.RLock()


class ProgramGraph(fx.Graph):
    """The graph of a program, whose nodes wait until somebody looks for them; from then on it is like any other."""

    def __init__(self, program: Program) -> None:
        # Not fx's own constructor: what that sets is what one who looks for nodes misses. These are what a graph module asks
        # for before it asks for source.
        self._program = program
        self._codegen = CodeGen()
        self._co_fields: dict[str, Any] = {}
        self._owning_module = None

    def python_code(self, root_module: str, **options: Any) -> PythonCode:
        """The source of the graph and the globals that it uses: written from the program until somebody has seen the nodes."""
        if "_root" in vars(self) or any(value not in (False, None) for value in options.values()):
            return super().python_code(root_module, **options)
        return write_code(self._program)

    def __getattr__(self, name: str) -> Any:
        # Python comes here for what is not there. Without a program this is being copied.
        if name.startswith("__") or "_program" not in vars(self) or "_root" in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _making:
            if "_root" not in vars(self):
                self._take(_Builder(self._program).graph())
        return getattr(self, name)

    def _take(self, made: fx.Graph) -> None:
        # A node that changes its graph looks for itself in the new one, so what that has comes first.
        vars(self).update({**vars(made), "_owning_module": self._owning_module})
        for node in (vars(made)["_root"], *made.nodes):
            node.graph = self


class _Builder:
    """A program on its way to the nodes of a graph."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._graph = fx.Graph()
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
        if self._device is None:
            owner = owner_of_device(self._program)
            anchor = self._values[owner.name] if isinstance(owner, Ref) else self._state(owner.path)
            self._device = self._graph.call_function(getattr, (anchor, "device"))
        return self._device
