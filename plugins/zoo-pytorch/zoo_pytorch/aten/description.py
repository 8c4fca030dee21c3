"""What is in a program, in a few words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zoo_pytorch.aten.document import read_document


def describe(content: bytes | memoryview) -> dict[str, Any]:
    """A summary for people: inputs, counts, and what the program holds beside its graph.

    Raises:
        ParameterError: The content is no program.
    """
    program = read_document(content)
    return {
        "inputs": {name: str(kind) for name, kind in program.inputs.items()},
        "nodes": len(program.nodes),
        "operators": dict(sorted(Counter(node.operator for node in program.nodes).items())),
        "parameters": len(program.parameters),
        "buffers": len(program.buffers),
        "constants": len(program.constants),
        "constant_bytes": sum(len(constant.data) for constant in program.constants.values()),
    }


def parameter_names(content: bytes | memoryview) -> tuple[str, ...]:
    """The names of the tensors that a program needs beside itself, as its network's ``state_dict`` has them.

    Raises:
        ParameterError: The content is no program.
    """
    program = read_document(content)
    return (*program.parameters, *program.buffers, *program.tied)
