"""The JSON of a symbol, read and checked before MXNet sees it.

MXNet trusts such a file: an operator may call into a pointer that stands in its attributes, and an output that does not exist
is read from memory that belongs to something else. So nothing of the text reaches MXNet: what is found here to be a graph of
known operators is written anew.

Source of the format: nnvm's ``src/pass/saveload_json.cc`` and MXNet 1.9's ``src/nnvm/legacy_json_util.cc``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NoReturn

from zoo_core import ParameterError
from zoo_mxnet.operators import ALIASES, OPERATORS, Operator

#: That of ResNet-152 has 0.2 MB and 1800 nodes.
MAX_BYTES = 16 * 2**20
MAX_NODES = 50_000
MAX_INPUTS = 4096
MAX_HEADS = 4096
MAX_ATTRIBUTES = 64
MAX_NAME = 256

#: What a variable is called in the place of an operator.
VARIABLE = "null"
#: The graph's entry that says which variables are inputs; MXNet reads and leaves it.
INPUTS_KEY = "zoo_inputs"
#: The version of MXNet that this is written for, and from which on files are as they are today.
VERSION, MODERN = 10901, 1000

_NAME = re.compile(r"[A-Za-z0-9_.:/+\-]{1,256}")
_TEXT = re.compile(r"[ -~]{0,4096}")
#: Notes for executors and optimizers, which compute nothing. Before they were marked by underscores, they could stand at an
#: operator and mean one of its variables (``weight_lr_mult``).
_NOTE = re.compile(r"__[a-z_]{1,60}__")
_OLD_NOTE = re.compile(r"(?:[A-Za-z_]{1,60}_)?(?:ctx_group|lr_mult|wd_mult|force_mirroring|mirror_stage)")
_NODE_FIELDS = frozenset(("op", "name", "inputs", "attrs", "attr", "param", "backward_source_id"))
_GRAPH_FIELDS = frozenset(("nodes", "arg_nodes", "heads", "node_row_ptr", "attrs"))

Output = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Node:
    """A variable or one use of an operator.

    Attributes:
        op: An operator of the list, or ``null`` for a variable.
        name: Its name, which no other node has.
        attributes: What the operator is told.
        inputs: The earlier nodes that it takes, each with the number of one of its outputs.
    """

    op: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Output, ...] = ()

    @property
    def operator(self) -> Operator:
        """How the operator may be used; not for variables."""
        return OPERATORS[self.op]

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return 1 if self.op == VARIABLE else self.operator.outputs(self.attributes)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A program that was checked.

    Attributes:
        nodes: In an order in which they can be computed.
        heads: The outputs of the program.
        inputs: The variables that are its inputs; None where the text does not say it.
        version: The version of MXNet that wrote it, such as 10901; 0: unknown and old.
    """

    nodes: tuple[Node, ...]
    heads: tuple[Output, ...]
    inputs: tuple[str, ...] | None = None
    version: int = VERSION

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of its variables: inputs and weights."""
        return tuple(node.name for node in self.nodes if node.op == VARIABLE)

    @property
    def operators(self) -> tuple[Node, ...]:
        """What is computed, in order."""
        return tuple(node for node in self.nodes if node.op != VARIABLE)

    def used(self) -> Graph:
        """Without the nodes that no output needs, and without inputs that are gone with them."""
        needed = {index for index, _ in self.heads}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in needed:
                needed.update(source for source, _ in self.nodes[index].inputs)
        if len(needed) == len(self.nodes):
            return self
        places = {index: place for place, index in enumerate(sorted(needed))}
        nodes = tuple(
            replace(self.nodes[index], inputs=tuple((places[source], output) for source, output in self.nodes[index].inputs))
            for index in places
        )
        kept = {node.name for node in nodes}
        return replace(
            self,
            nodes=nodes,
            heads=tuple((places[index], output) for index, output in self.heads),
            inputs=None if self.inputs is None else tuple(name for name in self.inputs if name in kept),
        )

    def text(self) -> str:
        """The graph as JSON, always the same for the same graph, which MXNet reads too."""
        attributes: dict[str, Any] = {"mxnet_version": ["int", self.version]}
        if self.inputs is not None:
            attributes[INPUTS_KEY] = ["list_str", list(self.inputs)]
        document = {
            "nodes": [_written(node) for node in self.nodes],
            "arg_nodes": [index for index, node in enumerate(self.nodes) if node.op == VARIABLE],
            "heads": [[index, output, 0] for index, output in self.heads],
            "attrs": attributes,
        }
        return json.dumps(document, separators=(",", ":"))


def _written(node: Node) -> dict[str, Any]:
    written = () if node.op == VARIABLE else node.operator.written
    inputs = [[index, output, int(place in written)] for place, (index, output) in enumerate(node.inputs)]
    attributes = {"attrs": dict(node.attributes)} if node.attributes else {}
    return {"op": node.op, "name": node.name, **attributes, "inputs": inputs}


def inspected(content: bytes | memoryview, name: str = "the symbol") -> Graph:
    """The graph that a symbol's JSON describes.

    Args:
        content: The text, as MXNet writes it, of any version.
        name: What messages call it.

    Raises:
        ParameterError: It is no such text, or says anything that a network from a trusted hand would not; the node is named.
    """
    return _Inspection(name).graph(content)


@dataclass(frozen=True)
class _Inspection:
    name: str

    def graph(self, content: bytes | memoryview) -> Graph:
        document = self._document(content)
        stored = document["nodes"]
        if not isinstance(stored, list) or not 0 < len(stored) <= MAX_NODES:
            self._refuse(f"expected a list of 1 to {MAX_NODES} nodes")
        version, inputs = self._attributes(document.get("attrs", {}))
        nodes: list[Node] = []
        for node in stored:
            nodes.append(self._node(node, nodes, is_old=version < MODERN))
        nodes = self._distinct(nodes)
        self._places(document, nodes)
        heads = document["heads"]
        if not isinstance(heads, list) or not 0 < len(heads) <= MAX_HEADS:
            self._refuse(f"expected 1 to {MAX_HEADS} heads")
        outputs = self._outputs(heads, nodes, "the heads")
        found = Graph(nodes=tuple(nodes), heads=outputs, inputs=inputs, version=version)
        if inputs is not None and (len(set(inputs)) != len(inputs) or not set(inputs) <= set(found.variables)):
            self._refuse(f"{INPUTS_KEY} {list(inputs)} are no variables of it")
        return found.used()

    def _distinct(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes with a name for each: Gluon's `export` repeats the names of a layer that is used twice.

        A variable's name is its parameter's or its input's, and no other node may have it.
        """
        counts = Counter(node.name for node in nodes)
        for node in nodes:
            if node.op == VARIABLE and counts[node.name] > 1:
                self._refuse(f"two nodes are called {node.name!r}, and one is a variable")
        taken, numbers, found = set(counts), Counter[str](), []
        for node in nodes:
            name = node.name
            while counts[node.name] > 1 and name in taken:
                name = f"{node.name[: MAX_NAME - 8]}_{numbers[node.name]}"
                numbers[node.name] += 1
            taken.add(name)
            found.append(replace(node, name=name))
        return found

    def _document(self, content: bytes | memoryview) -> dict[str, Any]:
        if len(content) > MAX_BYTES:
            self._refuse(f"{len(content)} bytes; up to {MAX_BYTES} are read")
        try:
            document = json.loads(str(content, "utf-8"), parse_constant=_no_constant, object_pairs_hook=_without_repetition)
        except (ValueError, RecursionError) as error:
            self._refuse(f"no JSON: {error}")
        if not isinstance(document, dict):
            self._refuse("no JSON object")
        unknown = sorted(document.keys() - _GRAPH_FIELDS)
        missing = sorted({"nodes", "arg_nodes", "heads"} - document.keys())
        if unknown or missing:
            self._refuse(f"it has {_shown(unknown)}" if unknown else f"it has no {_shown(missing)}")
        return document

    def _attributes(self, attributes: Any) -> tuple[int, tuple[str, ...] | None]:
        """The version and the inputs that the graph's own attributes tell, each as ``[type, value]``."""
        if not isinstance(attributes, dict) or len(attributes) > MAX_ATTRIBUTES:
            self._refuse("its attrs are no object of a few entries")
        match attributes.get("mxnet_version", ["int", 0]):
            case ["int", int(version)] if type(version) is int and 0 <= version < 2**31:
                pass
            case other:
                self._refuse(f"mxnet_version is {_shown(other)}")
        inputs = attributes.get(INPUTS_KEY, ["list_str", None])
        match inputs:
            case ["list_str", None]:
                return version, None
            case ["list_str", [*names]] if all(isinstance(name, str) for name in names):
                return version, tuple(names)
            case _:
                return self._refuse(f"{INPUTS_KEY} is {_shown(inputs)}")

    def _node(self, node: Any, before: Sequence[Node], *, is_old: bool) -> Node:
        where = f"node {len(before)}"
        match node:
            case {"op": str(op), "name": str(name), "inputs": list(inputs)} if node.keys() <= _NODE_FIELDS:
                pass
            case dict() if "subgraphs" in node:
                self._refuse(f"{where} has a graph inside")
            case _:
                self._refuse(f"{where} is not described by op, name, inputs and attrs")
        if not _NAME.fullmatch(name):
            self._refuse(f"{where} is called {_shown(name)}; names are up to {MAX_NAME} of A-Z a-z 0-9 _ . : / + -")
        where = f"node {name!r}"
        # Where an older file has both, these say what the operator computes and those are notes.
        attributes = self._texts([node.get(key, {}) for key in ("attr", "attrs", "param")], where)
        if op == VARIABLE:
            if inputs:
                self._refuse(f"{where} is a variable that has inputs")
            # Whatever they are: MXNet copies an operator's to the variables that it makes for it, and none is heeded.
            return Node(op=op, name=name, attributes=attributes)
        op = ALIASES.get(op, op)
        if op not in OPERATORS:
            self._refuse(f"{where} uses the operator {_shown(op)}, which is not among the {len(OPERATORS)} that are allowed")
        found = Node(op=op, name=name, attributes=attributes, inputs=self._outputs(inputs, before, where))
        self._use(found, where, is_old=is_old)
        self._written(found, before, where)
        return found

    def _texts(self, stored: Iterable[Any], where: str) -> dict[str, str]:
        texts: dict[Any, Any] = {}
        for attributes in stored:
            if not isinstance(attributes, dict):
                self._refuse(f"{where} has attributes that are no object")
            texts |= attributes
        if len(texts) > MAX_ATTRIBUTES:
            self._refuse(f"{where} has {len(texts)} attributes; up to {MAX_ATTRIBUTES} are read")
        for key, value in texts.items():
            if not isinstance(value, str) or not _TEXT.fullmatch(value) or not _NAME.fullmatch(key):
                self._refuse(f"{where}: attribute {_shown(key)} is no short text: {_shown(value)}")
        return texts

    def _notes(self, attributes: Iterable[str], where: str, *, is_old: bool) -> None:
        for key in attributes:
            if not _NOTE.fullmatch(key) and not (is_old and _OLD_NOTE.fullmatch(key)):
                self._refuse(f"{where} has the unknown attribute {_shown(key)}")

    def _use(self, node: Node, where: str, *, is_old: bool) -> None:
        """Check the attributes and the number of inputs of an operator."""
        operator = node.operator
        for key, value in node.attributes.items():
            kind = operator.attributes.get(key)
            if kind is None:
                self._notes([key], f"{where} ({node.op})", is_old=is_old)
            elif not _fits(kind.fits, value):
                self._refuse(f"{where} ({node.op}): {key} is {_shown(value)}; expected {kind.what}")
        if node.outputs > MAX_INPUTS or not _fits(lambda _: not operator.check(node.attributes), ""):
            self._refuse(f"{where} ({node.op}): its attributes do not go together; expected {_expected(operator, node)}")
        most = operator.number(node.attributes)
        # Older files name no running statistics; MXNet puts them in.
        least = most - len(operator.written) if is_old else most
        if not least <= len(node.inputs) <= most:
            self._refuse(f"{where} ({node.op}): expected {most} as its number of inputs, found {len(node.inputs)}")

    def _written(self, node: Node, before: Sequence[Node], where: str) -> None:
        """Check what an operator writes to in training: MXNet ends the process where that is no variable of its own."""
        for index, _ in (node.inputs[place] for place in node.operator.written if place < len(node.inputs)):
            if before[index].op != VARIABLE or sum(index == other for other, _ in node.inputs) > 1:
                self._refuse(f"{where} ({node.op}) writes to {before[index].name!r}, which is no variable for this alone")

    def _outputs(self, stored: Iterable[Any], nodes: Sequence[Node], where: str) -> tuple[Output, ...]:
        found = [self._output(entry, nodes, where) for entry in stored]
        if len(found) > MAX_INPUTS:
            self._refuse(f"{where} has {len(found)} inputs; up to {MAX_INPUTS} are read")
        return tuple(found)

    def _output(self, entry: Any, nodes: Sequence[Node], where: str) -> Output:
        match entry:
            case [int(index), int(output)] | [int(index), int(output), int(_)] if not any(type(x) is bool for x in entry):
                pass
            case _:
                self._refuse(f"{where}: {_shown(entry)} is no node and output")
        # The third number counts how often a variable was written to; it is told by the operators and not read.
        if not 0 <= index < len(nodes):
            self._refuse(f"{where}: {_shown(entry)} is no earlier node")
        if not 0 <= output < nodes[index].outputs:
            self._refuse(f"{where}: {nodes[index].name!r} has no output of number {output}; it gives {nodes[index].outputs}")
        return index, output

    def _places(self, document: Mapping[str, Any], nodes: Sequence[Node]) -> None:
        """Check the two lists that only repeat what the nodes say."""
        variables = [index for index, node in enumerate(nodes) if node.op == VARIABLE]
        if document["arg_nodes"] != variables or any(type(index) is not int for index in document["arg_nodes"]):
            self._refuse("arg_nodes are not its variables")
        rows = document.get("node_row_ptr")
        if rows is None:
            return
        if not isinstance(rows, list) or len(rows) != len(nodes) + 1 or any(type(row) is not int for row in rows):
            self._refuse("node_row_ptr has not one number for each node")
        counts = [after - row for row, after in pairwise(rows)]
        # Operators may have outputs that nobody can refer to.
        if rows[0] != 0 or not all(
            node.outputs <= count <= node.outputs + 8 for node, count in zip(nodes, counts, strict=True)
        ):
            self._refuse("node_row_ptr does not count the outputs of its nodes")

    def _refuse(self, why: str) -> NoReturn:
        raise ParameterError(f"{self.name}: {why}")


def _fits(fits: Any, value: str) -> bool:
    try:
        return bool(fits(value))
    except (ValueError, OverflowError):
        return False


def _expected(operator: Operator, node: Node) -> str:
    try:
        return operator.check(node.attributes) or f"at most {MAX_INPUTS} outputs"
    except (ValueError, OverflowError):
        return "whole numbers"


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _shown(value: object) -> str:
    """A foreign value in a message: short, and without what moves a cursor."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else repr(value)
    return ascii(text)[1:-1][:80]
