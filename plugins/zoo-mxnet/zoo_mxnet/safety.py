"""Operators that end the process on shapes that do not fit, put in a form that raises an error instead.

Three operators of MXNet 1.9.1 take any shapes: ``Reshape`` reads beyond the array where the new shape has another size,
``where`` divides by zero where the condition has another shape than the values, and ``RNN`` reads beyond its parameters where
their number does not fit into 32 bits. An input of an unexpected shape would be enough. What they compute stays the same, to
the bit.

Source: the special numbers of ``shape`` and ``newshape``, in the documentation of ``mx.sym.reshape`` and ``mx.npx.reshape``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoo_mxnet.inspection import VARIABLE, Graph, Node, Output
from zoo_mxnet.operators import is_true, items, most_features, whole

#: Keep this size, keep all that follow, join two sizes, split one in two: in `Reshape` and in `_npx_reshape`; -1 is -1.
_SPECIAL = {0: -2, -2: -4, -3: -5, -4: -6}
_SPLIT = -4


def safe(graph: Graph) -> Graph:
    """The same program, of operators that look at the shapes they get.

    A condition of ``where`` that chooses whole rows is refused when it is run.
    """
    nodes: list[Node] = []
    places: list[int] = []
    for node in graph.nodes:
        moved = replace(node, inputs=_moved(node.inputs, places))
        if node.op == "where":
            condition, chosen, other = moved.inputs
            nodes.append(Node(op="reshape_like", name=f"{node.name}_condition", inputs=(condition, chosen)))
            moved = replace(moved, inputs=((len(nodes) - 1, 0), chosen, other))
        if node.op == "RNN":
            nodes += _bounded(moved, len(nodes))
            moved = replace(moved, inputs=((len(nodes) - 1, 0), *moved.inputs[1:]))
        places.append(len(nodes))
        nodes.append(_reshape(moved) if node.op == "Reshape" and not _flattens_variable(node, graph) else moved)
    return replace(graph, nodes=tuple(nodes), heads=_moved(graph.heads, places))


def _moved(outputs: Sequence[Output], places: Sequence[int]) -> tuple[Output, ...]:
    return tuple((places[index], output) for index, output in outputs)


def _bounded(node: Node, place: int) -> tuple[Node, Node, Node]:
    """A recurrent layer's sequences, which raise an error where a step has too many features; the first will be at `place`.

    A slice must not be longer than what it is cut from. The data themselves are only looked at.
    """
    data, name = node.inputs[0], node.name
    axis = {"lhs_begin": "2", "lhs_end": "3", "rhs_begin": "2", "rhs_end": "3"}
    shape = f"(1, 1, {most_features(node.attributes)})"
    return (
        Node(op="_zeros", name=f"{name}_most", attributes={"shape": shape, "dtype": "uint8"}),
        Node(op="slice_like", name=f"{name}_features", attributes={"axes": "(2,)"}, inputs=((place, 0), data)),
        Node(op="reshape_like", name=f"{name}_data", attributes=axis, inputs=(data, (place + 1, 0))),
    )


def _flattens_variable(node: Node, graph: Graph) -> bool:
    """Whether it makes one row of an array that is given, as recurrent layers pack their weights.

    It may stay: no size can disagree, and it alone infers the sizes of weights from the packed row.
    """
    sizes = items(node.attributes.get("shape", "()"))
    return sizes == ["-1"] and graph.nodes[node.inputs[0][0]].op == VARIABLE


def _reshape(node: Node) -> Node:
    sizes = [whole(size) for size in items(node.attributes.get("shape", "()"))]
    new = _translated(sizes) if sizes else _old_form(node)
    attributes = {"newshape": f"({', '.join(map(str, new))},)"}
    if sizes and is_true(node.attributes, "reverse"):
        attributes["reverse"] = "True"
    return replace(node, op="_npx_reshape", attributes=attributes)


def _translated(sizes: Sequence[int]) -> list[int]:
    new: list[int] = []
    for size in sizes:
        # The two sizes that follow a split are sizes.
        is_part = _SPECIAL[_SPLIT] in new[-2:]
        new.append(size if is_part else _SPECIAL.get(size, size))
    return new


def _old_form(node: Node) -> list[int]:
    """``target_shape``: 0 is what is left; with ``keep_highest`` the first size stays."""
    new = [whole(size) or -1 for size in items(node.attributes.get("target_shape", "()"))]
    if is_true(node.attributes, "keep_highest"):
        new[0] = _SPECIAL[0]
    return new
