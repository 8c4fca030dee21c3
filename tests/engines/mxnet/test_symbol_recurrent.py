"""Recurrent layers in a SymbolBlock: their first states have sizes that MXNet infers, their parameters are packed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
make = pytest.importorskip("tests.engines.mxnet.symbolic")
mx, nn, SymbolBlock = framework.mx, framework.nn, make.SymbolBlock
rnn = mx.gluon.rnn

#: float32[batch or time, time or batch, features], and more of them.
SEQUENCES = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
MORE = np.random.default_rng(2).normal(size=(7, 4, 5)).astype(np.float32)

LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: rnn.LSTM(8, layout="NTC", input_size=5),
    "GRU": lambda: rnn.GRU(8, layout="NTC", input_size=5),
    "tanh": lambda: rnn.RNN(8, activation="tanh"),
    "relu": lambda: rnn.RNN(8),
    "input size to be inferred": lambda: rnn.LSTM(8),
    "both directions": lambda: rnn.LSTM(6, num_layers=2, bidirectional=True),
    "three layers of GRU": lambda: rnn.GRU(6, num_layers=3, bidirectional=True, layout="NTC"),
    "dropout": lambda: rnn.LSTM(8, num_layers=2, dropout=0.5),
}


def network(layer: Any) -> Any:
    """A recurrent layer and what uses all its steps, with the same values every time."""
    net = nn.HybridSequential(prefix="seq_")
    with net.name_scope():
        net.add(layer, nn.Dense(3, flatten=False))
    net.initialize()
    make.run(net, SEQUENCES)
    draw = np.random.default_rng(4)
    for _, parameter in sorted(net._collect_params_with_prefix().items()):
        parameter.set_data(mx.nd.array(draw.normal(0, 0.3, parameter.shape).astype(np.float32)))
    return net


def exported(folder: Path, layer: Any) -> tuple[str, str]:
    net = network(layer)
    net.hybridize()
    make.run(net, SEQUENCES)
    net.export(str(folder / "net"))
    return str(folder / "net-symbol.json"), str(folder / "net-0000.params")


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_what_gluon_exports_computes_what_gluon_computes_to_the_bit(tmp_path: Path, layer: Callable[[], Any]) -> None:
    symbol, parameters = exported(tmp_path, layer())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gluon cannot decide the type of its input
        theirs = mx.gluon.SymbolBlock.imports(symbol, ["data"], parameters)

    ours = SymbolBlock.from_program(symbol, parameters=parameters)

    for given in (SEQUENCES, MORE, SEQUENCES):
        assert make.run(ours, given).tobytes() == make.run(theirs, given).tobytes()


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "both directions"])
def test_training_equals_that_of_the_network_itself_and_moves_every_weight(tmp_path: Path, layer: str) -> None:
    ours = SymbolBlock.from_program(exported(tmp_path, LAYERS[layer]())[0])
    theirs = network(LAYERS[layer]())
    before = make.values(ours)

    for block in (ours, theirs):
        trainer = mx.gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9})
        for _ in range(2):
            with mx.autograd.record():
                loss = (block(mx.nd.array(SEQUENCES)) ** 2).mean()
            loss.backward()
            trainer.step(1)

    assert make.run(ours, SEQUENCES).tobytes() == make.run(theirs, SEQUENCES).tobytes()
    assert [name for name, value in make.values(ours).items() if (value == before[name]).all()] == ["_extra_state"]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_model_around_it_is_recovered_from_one_file(engine: Any, tmp_path: Path, layer: Callable[[], Any]) -> None:
    def around(block: Any) -> Any:
        net = nn.HybridSequential()
        net.add(nn.Dense(5, flatten=False, in_units=5), block, nn.Dense(2, flatten=False, in_units=3))
        return net

    model = around(SymbolBlock.from_program(exported(tmp_path, layer())[0]))
    for end in (model[0], model[2]):
        end.initialize()
    engine.save_parameters(model, tmp_path / "model.safetensors", {})

    recovered = around(SymbolBlock())
    engine.load_parameters(recovered, tmp_path / "model.safetensors")

    for _ in range(2):
        assert make.run(recovered, SEQUENCES).tobytes() == make.run(model, SEQUENCES).tobytes()
        recovered.hybridize()


def test_fresh_weights_take_their_sizes_from_the_sequences() -> None:
    block = SymbolBlock.from_program(network(rnn.LSTM(8))(mx.sym.var("data")))

    block.initialize()
    make.run(block, SEQUENCES)

    (weight,) = (value for name, value in make.values(block).items() if name.endswith("l0_i2h_weight"))
    assert weight.shape == (32, 5)
    assert weight.any()


def test_a_compiled_parent_infers_the_sizes_of_what_follows_it() -> None:
    net = nn.HybridSequential()
    net.add(SymbolBlock.from_program(network(rnn.GRU(8))(mx.sym.var("data"))), nn.Dense(2))
    net.initialize()
    net.hybridize()

    assert make.run(net, SEQUENCES).shape == (3, 2)
    assert net[1].weight.shape == (2, 4 * 3)


@pytest.mark.parametrize(
    "program",
    [
        lambda data: mx.sym.broadcast_add(data, mx.sym.zeros((0, 0))),
        lambda data: mx.sym.Group([data * 2, mx.sym.ones((0, 3))]),
        lambda data: mx.sym.dot(data, mx.sym.full((0, 0), 2)),
        lambda data: mx.sym.concat(data, mx.sym.zeros((2, 0)), dim=1),
        lambda data: mx.sym.where(mx.sym.zeros((0, 0)), data, data),
        lambda data: mx.sym.tile(mx.sym.zeros((0,)), reps=(3,)) + mx.sym.sum(data),
    ],
    ids=["broadcast", "alone", "a product", "joined", "a condition", "repeated"],
)
def test_a_size_that_nothing_tells_is_an_error_when_the_program_is_run(program: Callable[[Any], Any]) -> None:
    block = SymbolBlock.from_program(program(mx.sym.var("data")))

    with pytest.raises((mx.MXNetError, ValueError, AssertionError)):
        make.run(block, np.ones((2, 3), np.float32))


OVERFLOW = """
from zoo_mxnet import SymbolBlock
from zoo_mxnet.framework import mx

# The parameters of such a step are 2**32 more than there are, which 32 bits do not tell apart.
state, features = 2**14, 2**18 + 1 - 2**14 - 2
data, weights = (mx.sym.cast(mx.sym.var(name), dtype="float64") for name in ("data", "weights"))
symbol = mx.sym.RNN(
    data, weights, mx.sym.zeros((1, 0, state), dtype="float64"), state_size=state, num_layers=1, mode="rnn_tanh"
)
block = SymbolBlock.from_program(symbol, parameters={"weights": mx.nd.zeros(2**14)})
try:
    block(mx.nd.ones((1, 1, features))).asnumpy()
except mx.MXNetError as error:
    print("refused" if "size 245759" in str(error) else error)
"""


def test_a_step_of_so_many_features_that_the_count_of_parameters_overflows_is_an_error_and_no_signal() -> None:
    assert make.in_fresh_process(OVERFLOW).split() == ["refused"]


def test_parameters_of_another_number_are_an_error() -> None:
    symbol = mx.sym.RNN(
        mx.sym.var("data"), mx.sym.var("w"), mx.sym.zeros((0, 0, 0)), state_size=4, num_layers=1, mode="gru", name="gru"
    )
    block = SymbolBlock.from_program(symbol, parameters={"w": np.ones(7, np.float32)})

    with pytest.raises(mx.MXNetError, match="Shape inconsistent"):
        make.run(block, SEQUENCES)
