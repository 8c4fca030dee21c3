"""Which tensors of a program share memory, what it writes to, and which nodes a result needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from zoo_core import ParameterError
from zoo_pytorch.aten.operators import BATCH_NORM, GETITEM, MAY_GIVE_ANY_INPUT, RANDOM, Operator, find_operator
from zoo_pytorch.aten.program import Node, Program, Ref, State, operands, references

#: What owns memory: an input, the node that computed a tensor first, or a parameter, buffer or constant.
Owner: TypeAlias = "Ref | State"
#: Operators that update running statistics while they train, which their schemas do not say.
_WITH_STATISTICS = frozenset({BATCH_NORM, "aten::instance_norm"})
_STATISTICS = ("running_mean", "running_var")
#: How often what is needed grows before everything counts as needed.
_MAX_ROUNDS = 32


def owners(program: Program) -> dict[str, Owner]:
    """The owner of every node's memory, by the node's name."""
    found: dict[str, Owner] = {name: Ref(name) for name in program.inputs}
    for node in program.nodes:
        source = _viewed(node)
        found[node.name] = Ref(node.name) if source is None else _owner(source, found)
    return found


def check_writes(program: Program) -> None:
    """Refuse a program that writes to its inputs or parameters, or might.

    Raises:
        ParameterError: With the node.
    """
    found = owners(program)
    producers = {node.name: node.operator for node in program.nodes}
    for node in program.nodes:
        for operand in written(node):
            owner = _owner(operand, found)
            is_own = isinstance(owner, State) and owner.path not in program.parameters
            is_computed = isinstance(owner, Ref) and owner.name not in program.inputs
            if isinstance(owner, Ref) and producers.get(owner.name) in MAY_GIVE_ANY_INPUT:
                is_computed = False
            if not (is_own or is_computed):
                name = owner.path if isinstance(owner, State) else owner.name
                raise ParameterError(
                    f"torch.aten program: node {node.name} ({node.operator}) writes to {name!r}; "
                    "a program may write to its own results and buffers only"
                )


def written(node: Node) -> list[Ref | State]:
    """What a node writes to."""
    operator = find_operator(node.operator)
    if operator is None or not operator.is_aten:
        return []
    found = [argument_of(node, operator, key) for key in operator.written]
    if node.operator in _WITH_STATISTICS and argument_of(node, operator, "training", "use_input_stats") is not False:
        found += [argument_of(node, operator, key) for key in _STATISTICS]
    return [value for value in found if isinstance(value, Ref | State)]


def argument_of(node: Node, operator: Operator, *keys: str) -> Any:
    """The value of the first of these arguments that an operator has; None where the node leaves it out."""
    for position, parameter in enumerate(operator.parameters):
        if parameter.name in keys:
            return node.arguments[position] if position < len(node.arguments) else node.named.get(parameter.name)
    return None


def without_unused(program: Program, *, keeps_effects: bool) -> Program:
    """A program without nodes, and constants, that its output does not need.

    Args:
        program: Any.
        keeps_effects: What updates buffers or draws random numbers is kept, as are all parameters and buffers; otherwise only
            what the output needs, now or in a later call, is kept.
    """
    needed = _needed(program, keeps_effects)
    nodes = tuple(node for node in program.nodes if node.name in needed)
    used = {value.path for value in _all_operands(nodes, program.output) if isinstance(value, State)}
    constants = {path: constant for path, constant in program.constants.items() if path in used}
    if keeps_effects:
        return replace(program, nodes=nodes, constants=constants)
    return replace(
        program,
        nodes=nodes,
        constants=constants,
        parameters=_kept(program.parameters, used),
        frozen=program.frozen & used,
        buffers=_kept(program.buffers, used),
        tied={path: original for path, original in program.tied.items() if original in used},
    )


def _kept(types: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    return {path: kind for path, kind in types.items() if path in used}


def _all_operands(nodes: Iterable[Node], output: Any) -> Iterable[Ref | State]:
    for node in nodes:
        yield from operands(node)
    yield from references(output)


def _needed(program: Program, keeps_effects: bool) -> set[str]:
    """The names of nodes that the output needs."""
    found = owners(program)
    states = {value.path for value in references(program.output) if isinstance(value, State)}
    for _ in range(_MAX_ROUNDS):
        # A buffer that is read is needed as an earlier call left it, so a later write to it counts.
        needed, read = _round(program, found, states, keeps_effects)
        if read <= states:
            return needed
        states |= read
    return _round(program, found, states, True)[0]


def _round(program: Program, found: Mapping[str, Owner], states: set[str], keeps_effects: bool) -> tuple[set[str], set[str]]:
    """One pass from the output to the inputs: the nodes needed, and the states that these use."""
    needed = {value.name for value in references(program.output) if isinstance(value, Ref)}
    memory = {_owner(value, found) for value in references(program.output)}
    used: set[str] = set()
    for node in reversed(program.nodes):
        if not (
            node.name in needed
            or any(_is_needed(_owner(operand, found), memory, states, keeps_effects) for operand in written(node))
            or (keeps_effects and node.operator in RANDOM)
        ):
            continue
        needed.add(node.name)
        for operand in operands(node):
            memory.add(_owner(operand, found))
            if isinstance(operand, Ref):
                needed.add(operand.name)
            else:
                used.add(operand.path)
    return needed, used


def _is_needed(owner: Owner, memory: set[Owner], states: set[str], keeps_effects: bool) -> bool:
    """Whether a write to this memory is seen."""
    return owner in memory if isinstance(owner, Ref) else keeps_effects or owner.path in states


def _viewed(node: Node) -> Ref | State | None:
    """What a node gives a view of, or gives back; None where its result is new."""
    if node.operator == GETITEM:
        return node.arguments[0]  # type: ignore[no-any-return]  # the reader admits a reference only
    operator = find_operator(node.operator)
    if operator is None or operator.viewed is None:
        return None
    source = argument_of(node, operator, operator.viewed)
    return source if isinstance(source, Ref | State) else None


def _owner(value: Ref | State, found: Mapping[str, Owner]) -> Owner:
    return value if isinstance(value, State) else found[value.name]
