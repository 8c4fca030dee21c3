"""Random trees of imperative and symbolic blocks: what is saved is recovered in the empty structure, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import SymbolBlock  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

from tests.engines.pytorch.kinds import KINDS  # noqa: E402
from tests.engines.pytorch.symbolic import assert_same_state, seeded, symbol  # noqa: E402

ENGINE = PyTorchEngine()
#: Every part takes and gives so many features, so that any order of them is a network.
WIDTH = 4

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, WIDTH)), nn.Conv1d(1, 1, 3, padding=1), nn.Flatten()),
    "norm": lambda: nn.BatchNorm1d(WIDTH),
    "relu": nn.ReLU,
    "dropout": lambda: nn.Dropout(0.3),
}


class Residual(nn.Module):
    """What a program is made of: a layer, a norm and dropout around a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.drop(torch.tanh(self.norm(self.fc(x))))
        return y


@dataclass(frozen=True)
class Part:
    """A node of a recipe.

    Attributes:
        kind: A layer, a kind of program, "nested" or "shared", which is the first part once more.
        seed: Of a program's values.
        parts: What is nested.
    """

    kind: str
    seed: int = 0
    parts: tuple[Part, ...] = ()


@cache
def program(kind: str, seed: int) -> bytes:
    """A state with a program and its weights, made once."""
    stream = io.BytesIO()
    torch.save(symbol(kind, seeded(Residual(), seed), torch.ones(2, WIDTH)).state_dict(), stream)
    return stream.getvalue()


def symbolic(part: Part) -> SymbolBlock:
    block = SymbolBlock()
    block.load_state_dict(torch.load(io.BytesIO(program(part.kind, part.seed)), weights_only=True))
    return block


def build(recipe: Part, holder: Callable[[Part], nn.Module]) -> nn.Module:
    """A network of a recipe; `holder` makes its symbolic parts."""
    made: list[nn.Module] = []

    def one(part: Part) -> nn.Module:
        if part.kind == "shared" and made:
            return made[0]
        if part.kind == "nested":
            return nn.Sequential(*map(one, part.parts))
        found = holder(part) if part.kind in KINDS else LAYERS.get(part.kind, nn.Identity)()
        made.append(found)
        return found

    return one(recipe)


leaves = st.builds(Part, kind=st.sampled_from([*LAYERS, "shared"])) | st.builds(
    Part, kind=st.sampled_from(KINDS), seed=st.integers(0, 1)
)
recipes = st.recursive(
    leaves,
    lambda inner: st.builds(Part, kind=st.just("nested"), parts=st.lists(inner, min_size=1, max_size=4).map(tuple)),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recipe=recipes, seed=st.integers(0, 3), on_meta=st.booleans(), steps=st.integers(0, 1))
def test_a_tree_is_recovered_from_its_file(recipe: Part, seed: int, on_meta: bool, steps: int) -> None:
    torch.manual_seed(seed)
    root = Part("nested", parts=(recipe, Part("linear")))
    net = build(root, symbolic)
    for _ in range(steps):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        net.train()(torch.rand(5, WIDTH)).square().mean().backward()
        optimizer.step()
    net.eval()

    stream = io.BytesIO()
    ENGINE.save_parameters(net, stream, {})
    make = lambda: build(root, lambda _: SymbolBlock())  # noqa: E731
    found = build_on_meta(make) if on_meta else make()
    ENGINE.load_parameters(found, stream.getvalue())
    found.eval()

    x = torch.rand(3, WIDTH)
    assert_same_state(found, net)
    assert torch.equal(found(x), net(x))
    assert ENGINE.programs(found) == ENGINE.programs(net)
    assert len(list(found.parameters())) == len(list(net.parameters()))

    again = make()
    again.load_state_dict(net.state_dict(), assign=on_meta)
    assert torch.equal(again.eval()(x), net(x))
