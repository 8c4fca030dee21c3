"""An exported graph that ends earlier: at a named node, or before its last operator.

The graph is the JSON of a ``.pt2``; nothing here needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from zoo_core import InputError
from zoo_pytorch.inspection import ExportedArchive

#: One tensor that is nested in nothing.
LEAF = '[1,{"type":null,"context":null,"children_spec":[]}]'


def output_names(archive: ExportedArchive) -> tuple[str, ...]:
    """The nodes that give one tensor, in the order in which they are computed."""
    return tuple(name for node in _graph(archive)["nodes"] if (name := _only_tensor(node)))


def cut_at(archive: ExportedArchive, name: str) -> ExportedArchive:
    """The program up to a node, which is its only output; weights that it does not use are left out.

    Whatever is written in place before that node is still written.

    Args:
        archive: The program.
        name: One of `output_names`.
    """
    graph = _graph(archive)
    last = next(number for number, node in enumerate(graph["nodes"]) if _only_tensor(node) == name)
    before = graph["nodes"][: last + 1]
    computed = {result for node in before for result in _results(node)}
    # Of a graph without operators in place, new values of buffers are outputs that come first.
    mutations = [
        (value, spec)
        for value, spec in zip(graph["outputs"], archive.document["graph_module"]["signature"]["output_specs"], strict=True)
        if "buffer_mutation" in spec and set(_names(value)) <= computed
    ]
    output = {"as_tensor": {"name": name}}
    nodes, needed = _needed(before, {name, *(used for value, _ in mutations for used in _names(value))})
    return _ending(
        archive,
        nodes,
        needed,
        [*(value for value, _ in mutations), output],
        [*(spec for _, spec in mutations), {"user_output": {"arg": output}}],
    )


def before_last_layer(archive: ExportedArchive) -> str:
    """The node that goes into the one that computes the output: the features of a classifier.

    Raises:
        InputError: There are several outputs, or the last node takes no computed tensor.
    """
    specs = archive.document["graph_module"]["signature"]["output_specs"]
    outputs = [spec["user_output"]["arg"] for spec in specs if "user_output" in spec]
    if len(outputs) != 1 or "as_tensor" not in outputs[0]:
        raise InputError("the last block can be removed where the output is one computed tensor; cut at a name instead")
    computed = set(output_names(archive))
    last = [node for node in _graph(archive)["nodes"] if outputs[0]["as_tensor"]["name"] in _results(node)]
    before = [name for node in last for item in node["inputs"] for name in _names(item["arg"]) if name in computed]
    if not before:
        raise InputError("the last block takes no computed tensor: nothing is before it")
    return before[0]


def _graph(archive: ExportedArchive) -> dict[str, Any]:
    graph: dict[str, Any] = archive.document["graph_module"]["graph"]
    return graph


def _only_tensor(node: Mapping[str, Any]) -> str:
    outputs = node["outputs"]
    return str(outputs[0]["as_tensor"]["name"]) if len(outputs) == 1 and "as_tensor" in outputs[0] else ""


def _results(node: Mapping[str, Any]) -> Iterator[str]:
    for output in node["outputs"]:
        yield from _names(output)


def _names(value: Any) -> Iterator[str]:
    """The values of the graph that an argument stands for; an inner graph has names of its own."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("name", "as_name"):
                yield item
            elif key not in ("as_graph", "as_string_to_argument", "as_device") and isinstance(item, dict | list):
                yield from _names(item)
            elif key == "as_string_to_argument":
                yield from _names(list(item.values()))


def _needed(nodes: list[dict[str, Any]], names: set[str]) -> tuple[list[dict[str, Any]], set[str]]:
    kept: list[dict[str, Any]] = []
    for node in reversed(nodes):
        if _writes(node) or not names.isdisjoint(_results(node)):
            kept.append(node)
            names.update(name for item in node["inputs"] for name in _names(item["arg"]))
    return kept[::-1], names


def _writes(node: Mapping[str, Any]) -> bool:
    """Whether an operator writes to its input, which another name may stand for."""
    operator = str(node["target"]).split(".")
    return len(operator) > 3 and operator[3].endswith("_") and not operator[3].endswith("__")


def _weight_of(spec: Mapping[str, Any]) -> str | None:
    """The tensor that an input of the graph is; None: the user gives it."""
    for kind, field in (
        ("parameter", "parameter_name"),
        ("buffer", "buffer_name"),
        ("tensor_constant", "tensor_constant_name"),
    ):
        if kind in spec:
            return str(spec[kind][field])
    return None


def _ending(
    archive: ExportedArchive, nodes: list[dict[str, Any]], needed: set[str], outputs: list[Any], specs: list[Any]
) -> ExportedArchive:
    """The same program with other nodes and outputs, and of its tensors those that are needed."""
    module = archive.document["graph_module"]
    pairs = [
        (value, spec)
        for value, spec in zip(module["graph"]["inputs"], module["signature"]["input_specs"], strict=True)
        if _weight_of(spec) is None or not needed.isdisjoint(_names(value))
    ]
    held = {_weight_of(spec) for _, spec in pairs}
    known = {name for value, _ in pairs for name in _names(value)} | {name for node in nodes for name in _results(node)}
    graph = module["graph"] | {
        "inputs": [value for value, _ in pairs],
        "nodes": nodes,
        "outputs": outputs,
        "tensor_values": {name: value for name, value in module["graph"]["tensor_values"].items() if name in known},
    }
    signature = {"input_specs": [spec for _, spec in pairs], "output_specs": specs}
    call = next(entry for entry in module["module_call_graph"] if entry["fqn"] == "")
    called = call["signature"] | {"outputs": outputs[-1:], "out_spec": LEAF}
    return replace(
        archive,
        document=dict(archive.document)
        | {
            "graph_module": module
            | {"graph": graph, "signature": signature, "module_call_graph": [call | {"signature": called}]}
        },
        weights={name: payload for name, payload in archive.weights.items() if name in held},
        constants={name: payload for name, payload in archive.constants.items() if name in held},
    )
