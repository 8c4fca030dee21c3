"""Programs cut at a named result, so that a published classifier becomes a backbone."""

from __future__ import annotations

from dataclasses import replace

from zoo_core import InputError, did_you_mean, listing, printable
from zoo_pytorch.aten.document import read_document, write_document
from zoo_pytorch.aten.memory import without_unused
from zoo_pytorch.aten.operators import GETITEM, find_operator
from zoo_pytorch.aten.program import Node, Program, Ref, operands, references


def output_names(program: Program) -> tuple[str, ...]:
    """The names that a program can be cut at: nodes that give a tensor, in order; those of its output last."""
    given = [value.name for value in references(program.output) if isinstance(value, Ref)]
    results = {node.name: _results(node) for node in program.nodes}
    tensors = [node.name for node in program.nodes if _gives_tensor(node, results)]
    last = [name for name in dict.fromkeys(given) if name in tensors]
    return (*(name for name in tensors if name not in last), *last)


def _results(node: Node) -> tuple[str, ...]:
    found = find_operator(node.operator)
    return found.results if found else ()


def _gives_tensor(node: Node, results: dict[str, tuple[str, ...]]) -> bool:
    if node.operator != GETITEM:
        return results[node.name] == ("Tensor",)
    source, number = node.arguments
    of = results[source.name]
    return of == ("Tensors",) or of[number] == "Tensor"


def cut_program(content: bytes | memoryview, name: str) -> bytes:
    """A program that ends at a node and gives that node's tensor; what this does not need is left out.

    Raises:
        ParameterError: The content is no program.
        InputError: No node that gives a tensor has this name.
    """
    program = read_document(content)
    return write_document(_cut(program, name))


def without_last_block(content: bytes | memoryview) -> bytes:
    """A program without the layer that computes its output: it ends at what this layer took.

    Raises:
        ParameterError: The content is no program.
        InputError: It has several outputs, or its last layer takes no computed tensor.
    """
    program = read_document(content)
    if not isinstance(program.output, Ref):
        raise InputError("the last block can be removed where the output is one computed tensor; cut at a name instead")
    nodes = {node.name: node for node in program.nodes}
    last = nodes.get(program.output.name)
    while last is not None and last.operator == GETITEM:
        last = nodes.get(last.arguments[0].name)
    tensors = set(output_names(program))
    before = [value.name for value in operands(last) if isinstance(value, Ref) and value.name in tensors] if last else []
    if not before:
        raise InputError("the last block takes no computed tensor: nothing is before it")
    return write_document(_cut(program, before[0]))


def _cut(program: Program, name: str) -> Program:
    known = output_names(program)
    if name not in known:
        raise InputError(
            f"no output is named {printable(name)!r}{did_you_mean(name, known)}; the program has {listing(known, near_to=name)}"
        )
    end = next(number for number, node in enumerate(program.nodes) if node.name == name)
    # What comes later must not count: it may write to this very tensor.
    return without_unused(replace(program, nodes=program.nodes[: end + 1], output=Ref(name)), keeps_effects=False)
