"""Whatever a tree of imperative and symbolic blocks looks like, one file recovers it to the bit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
make = pytest.importorskip("tests.engines.mxnet.symbolic")
engines = pytest.importorskip("zoo_mxnet.engine")
mx, nn, SymbolBlock = framework.mx, framework.nn, make.SymbolBlock

#: Every block takes and gives rows of so many values, so that any tree is a network.
WIDTH = 3
ROWS = np.random.default_rng(1).normal(size=(4, WIDTH)).astype(np.float32)

PROGRAMS = ("dense", "normalised", "residual", "two layers")

#: A tree: a layer, a program by its name and the number of its weights, blocks in a row, or two that are added.
LEAVES = st.one_of(
    st.just(("layer",)),
    st.just(("norm",)),
    st.tuples(st.just("program"), st.sampled_from(PROGRAMS), st.integers(0, 3)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("row"), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("sum"), inner, inner),
    ),
    max_leaves=6,
)


class Root(mx.gluon.Block):
    """A tree and a layer behind it, in a block that is not compiled."""

    def __init__(self, tree: Any, *, empty: bool) -> None:
        super().__init__()
        self.tree = build(tree, empty=empty)
        self.head = nn.Dense(WIDTH, in_units=WIDTH)

    def forward(self, x: Any) -> Any:
        return self.head(self.tree(x))


class Sum(framework.HybridBlock):
    """Two blocks on one input, added."""

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__()
        self.one, self.other = one, other

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.one(x) + self.other(x)


def program(name: str) -> Any:
    data = mx.sym.var("data")
    dense = mx.sym.FullyConnected(data, num_hidden=WIDTH, name="fc")
    match name:
        case "dense":
            return dense
        case "normalised":
            return mx.sym.BatchNorm(dense, fix_gamma=False, name="bn")
        case "residual":
            return mx.sym.elemwise_add(data, mx.sym.Activation(dense, act_type="tanh"))
        case _:
            return mx.sym.FullyConnected(mx.sym.relu(dense), num_hidden=WIDTH, no_bias=True, name="fc1")


def shapes(symbol: Any) -> dict[str, tuple[int, ...]]:
    arguments, _, states = symbol.infer_shape(data=(1, WIDTH))
    names = (*symbol.list_arguments(), *symbol.list_auxiliary_states())
    return {name: shape for name, shape in zip(names, (*arguments, *states), strict=True) if name != "data"}


def symbolic(name: str, seed: int) -> Any:
    draw, symbol = np.random.default_rng(seed), program(name)
    weights = {weight: draw.uniform(0.1, 1, shape).astype(np.float32) for weight, shape in shapes(symbol).items()}
    return SymbolBlock.from_program(symbol, parameters=weights)


def build(tree: Any, *, empty: bool) -> Any:
    match tree:
        case ("layer",):
            return nn.Dense(WIDTH, in_units=WIDTH)
        case ("norm",):
            return nn.BatchNorm(in_channels=WIDTH)
        case ("program", name, seed):
            return SymbolBlock() if empty else symbolic(name, seed)
        case ("sum", one, other):
            return Sum(build(one, empty=empty), build(other, empty=empty))
        case ("row", children):
            row = nn.HybridSequential()
            for child in children:
                row.add(build(child, empty=empty))
            return row
    raise AssertionError(tree)


def initialize(block: Any) -> None:
    if isinstance(block, nn.Dense | nn.BatchNorm):
        block.initialize()
    for child in block._children.values():
        initialize(child)


def saved_by_engine(net: Any, tmp_path: Any) -> bytes:
    stream = io.BytesIO()
    engines.MXNetEngine().save_parameters(net, stream, {})
    return stream.getvalue()


def saved_by_gluon(net: Any, tmp_path: Any) -> bytes:
    path = tmp_path / "net.params"
    net.save_parameters(str(path))
    return path.read_bytes()


@pytest.mark.parametrize("save", [saved_by_engine, saved_by_gluon], ids=["engine", "gluon"])
def test_any_tree_is_recovered_to_the_bit(save: Callable[[Any, Any], bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("trees")

    @settings(max_examples=25, deadline=None)
    @given(tree=TREES, compiled=st.booleans(), trained=st.booleans())
    def check(tree: Any, compiled: bool, trained: bool) -> None:
        net = Root(tree, empty=False)
        initialize(net)
        if trained:
            trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1e-3})
            with mx.autograd.record():
                loss = (net(mx.nd.array(ROWS)) ** 2).mean()
            loss.backward()
            trainer.step(1)
        recovered = Root(tree, empty=True)

        assert not engines.MXNetEngine().load_parameters(recovered, save(net, folder))

        if compiled:
            recovered.hybridize()
        make.assert_same_bits(make.values(recovered), make.values(net))
        assert make.run(recovered, ROWS).tobytes() == make.run(net, ROWS).tobytes()

    check()
