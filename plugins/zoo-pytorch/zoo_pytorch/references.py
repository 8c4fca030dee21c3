"""Attributes of TorchScript that hold parameters a second time, as the list does from which a scripted LSTM takes its weights.

Such an attribute is no name of the tensors in a state dictionary: whoever puts another tensor under a parameter's name leaves
the old one in the list, and the code goes on to compute with it. So a program remembers which elements are which parameters,
and gives the attributes the present ones before it runs. No file needs to say it: TorchScript writes one object once, and
what it reads is one object again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from zoo_core import ParameterError, printable
from zoo_pytorch.weights import module_at, tensor_at, tensors_of

#: The indices and keys that lead to a tensor in nested lists, tuples and dictionaries.
Place: TypeAlias = tuple[Hashable, ...]

_OTHERWISE = "use torch.export.export or torch.jit.trace instead, which take each parameter by its name"
_CONTAINERS = frozenset({"ListType", "DictType"})
#: Operators that change their first input where it is a list or dictionary.
_CHANGING = frozenset(
    f"aten::{name}"
    for name in (
        *("_set_item", "append", "extend", "insert", "setdefault", "update", "add_", "mul_"),
        *("pop", "popitem", "remove", "clear", "Delete", "reverse", "sort"),
    )
)
#: Operators whose output is a part of their first input, or it.
_PART = frozenset({"aten::__getitem__", "aten::get", "prim::TupleIndex", "prim::unchecked_cast", "aten::_unwrap_optional"})
#: Classes of C++, such as packed weights, whose objects hold copies.
_FOREIGN = "__torch__.torch.classes."


@dataclass(frozen=True)
class Reference:
    """An attribute that holds tensors of its network.

    Attributes:
        module: The path of the module that it belongs to.
        name: Its name there.
        tensors: Each place in it, with the name of the parameter or buffer that is there.
    """

    module: str
    name: str
    tensors: Mapping[Place, str]

    def __str__(self) -> str:
        return _joined(self.module, self.name)


def find_references(network: torch.jit.ScriptModule) -> tuple[Reference, ...]:
    """The attributes that hold parameters or buffers, and which.

    Raises:
        ParameterError: One of them cannot be kept right: it holds other tensors too, or parts of parameters, or the code
            changes it.
    """
    if not _may_have_references(network._c):
        return ()
    owners = _Owners(network)
    found = []
    reads, changes = _attributes(network)
    for (path, name), kind in reads.items():
        if _has_object(kind):
            _refuse(_joined(path, name), "is or has an object of a class of its own with tensors, which may be parameters")
        tensors = owners.tensors_in(path, name, getattr(module_at(network, path), name, None))
        if tensors:
            found.append(Reference(path, name, tensors))
            changed = changes.intersection([(path, name), *(_split(tensor) for tensor in tensors.values())])
            if changed:
                _refuse(_joined(path, name), f"holds parameters or buffers, and the code changes {_joined(*min(changed))}")
    return tuple(found)


def bind(network: torch.jit.ScriptModule, references: Sequence[Reference], *, again: bool = False) -> None:
    """Let the attributes hold the tensors that the network has under these names now.

    Args:
        network: Of the program, or a copy.
        references: What `find_references` found in it.
        again: Set also those that hold them.

    Raises:
        ParameterError: An attribute has been changed, or cannot be set.
    """
    for reference in references:
        module = module_at(network, reference.module)
        value = getattr(module, reference.name)
        present = dict(_tensors(value))
        if present.keys() != reference.tensors.keys():
            _refuse(str(reference), "holds parameters or buffers, and the code changed it")
        tensors = {place: tensor_at(network, name) for place, name in reference.tensors.items()}
        if again or any(present[place] is not tensor for place, tensor in tensors.items()):
            try:
                setattr(module, reference.name, _exchanged(value, tensors))
            except (TypeError, RuntimeError, ValueError) as error:
                _refuse(str(reference), f"holds parameters or buffers, and cannot be set ({type(error).__name__})", error)


def loose_tensors(value: Any, weights: Mapping[int, Tensor]) -> list[Tensor]:
    """The tensors in an attribute's value that are not among some, by their ids."""
    return [tensor for _, tensor in _tensors(value) if id(tensor) not in weights]


class _Owners:
    """The names of a network's tensors, by the objects and by where their values lie."""

    def __init__(self, network: torch.jit.ScriptModule) -> None:
        self._held = tensors_of(network)
        self._by_object: dict[int, list[str]] = {}
        self._by_memory: dict[Hashable, list[str]] = {}
        self._storages = {_storage(tensor) for tensor in self._held.values()} - {None}
        for name, tensor in self._held.items():
            self._by_object.setdefault(id(tensor), []).append(name)
            self._by_memory.setdefault(_memory(tensor), []).append(name)

    def tensors_in(self, path: str, name: str, value: Any) -> dict[Place, str]:
        """The places in an attribute of the network's own tensors; none where all its tensors are others."""
        tensors = dict(_tensors(value))
        owners = {place: self._owner(tensor, path) for place, tensor in tensors.items()}
        known = {place: owner for place, owner in owners.items() if owner}
        if len(known) == len(owners):
            return known
        if known:
            _refuse(_joined(path, name), "holds parameters or buffers, and other tensors, which no file would have")
        if any(_storage(tensor) in self._storages for tensor in tensors.values()):
            _refuse(_joined(path, name), "holds a part of a parameter or buffer, or one without its gradient")
        return {}

    def _owner(self, tensor: Tensor, path: str) -> str:
        names = self._by_object.get(id(tensor)) or self._by_memory.get(_memory(tensor), [])
        if len({id(self._held[name]) for name in names}) != 1:
            return ""
        # Of the names of a tied one the same is found when the program is read, and rather its module's own.
        return next((name for name in names if _split(name)[0] == path), names[0])


def _memory(tensor: Tensor) -> Hashable:
    """Where and how a tensor's values lie, equal for two that always are equal; None where it cannot be told."""
    storage = _storage(tensor)
    if storage is None:
        return None
    return (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad)


def _storage(tensor: Tensor) -> Hashable:
    try:
        address = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
    except (RuntimeError, NotImplementedError):  # sparse ones have none
        address = 0
    return (tensor.device, address) if address else None


def _tensors(value: Any, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _tensors(item, (*place, number))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, (*place, key))


def _exchanged(value: Any, tensors: Mapping[Place, Tensor], place: Place = ()) -> Any:
    """A container with other tensors in some places."""
    if place in tensors:
        return tensors[place]
    if isinstance(value, Mapping):
        return {key: _exchanged(item, tensors, (*place, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_exchanged(item, tensors, (*place, number)) for number, item in enumerate(value)]
        return items if isinstance(value, list) else type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


# What the code does with attributes


def _may_have_references(module: Any) -> bool:
    """Whether a module has a tensor that is no parameter or buffer by its type, which is told much faster than by the code."""
    # TorchScript does not list the names of attributes.
    kinds = [kind for kind in module._type().containedTypes() if kind.kind() not in ("BoolType", "NoneType")]
    compiled: Any = torch._C
    own = len(compiled.ParameterDict(module).items()) + len(compiled.BufferDict(module).items())
    if sum(map(_is_tensor, kinds)) > own:
        return True
    inner = compiled.ModuleDict(module).items()
    types = {child._type().qualified_name() for _, child in inner}
    for kind in kinds:
        is_module = kind.kind() == "InterfaceType" or (kind.kind() == "ClassType" and kind.qualified_name() in types)
        if not _is_tensor(kind) and not is_module and _has_tensor(kind):
            return True
    return any(_may_have_references(child) for _, child in inner)


def _attributes(network: torch.jit.ScriptModule) -> tuple[dict[tuple[str, str], Any], set[tuple[str, str]]]:
    """The types of attributes that can hold tensors and are no parameters or buffers, and what code changes; by path."""
    reads: dict[tuple[str, str], Any] = {}
    changes = set()
    # Every method of every module and not the inlined `forward`, which lacks what is called through an interface.
    for path, module in network.named_modules():
        compiled: Any = module._c
        for method in compiled._method_names():
            graph = compiled._get_method(method).graph
            for node in nodes_in(graph):
                kind = node.kind()
                if kind == "prim::GetAttr":
                    found = _attribute(node, graph)
                    if found:
                        reads[_joined(path, found[0]), found[1]] = node.output().type()
                elif kind == "prim::SetAttr" or (kind in _CHANGING and _is_container(node)):
                    found = _attribute(node if kind == "prim::SetAttr" else _origin(node), graph)
                    if found:
                        changes.add((_joined(path, found[0]), found[1]))
    return {each: kind for each, kind in reads.items() if _is_plain(network, *each) and _has_tensor(kind)}, changes


def nodes_in(block: Any) -> Iterator[Any]:
    """The nodes of a graph, with those of its inner blocks."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_in(inner)


def _is_container(node: Any) -> bool:
    first = next(node.inputs(), None)
    return first is not None and first.type().kind() in _CONTAINERS


def _origin(node: Any) -> Any:
    """The node that reads what an operator changes."""
    found = next(node.inputs()).node()
    while found.kind() in _PART:
        found = next(found.inputs()).node()
    return found


def _attribute(node: Any, graph: Any) -> tuple[str, str] | None:
    """The path and name of an attribute that a node reads or sets, from the module whose method this is."""
    if node.kind() not in ("prim::GetAttr", "prim::SetAttr"):
        return None
    owner = next(node.inputs())
    if owner.debugName() == next(graph.inputs()).debugName():
        return "", node.s("name")
    above = _attribute(owner.node(), graph)
    return (_joined(*above), node.s("name")) if above else None


def _is_plain(network: torch.jit.ScriptModule, path: str, name: str) -> bool:
    """Whether an attribute is no module, no parameter and no buffer."""
    try:
        module = module_at(network, path)
    except KeyError:  # of an object
        return False
    return not any(name in registry for registry in (module._modules, module._parameters, module._buffers))


def _is_tensor(kind: Any) -> bool:
    """Whether a type is that of a tensor, or of one that may be left out, as a bias may."""
    return kind.kind() == "TensorType" or (
        kind.kind() == "OptionalType" and [inner.kind() for inner in kind.containedTypes()] == ["TensorType"]
    )


def _has_tensor(kind: Any, depth: int = 16) -> bool:
    """Whether a value of a type can hold a tensor; a class may hold objects of itself."""
    if kind.kind() in ("TensorType", "AnyType"):
        return True
    return depth > 0 and any(_has_tensor(inner, depth - 1) for inner in kind.containedTypes())


def _has_object(kind: Any) -> bool:
    """Whether a value of a type has an object with a tensor, of a class of TorchScript."""
    if kind.kind() == "ClassType":
        return not kind.qualified_name().startswith(_FOREIGN) and _has_tensor(kind)
    return any(map(_has_object, kind.containedTypes()))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _split(name: str) -> tuple[str, str]:
    path, _, leaf = name.rpartition(".")
    return path, leaf


def _refuse(attribute: str, fact: str, cause: Exception | None = None) -> NoReturn:
    raise ParameterError(
        f"the TorchScript program cannot be kept: its attribute {printable(attribute)!r} {fact}; {_OTHERWISE}"
    ) from cause
