"""Operators that end the process on shapes that do not fit, put in a form that raises an error instead.

Two operators of MXNet 1.9.1 take any shapes: ``Reshape`` reads beyond the array where the new shape has another size, and
``where`` divides by zero where the condition has another shape than the values. An input of an unexpected shape would be
enough. What they compute stays the same, to the bit.

Source: the special numbers of ``shape`` and ``newshape``, in the documentation of ``mx.sym.reshape`` and ``mx.npx.reshape``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoo_mxnet.inspection import Graph, Node, Output
from zoo_mxnet.operators import is_true, items, whole

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
        places.append(len(nodes))
        nodes.append(_reshape(moved) if node.op == "Reshape" else moved)
    return replace(graph, nodes=tuple(nodes), heads=_moved(graph.heads, places))


def _moved(outputs: Sequence[Output], places: Sequence[int]) -> tuple[Output, ...]:
    return tuple((places[index], output) for index, output in outputs)


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
