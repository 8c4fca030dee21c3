"""Small networks as programs of every kind."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from zoo_pytorch import SymbolBlock
from zoo_pytorch.engine import PyTorchEngine

FREE = torch.export.Dim.AUTO


class Backbone(nn.Module):
    """A convolution, a batch norm, dropout, a buffer that is not saved, and a classifier."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, classes)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        return self.drop(torch.relu(self.norm(self.conv(x)))).mean((2, 3)) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.features(x))
        return y


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """Values of its own for every tensor of the state, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.25)
    return module.eval()


def pictures(seed: int = 0, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def export(module: nn.Module, *inputs: Any) -> torch.export.ExportedProgram:
    """An exported program with a free batch axis; the exporter's own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs, dynamic_shapes=tuple({0: FREE} for _ in inputs))


def traced(module: nn.Module, *inputs: Any) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, inputs)


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


def pt2(program: torch.export.ExportedProgram) -> bytes:
    """The file that torch.export.save writes."""
    stream = io.BytesIO()
    torch.export.save(program, stream)
    return stream.getvalue()


def torchscript(program: torch.jit.ScriptModule) -> bytes:
    """The file that torch.jit.save writes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(program, stream)
    return stream.getvalue()


def symbol(kind: str, module: nn.Module, *inputs: Any) -> SymbolBlock:
    """A module as a SymbolBlock of a kind; evaluation mode as the module's."""
    if kind == "torch.aten":
        return SymbolBlock.from_program(export(module, *inputs))
    if kind == "torch.export":
        block = SymbolBlock()
        # A file that is a program fills a holder as it is; an object would become torch.aten.
        block.set_extra_state(torch.frombuffer(bytearray(pt2(export(module, *inputs))), dtype=torch.uint8))
        return block.train(module.training)
    return SymbolBlock.from_program(traced(module, *inputs) if kind == "traced" else scripted(module))


def assert_same_state(left: nn.Module, right: nn.Module) -> None:
    """The same names, dtypes and bits."""
    ours, theirs = left.state_dict(), right.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype, name
        assert torch.equal(value, theirs[name]), name


def backbone(kind: str, seed: int = 0) -> SymbolBlock:
    return symbol(kind, seeded(Backbone(), seed), pictures())


def combined(middle: nn.Module) -> nn.Sequential:
    """Layers that are trained on both sides of a symbolic part."""
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(middle, nn.ReLU()), nn.Linear(5, 2)).eval()


def full(kind: str) -> nn.Sequential:
    net = combined(backbone(kind))
    seeded(net[0], 1)
    seeded(net[2], 2)
    return net


def engine_file(net: nn.Module) -> bytes:
    stream = io.BytesIO()
    PyTorchEngine().save_parameters(net, stream, {})
    return stream.getvalue()


def torch_file(net: nn.Module) -> dict[str, Tensor]:
    """What `torch.save` and `torch.load` of a state dictionary give."""
    stream = io.BytesIO()
    torch.save(net.state_dict(), stream)
    stream.seek(0)
    loaded: dict[str, Tensor] = torch.load(stream, weights_only=True)
    return loaded
