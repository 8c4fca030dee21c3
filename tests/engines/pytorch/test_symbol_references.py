"""TorchScript whose attributes hold parameters a second time, as a scripted LSTM's list of weights does."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import SymbolBlock  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.symbolic import engine_file, scripted, seeded, torch_file, torchscript  # noqa: E402

ENGINE = PyTorchEngine()


class Recurrent(nn.Module):
    """A recurrent layer, whose code takes its weights from a list, and a classifier."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.fc = layer, nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.layer(x)[0])
        return y


class Listed(nn.Module):
    """The smallest one."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.ws = [self.w]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.ws[0]


class Nested(nn.Module):
    """Parameters and buffers in every container that TorchScript has, below the module that owns them and above it."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.register_buffer("b", torch.ones(3))
        self.inner = Listed()
        self.pair = (self.w, [self.b, self.inner.w])
        self.named = {"w": self.w, "b": self.b}
        self.inner.outer = {1: self.w}
        self.plain = self.b[:]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self.pair[0] + self.pair[1][0] * self.pair[1][1] + self.named["w"] * self.named["b"]


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Recurrent(nn.LSTM(3, 5, batch_first=True)),
    "gru": lambda: Recurrent(nn.GRU(3, 5, num_layers=2, batch_first=True)),
    "list": Listed,
    "nested": Nested,
}


@pytest.fixture(params=MAKERS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return seeded(MAKERS[str(request.param)]())


X = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(1))


def stepped(block: nn.Module) -> None:
    """One step of training, which moves every parameter."""
    optimizer = torch.optim.SGD(block.parameters(), lr=0.01)
    optimizer.zero_grad()
    block(X).square().sum().backward()
    optimizer.step()


def recovered(block: SymbolBlock, way: str) -> SymbolBlock:
    """A block by way of a file, a state dictionary, or a copy."""
    found = SymbolBlock()
    match way:
        case "engine":
            ENGINE.load_parameters(found, engine_file(block))
        case "mapped":
            found = build_on_meta(SymbolBlock)
            ENGINE.load_parameters(found, engine_file(block))
        case "state":
            found.load_state_dict(torch_file(block))
        case "assigned":
            found.load_state_dict(torch_file(block), assign=True)
        case "deepcopy":
            found = copy.deepcopy(block)
        case "pickle":
            found = pickle.loads(pickle.dumps(block))
    return found.eval()


WAYS = ("engine", "mapped", "state", "assigned", "deepcopy", "pickle")


@pytest.mark.parametrize("given", ["object", "file"])
def test_what_is_saved_is_recovered_before_and_after_training(module: nn.Module, given: str, tmp_path: Path) -> None:
    program: Any = scripted(module)
    y = program(X)
    if given == "file":
        (tmp_path / "program.pt").write_bytes(torchscript(program))
        program = tmp_path / "program.pt"
    block = SymbolBlock.from_program(program).eval()
    assert torch.equal(block(X), y)
    before = {way: recovered(block, way) for way in WAYS}
    assert all(torch.equal(each(X), y) for each in before.values())

    weights = {name: value.detach().clone() for name, value in block.named_parameters()}
    stepped(block)
    assert not [name for name, value in block.named_parameters() if torch.equal(value, weights[name])]
    assert not torch.equal(block(X), y)
    for way, each in before.items():
        assert torch.equal(recovered(block, way)(X), block(X)), way
        # What was recovered is trained in the same way, and saved again.
        stepped(each)
        assert torch.equal(each(X), block(X)), way
        assert torch.equal(recovered(each, way)(X), block(X)), way


def test_a_trained_block_is_what_the_module_is_with_its_weights(module: nn.Module) -> None:
    block = SymbolBlock.from_program(torchscript(scripted(module))).eval()
    stepped(block)
    fresh = MAKERS[next(name for name, make in MAKERS.items() if _is_like(make(), module))]().eval()
    with torch.no_grad():
        own = dict(fresh.named_parameters()) | dict(fresh.named_buffers())
        for name, value in block.program.state_dict().items():
            own[name].copy_(value)
    assert torch.equal(block(X), fresh(X))


def _is_like(one: nn.Module, other: nn.Module) -> bool:
    return repr(one) == repr(other) and one.state_dict().keys() == other.state_dict().keys()


def test_no_weights_are_left_in_the_program() -> None:
    program = scripted(nn.Sequential(Recurrent(nn.LSTM(300, 5))))
    for given in (program, torchscript(program)):
        block = SymbolBlock.from_program(given)
        weights = sum(value.nbytes for value in block.program.parameters())
        assert len(block.get_extra_state()) < 22_000 < weights


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_converted_with_its_lists(module: nn.Module, dtype: torch.dtype) -> None:
    block = SymbolBlock.from_program(scripted(module))
    for each in (copy.deepcopy(block), recovered(block, "engine"), recovered(block, "pickle")):
        each.to(dtype)
        y = each(X.to(dtype))
        assert y.dtype == dtype
        if isinstance(module, Recurrent):  # the others do not set up their lists again themselves
            assert torch.equal(y, copy.deepcopy(module).to(dtype)(X.to(dtype)))
        assert torch.equal(recovered(each, "engine")(X.to(dtype)), y)


def test_tensors_that_somebody_sets_or_exchanges_are_the_ones_that_count() -> None:
    block = SymbolBlock.from_program(scripted(seeded(Listed())))
    block.program.w = nn.Parameter(torch.full((3,), 7.0))
    assert torch.equal(block(torch.ones(3)), torch.full((3,), 7.0))
    other = SymbolBlock()
    other.load_state_dict(torch_file(block))
    # The child alone, too.
    assert torch.equal(other.program(torch.ones(3)), torch.full((3,), 7.0))
    called = torch.func.functional_call(block, {"program.w": torch.full((3,), 2.0)}, (torch.ones(3),))
    assert torch.equal(called, torch.full((3,), 2.0))
    assert torch.equal(block(torch.ones(3)), torch.full((3,), 7.0))


def test_inside_a_network_it_is_one_file(tmp_path: Path) -> None:
    module = seeded(Recurrent(nn.LSTM(3, 5, batch_first=True)))
    net = nn.Sequential(nn.Linear(3, 3), SymbolBlock.from_program(scripted(module)), nn.Linear(2, 2)).eval()
    stepped(net)
    (tmp_path / "net.safetensors").write_bytes(engine_file(net))
    found = nn.Sequential(nn.Linear(3, 3), SymbolBlock(), nn.Linear(2, 2)).eval()
    ENGINE.load_parameters(found, tmp_path / "net.safetensors")
    assert torch.equal(found(X), net(X))


# What cannot be kept ---------------------------------------------------------------------------------------------------


class Loose(Listed):
    """Holds a parameter beside a tensor that nobody saves."""

    def __init__(self) -> None:
        super().__init__()
        self.ws = [self.w, torch.ones(3)]


class Part(Listed):
    def __init__(self) -> None:
        super().__init__()
        self.ws = [self.w.detach()[:1]]


class WithoutGradient(Listed):
    def __init__(self) -> None:
        super().__init__()
        self.ws = [self.w.detach()]


class Plain(nn.Module):
    """An attribute that is no list."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.ws = self.w.detach()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.ws


class Appends(Listed):
    def forward(self, x: Tensor) -> Tensor:
        self.ws.append(x)
        return x * self.ws[0]


class Sets(Listed):
    def forward(self, x: Tensor) -> Tensor:
        y = x * self.ws[0]
        self.ws = [x]
        return y


class SetsBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("b", torch.ones(3))
        self.ws = [self.b]

    def forward(self, x: Tensor) -> Tensor:
        self.b = self.b + 1
        return x * self.ws[0]


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (Loose, "holds parameters or buffers, and other tensors"),
        (Part, "holds a part of a parameter"),
        (WithoutGradient, "one without its gradient"),
        (Plain, "one without its gradient"),
        (Appends, "the code changes ws"),
        (Sets, "the code changes ws"),
        (SetsBuffer, "the code changes b"),
    ],
)
def test_what_cannot_be_kept_right_is_refused_with_the_attribute(make: Callable[[], nn.Module], fact: str) -> None:
    for given in (scripted(make()), torchscript(scripted(make()))):
        with pytest.raises(zoo.ParameterError, match=f"attribute 'ws' .*{fact}.*; use torch.export.export or torch.jit.trace"):
            SymbolBlock.from_program(given)


def test_a_list_that_was_changed_since_is_refused_when_it_is_used_or_saved() -> None:
    block = SymbolBlock.from_program(torchscript(scripted(Listed())))
    block.program.ws = [torch.ones(3), torch.ones(3)]
    with pytest.raises(zoo.ParameterError, match="attribute 'ws' holds parameters or buffers, and the code changed it"):
        block(torch.ones(3))
    with pytest.raises(zoo.ParameterError, match="attribute 'ws' holds parameters or buffers, and the code changed it"):
        torch.save(block.state_dict(), io.BytesIO())


class OfOthers(nn.Module):
    """A list of tensors that are no parameters, in the program as constants are."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.ws = [torch.full((3,), 2.0)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.ws[0] * self.w


def test_a_list_of_other_tensors_stays_in_the_program_and_fixes_its_dtype() -> None:
    block = SymbolBlock.from_program(scripted(OfOthers()))
    for way in ("engine", "deepcopy", "pickle"):
        assert torch.equal(recovered(block, way)(torch.ones(3)), torch.full((3,), 2.0))
    with pytest.raises(zoo.ParameterError, match="attribute ws fixes its dtype"):
        block.half()
    assert block.program.w.dtype == torch.float32


def test_a_program_without_forward_says_so() -> None:
    program = scripted(nn.LSTM(8, 8))
    for given in (program, torchscript(program)):
        with pytest.raises(zoo.ParameterError, match="has no method 'forward', only forward__1, forward__0, "):
            SymbolBlock.from_program(given)
    with pytest.raises(zoo.ParameterError, match="has no method 'forward', no method at all"):
        SymbolBlock.from_program(scripted(nn.ParameterList([nn.Parameter(torch.ones(1))])))
