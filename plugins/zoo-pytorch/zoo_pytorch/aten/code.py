"""The Python source of a graph, shorter than what fx writes by itself, so that it compiles in half the time.

Tensors of the network are read where they are used and operators are called by one global name each. Names and texts from a
file reach this source as identifiers that `zoo_pytorch.aten.names` allows, or as Python writes them with ``repr``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.graph import CodeGen, PythonCode

#: Globals begin so; names of nodes and inputs never do.
_GLOBAL = "__"
_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "floordiv": "//",
    "truediv": "/",
    "mod": "%",
    "pow": "**",
    "and_": "&",
    "or_": "|",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}


class CompactCode(CodeGen):
    """What writes the source of a network's graph; fx's own way serves graphs that a user has changed, and listings."""

    def _gen_python_code(  # its options differ from version to version
        self, nodes: Iterable[fx.Node], root_module: str, namespace: Any, **options: Any
    ) -> PythonCode:
        found = _compact(list(nodes), root_module, options)
        if found is None:
            return super()._gen_python_code(nodes, root_module, namespace, **options)  # type: ignore[arg-type]  # the same
        return found


class CompactGraph(fx.Graph):
    """A graph with that source; what prepares every node for fx's own way of writing, which takes as long, is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.set_codegen(CompactCode())

    def python_code(self, root_module: str, **options: Any) -> PythonCode:
        """The source of the graph, and the globals that it uses."""
        return _compact(list(self.nodes), root_module, options) or super().python_code(root_module, **options)


def _compact(nodes: Sequence[fx.Node], root: str, options: Mapping[str, Any]) -> PythonCode | None:
    """The short source; None where it cannot be written, or another one is asked for."""
    if any(value not in (False, None) for value in options.values()) or not all(map(_is_known, nodes)):
        return None
    source = _Source(root, Counter(prefix for node in nodes for prefix in _modules(node)))
    for node in nodes:
        source.add(node)
    return PythonCode(source.text(_last_uses(nodes)), source.globals, None)


def _is_known(node: fx.Node) -> bool:
    if node.name.startswith(_GLOBAL):
        return False
    return node.op in ("call_function", "get_attr", "output") or (node.op == "placeholder" and "*" not in str(node.target))


def _last_uses(nodes: Sequence[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """What each node is the last to use, so that memory is free as early as it can be."""
    seen: set[fx.Node] = set()
    freed: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(nodes):
        for used in node.all_input_nodes:
            if used not in seen and not _is_inlined(used):
                seen.add(used)
                freed.setdefault(node, []).append(used)
    return freed


def _is_inlined(node: fx.Node) -> bool:
    """Whether a node is written where it is used: a tensor of the network. The mode is read once, so that a call has one."""
    return node.op == "get_attr" and node.target != "training"


def _modules(node: fx.Node) -> list[str]:
    """The paths of the modules that a tensor of the network is in."""
    if not _is_inlined(node):
        return []
    path = str(node.target)
    return [path[:end] for end, char in enumerate(path) if char == "."]


class _Source:
    """The statements of a function, and the globals that they use.

    Args:
        root: The name of the network in the function.
        modules: How many tensors are below each module. Where there are several, the module gets a name.
    """

    def __init__(self, root: str, modules: Mapping[str, int]) -> None:
        self._root = root
        self._modules = modules
        self._named_modules: dict[str, str] = {}
        self._parameters: list[str] = []
        self._statements: list[tuple[fx.Node, str]] = []
        #: What comes before the statement that is being written.
        self._assignments: list[str] = []
        self._names: dict[Any, str] = {}
        self.globals: dict[str, Any] = {"torch": torch, "inf": math.inf, "nan": math.nan}

    def add(self, node: fx.Node) -> None:
        match node.op:
            case "placeholder":
                self._add_parameter(node)
            case "output":
                self._add_statement(node, f"return {self._written(node.args[0])}")
            case "get_attr" if not _is_inlined(node):
                self._add_statement(node, f"{node.name} = {self._path(str(node.target))}")
            case "call_function":
                call = self._call(node)
                self._add_statement(node, f"{node.name} = {call}" if node.users else call)

    def _add_statement(self, node: fx.Node, statement: str) -> None:
        self._statements.append((node, "; ".join([*self._assignments, statement])))
        self._assignments.clear()

    def text(self, freed: dict[fx.Node, list[fx.Node]]) -> str:
        lines = [f"def forward({', '.join([self._root, *self._parameters])}):"]
        for node, statement in self._statements:
            done = freed.get(node) if node.op != "output" else None
            lines.append(f"    {statement}; del {', '.join(used.name for used in done)}" if done else f"    {statement}")
        return "\n".join(lines) + "\n"

    def _add_parameter(self, node: fx.Node) -> None:
        default = f"={self._written(node.args[0])}" if node.args else ""
        self._parameters.append(f"{node.target}{default}")
        if node.target != node.name and node.users:  # a builtin's name, such as `input`
            self._add_statement(node, f"{node.name} = {node.target}; del {node.target}")

    def _call(self, node: fx.Node) -> str:
        target: Any = node.target
        if getattr(target, "__module__", "") == "_operator":
            arguments = [self._written(value) for value in node.args]
            if target.__name__ == "getitem":
                return f"{arguments[0]}[{arguments[1]}]"
            if target.__name__ in _OPERATORS:
                return f"{arguments[0]} {_OPERATORS[target.__name__]} {arguments[1]}"
        if target is getattr:
            return f"{self._written(node.args[0])}.{node.args[1]}"
        named = [f"{name}={self._written(value)}" for name, value in node.kwargs.items()]
        return f"{self._global(target)}({', '.join([*map(self._written, node.args), *named])})"

    def _global(self, target: Any) -> str:
        if target not in self._names:
            text = str(target) if isinstance(target, torch._ops.OpOverload) else target.__name__
            self._names[target] = f"{_GLOBAL}{text.replace('.', '_')}"
            if self._names[target] in self.globals:
                self._names[target] += f"_{len(self.globals)}"
            self.globals[self._names[target]] = target
        return self._names[target]

    def _written(self, value: Any) -> str:
        """A value as an expression."""
        match value:
            case fx.Node():
                return self._path(str(value.target)) if _is_inlined(value) else value.name
            case tuple():
                return f"({''.join(f'{self._written(item)}, ' for item in value)})"
            case list():  # fx keeps lists as a list type of its own
                return f"[{', '.join(map(self._written, value))}]"
            case dict():
                return f"{{{', '.join(f'{key!r}: {self._written(item)}' for key, item in value.items())}}}"
        return repr(value)

    def _path(self, path: str) -> str:
        prefix, _, name = path.rpartition(".")
        source = self._module(prefix) if prefix else self._root
        return f"{source}.{name}" if name.isidentifier() else f'getattr({source}, "{name}")'

    def _module(self, path: str) -> str:
        """An expression for a module: the name of a variable that a statement before assigns, where it is used again."""
        if path not in self._named_modules:
            found = self._path(path)
            if self._modules[path] > 1:
                variable = f"{_GLOBAL}m{len(self._named_modules)}"
                self._assignments.append(f"{variable} = {found}")
                found = variable
            self._named_modules[path] = found
        return self._named_modules[path]
