"""The kinds of programs; they are told without PyTorch, so that tests can be collected, and then skip, where it is missing."""

from __future__ import annotations

#: How a program was made: the kind of program, and for TorchScript also how.
KINDS = ("torch.aten", "torch.export", "traced", "scripted")


def kind_of_program(kind: str) -> str:
    return kind if kind.startswith("torch.") else "torchscript"
