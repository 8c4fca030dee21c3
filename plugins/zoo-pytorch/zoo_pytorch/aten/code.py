"""The Python source of a program, as short as it can be, since compiling it takes a good part of loading a network.

Tensors of the network are read where they are used, modules once a call, and operators are called by one global name each.
Names and texts from a file reach this source as identifiers that `zoo_pytorch.aten.names` allows, or as Python writes them with
``repr``. Names of our own begin with two underscores, as none of a file does.
"""

from __future__ import annotations

import math
import re
from functools import reduce
from typing import Any

from torch.fx.graph import PythonCode

from zoo_core import ParameterError
from zoo_pytorch.aten.calls import count_batch, expect_shape, expect_value
from zoo_pytorch.aten.operators import GETITEM, find_operator
from zoo_pytorch.aten.program import Fixed, Node, Own, Program, Ref, State, TensorType, Training, TrainingOnly, references
from zoo_pytorch.aten.recurrent import CHECKED

_NETWORK, _TRAINING, _DEVICE = "__network", "__training", "__device"
_NO_IDENTIFIER = re.compile(r"\W")
_SIGNS = {
    "operator.add": "+",
    "operator.sub": "-",
    "operator.mul": "*",
    "operator.floordiv": "//",
    "operator.truediv": "/",
    "operator.mod": "%",
    "operator.pow": "**",
    "operator.and_": "&",
    "operator.or_": "|",
    "operator.eq": "==",
    "operator.ne": "!=",
    "operator.lt": "<",
    "operator.le": "<=",
    "operator.gt": ">",
    "operator.ge": ">=",
}


def write_code(program: Program) -> PythonCode:
    """The source of a function ``forward`` that computes a program, given the network and its inputs.

    Raises:
        ParameterError: It makes tensors on the network's device, and there is none.
    """
    source = _Source(program)
    return PythonCode(source.text(), source.globals, None)


def owner_of_device(program: Program) -> Ref | State:
    """The tensor whose device is the network's own: the first that it owns, else its first input.

    Raises:
        ParameterError: It has no tensor.
    """
    owned = next(iter((*program.parameters, *program.buffers, *program.constants)), None)
    if owned is not None:
        return State(owned)
    given = next((name for name, kind in program.inputs.items() if isinstance(kind, TensorType)), None)
    if given is None:
        raise ParameterError("torch.aten program: it makes tensors on a device, and has no tensor that is on one")
    return Ref(given)


class _Source:
    """The statements of a function, and the globals that they use."""

    def __init__(self, program: Program) -> None:
        self._program = program
        #: Each statement: the name of what it computes, its text, the names of what it uses.
        self._statements: list[tuple[str, str, list[str]]] = []
        #: What the statement that is being written uses, and what comes before it.
        self._used: list[str] = []
        self._before: list[str] = []
        self._modules: dict[str, str] = {"": _NETWORK}
        #: What comes before all statements: an input is forgotten after its last use, which need not be this one.
        self._first: dict[str, str] = {}
        self._names: dict[Any, str] = {}
        self.globals: dict[str, Any] = {"__getattr": getattr}

    def text(self) -> str:
        self._check_inputs()
        self._count_batches()
        for node in self._program.nodes:
            self._add(node.name, self._call(node))
        result = self._written(self._program.output)
        body = self._freed({value.name for value in references(self._program.output) if isinstance(value, Ref)})
        head = f"def forward({', '.join([_NETWORK, *self._parameters()])}):"
        first = [f"{name} = {value}" for name, value in self._first.items()]
        return "\n    ".join([head, *first, *body, *self._before, f"return {result}"]) + "\n"

    def _parameters(self) -> list[str]:
        inputs = list(self._program.inputs.items())
        last = max((number for number, (_, kind) in enumerate(inputs) if isinstance(kind, TensorType)), default=-1)
        # Python has defaults for the last parameters only.
        return [
            f"{name}={self._written(kind.value)}" if isinstance(kind, Fixed) and number > last else name
            for number, (name, kind) in enumerate(inputs)
        ]

    def _check_inputs(self) -> None:
        for name, kind in self._program.inputs.items():
            if isinstance(kind, Fixed):
                check = f"{self._global('expect_value', expect_value)}({name}, {name!r}, {self._written(kind.value)})"
            else:
                check = f"{self._global('expect_shape', expect_shape)}({name}, {name!r}, {self._written(kind.shape)})"
            self._used.append(name)
            self._add("", check)

    def _count_batches(self) -> None:
        counters = [self._path(node.counter) for node in self._program.nodes if node.counter is not None]
        if counters:
            count = self._global("count_batch", count_batch)
            self._add("", f"if {self._mode()}: {count}(True, [{', '.join(counters)}])")

    def _add(self, name: str, call: str) -> None:
        self._statements += [("", before, []) for before in self._before]
        self._statements.append((name, call, self._used))
        self._before, self._used = [], []

    def _freed(self, kept: set[str]) -> list[str]:
        """The statements; each forgets what no later one uses, so that memory is free as early as it can be."""
        lines = []
        for name, text, used in reversed(self._statements):
            last = [each for each in dict.fromkeys(used) if each not in kept]
            line = f"{name} = {text}" if name in kept else text
            lines.append(f"{line}; del {', '.join(last)}" if last else line)
            kept.update(last)
        return lines[::-1]

    def _call(self, node: Node) -> str:
        arguments = [self._written(value) for value in node.arguments]
        if node.operator == GETITEM:
            return f"{arguments[0]}[{arguments[1]}]"
        if node.operator in _SIGNS:
            return f"{arguments[0]} {_SIGNS[node.operator]} {arguments[1]}"
        operator = find_operator(node.operator)
        assert operator is not None  # noqa: S101  # a program names operators of the list only
        function = self._global(node.operator, CHECKED.get(node.operator, operator.target))
        arguments += [f"{name}={self._written(value)}" for name, value in node.named.items()]
        return f"{function}({', '.join(arguments)})"

    def _global(self, key: str, value: Any) -> str:
        """The name of a global that holds a value."""
        if key not in self._names:
            name = f"__{_NO_IDENTIFIER.sub('_', key)}"
            while name in self.globals:
                name += "_"
            self._names[key], self.globals[name] = name, value
        return self._names[key]

    def _written(self, value: Any) -> str:
        """A value as an expression."""
        match value:
            case Ref(name):
                self._used.append(name)
                return name
            case State(path):
                return self._path(path)
            case Training():
                return self._mode()
            case TrainingOnly(probability):
                return f"({self._written(probability)} if {self._mode()} else 0.0)"
            case Own():
                return self._own_device()
        return self._literal(value)

    def _literal(self, value: Any) -> str:
        match value:
            case None | bool() | str():
                return repr(value)
            case int() | float() if math.isfinite(value):
                # The sign of a number would come after `**`.
                return f"({value!r})" if value < 0 else repr(value)
            case list():
                return f"[{', '.join(map(self._written, value))}]"
            case tuple():
                return f"({''.join(f'{self._written(item)}, ' for item in value)})"
            case dict():
                return f"{{{', '.join(f'{key!r}: {self._written(item)}' for key, item in value.items())}}}"
        # dtypes and the like, and numbers that Python has no literals for.
        return self._global(f"value {value!r}", value)

    def _path(self, path: str) -> str:
        prefix, _, name = path.rpartition(".")
        return _attribute(self._module(prefix), name)

    def _module(self, path: str) -> str:
        """The variable that holds a module, which a statement before this one assigns."""
        if path not in self._modules:
            found = self._path(path)
            self._modules[path] = f"__m{len(self._modules)}"
            self._before.append(f"{self._modules[path]} = {found}")
        return self._modules[path]

    def _mode(self) -> str:
        """The variable that holds whether the network trains; read once, so that a call has one mode."""
        self._first[_TRAINING] = f"{_NETWORK}.training"
        return _TRAINING

    def _own_device(self) -> str:
        if _DEVICE not in self._first:
            owner = owner_of_device(self._program)
            self._first[_DEVICE] = f"{owner.name if isinstance(owner, Ref) else _whole(owner.path)}.device"
        return _DEVICE


def _whole(path: str) -> str:
    """An expression for a tensor of the network that needs no variable of a module."""
    return reduce(_attribute, path.split("."), _NETWORK)


def _attribute(source: str, name: str) -> str:
    return f"{source}.{name}" if name.isidentifier() else f'__getattr({source}, "{name}")'
