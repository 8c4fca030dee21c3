"""The program kind ``torch.aten``: an exported network as data.

The graph of a `torch.export.ExportedProgram` as JSON whose operators are on a shipped list, rebuilt as a
`torch.fx.GraphModule`. Nothing is unpickled, and no name, text or number of a file becomes code. Weights are not inside; they
are ordinary parameters.
"""

from __future__ import annotations

from zoo_pytorch.aten.cutting import cut_program, output_names, without_last_block
from zoo_pytorch.aten.document import read_document
from zoo_pytorch.aten.network import AtenNetwork, build_network, facts_of
from zoo_pytorch.aten.writing import NotExpressible, write_program

__all__ = [
    "AtenNetwork",
    "NotExpressible",
    "cut_program",
    "facts_of",
    "read_program",
    "without_last_block",
    "write_program",
]


def read_program(content: bytes | memoryview) -> AtenNetwork:
    """The network of a program: its parameters and saved buffers are on the meta device, to be assigned; the rest has values.

    Raises:
        ParameterError: The content is malformed, too large or names what it must not; the message says at which node.
    """
    program = read_document(content)
    return build_network(program, output_names(program))
