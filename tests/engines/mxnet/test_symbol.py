"""A SymbolBlock is a Gluon block like any other: it trains, compiles, converts, is copied and is cut."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoo_core import InputError, ParameterError, factory_of

if TYPE_CHECKING:
    from collections.abc import Callable

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
make = pytest.importorskip("tests.engines.mxnet.symbolic")
mx, nn, SymbolBlock = framework.mx, framework.nn, make.SymbolBlock

WEIGHTS = {
    "pub_conv0_weight", "pub_batchnorm0_gamma", "pub_batchnorm0_beta", "pub_batchnorm0_running_mean",
    "pub_batchnorm0_running_var", "pub_dense0_weight", "pub_dense0_bias",
}  # fmt: skip


# Making.


def test_it_computes_what_the_symbol_says_to_the_bit() -> None:
    assert make.run(make.filled()).tobytes() == make.run(make.published()).tobytes()


def test_its_weights_have_the_symbols_names_and_its_program_is_one_more_parameter() -> None:
    block = make.filled()

    named = block._collect_params_with_prefix()

    assert named.keys() == {*WEIGHTS, "_extra_state"}
    assert {name for name in named if named[name].grad_req == "null"} == {
        "_extra_state", "pub_batchnorm0_running_mean", "pub_batchnorm0_running_var",
    }  # fmt: skip
    assert bytes(named["_extra_state"].data().asnumpy()) == block.program


def test_training_sees_the_weights_and_not_the_program() -> None:
    names = list(make.filled().collect_params())

    assert len(names) == len(WEIGHTS)
    assert not any("_extra_state" in name for name in names)


@pytest.mark.parametrize("beside", [True, False], ids=["params beside", "params named"])
def test_the_files_that_gluon_exports_make_it(tmp_path: Path, beside: bool) -> None:
    path = make.exported(tmp_path)
    if not beside:
        (tmp_path / "net-0000.params").rename(tmp_path / "else.params")

    block = SymbolBlock.from_program(path, parameters=None if beside else tmp_path / "else.params")

    assert make.run(block).tobytes() == make.run(make.published()).tobytes()


def test_text_and_arrays_make_it() -> None:
    weights = {f"arg:{name}": value for name, value in make.values(make.filled()).items() if name != "_extra_state"}

    block = SymbolBlock.from_program(make.symbol().tojson().encode(), parameters=weights)

    assert make.run(block).tobytes() == make.run(make.published()).tobytes()


def test_given_arrays_are_copied() -> None:
    weights = {name: value for name, value in make.values(make.filled()).items() if name != "_extra_state"}
    block = SymbolBlock.from_program(make.symbol(), parameters=weights)
    before = make.run(block)

    weights["pub_dense0_bias"][:] = 7

    assert make.run(block).tobytes() == before.tobytes()


def test_without_weights_it_is_initialized_as_a_fresh_network() -> None:
    block = SymbolBlock.from_program(make.symbol())

    block.initialize()
    make.run(block)

    held = make.values(block)
    assert (held["pub_batchnorm0_running_var"] == 1).all()
    assert (held["pub_batchnorm0_gamma"] == 1).all()
    assert not held["pub_dense0_bias"].any()
    assert held["pub_dense0_weight"].any()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda weights: weights.pop("pub_dense0_bias"), "has no pub_dense0_bias"),
        (lambda weights: weights.update(other=np.ones(2, np.float32)), "has other, which the symbol has not"),
        (lambda weights: weights.update(pub_dense0_bias=np.ones(4, np.float32)), r"\[4\]; the symbol says \[5\]"),
        (lambda weights: weights.update(pub_dense0_bias=np.float32(1)), r"pub_dense0_bias is float32\[\]"),
    ],
    ids=["missing", "superfluous", "another shape", "no axes"],
)
def test_weights_that_do_not_fit_are_an_error_that_names_them(change: Callable[[Any], Any], found: str) -> None:
    weights = {name: value for name, value in make.values(make.filled()).items() if name != "_extra_state"}
    change(weights)

    with pytest.raises(ParameterError, match=found):
        SymbolBlock.from_program(make.symbol(), parameters=weights, inputs=("data",))


def test_several_inputs_go_in_the_order_that_was_named() -> None:
    one, other = mx.sym.var("one"), mx.sym.var("other")
    program = (mx.sym.broadcast_sub(one, other)).tojson().encode()

    block = SymbolBlock.from_program(program, inputs=("other", "one"))

    assert block.inputs == ("other", "one")
    assert make.run(block, np.float32([[1]]), np.float32([[5]])).tolist() == [[4]]


def test_inputs_are_the_variables_without_values() -> None:
    data, weight = mx.sym.var("pixels"), mx.sym.var("w")

    block = SymbolBlock.from_program(mx.sym.broadcast_mul(data, weight), parameters={"w": np.float32([2])})

    assert block.inputs == ("pixels",)


def test_where_nothing_says_what_the_inputs_are_the_variables_are_named() -> None:
    program = mx.sym.broadcast_mul(mx.sym.var("a"), mx.sym.var("b"))

    with pytest.raises(ParameterError, match=r"say which are its inputs, inputs=\(...\), of a, b"):
        SymbolBlock.from_program(program)
    with pytest.raises(ParameterError, match=r"inputs=\['c'\]; its variables are a, b"):
        SymbolBlock.from_program(program, inputs=("c",))


def test_several_outputs_are_a_list() -> None:
    data = mx.sym.var("data")

    block = SymbolBlock.from_program(mx.sym.Group([data * 2, data + 1]))

    assert [output.asnumpy().tolist() for output in block(mx.nd.array([3.0]))] == [[6], [4]]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda x: mx.sym.SoftmaxOutput(x, name="softmax"), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        (lambda x: mx.sym.LogisticRegressionOutput(x, name="out"), lambda x: 1 / (1 + np.exp(-x))),
        (lambda x: mx.sym.LinearRegressionOutput(x, name="out"), lambda x: x),
    ],
    ids=["softmax", "logistic", "linear"],
)
def test_a_loss_at_the_end_becomes_its_prediction(loss: Callable[[Any], Any], expected: Callable[[Any], Any]) -> None:
    x = np.float32([[1, 2, 3], [0, 0, 1]])

    block = SymbolBlock.from_program(loss(mx.sym.var("data")))

    assert block.inputs == ("data",)
    assert np.allclose(make.run(block, x), expected(x), rtol=1e-6)


def test_an_old_file_is_brought_into_todays_form() -> None:
    # As MXNet 0.8 wrote it: "param" and "attr", no version, no running statistics among the inputs.
    old = b"""{"nodes": [
      {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
      {"op": "null", "param": {}, "name": "bn_gamma", "inputs": [], "backward_source_id": -1, "attr": {"lr_mult": "2"}},
      {"op": "null", "param": {}, "name": "bn_beta", "inputs": [], "backward_source_id": -1},
      {"op": "BatchNorm", "param": {"eps": "0.001", "fix_gamma": "False"}, "name": "bn", "inputs": [[0, 0], [1, 0], [2, 0]],
       "backward_source_id": -1, "attr": {"ctx_group": "a"}},
      {"op": "_Plus", "param": {}, "name": "sum", "inputs": [[3, 0], [0, 0]], "backward_source_id": -1}],
      "arg_nodes": [0, 1, 2], "heads": [[4, 0]]}"""

    block = SymbolBlock.from_program(old)
    block.initialize()

    assert sorted(block.filled.weights) == ["bn_beta", "bn_gamma", "bn_moving_mean", "bn_moving_var"]
    assert np.allclose(make.run(block, np.float32([[1], [3]])), np.float32([[1], [3]]) * (1 + 1 / np.sqrt(1.001)))


def test_an_empty_holder_says_how_to_fill_it() -> None:
    assert repr(SymbolBlock()) == "SymbolBlock(empty)"
    with pytest.raises(ParameterError, match=r"SymbolBlock is empty: fill it with zoo_mxnet\.load_parameters"):
        make.run(SymbolBlock())


def test_another_number_of_inputs_is_refused() -> None:
    with pytest.raises(InputError, match=r"SymbolBlock takes 1 input \(data\); 2 were given"):
        make.run(make.filled(), make.PICTURES, make.PICTURES)


def test_it_knows_its_factory() -> None:
    assert type(factory_of(make.filled())).__name__ == "Symbol"
    assert factory_of(SymbolBlock()) == factory_of(make.filled())


# Running.


@pytest.mark.parametrize("options", [{}, {"static_alloc": True}, {"static_alloc": True, "static_shape": True}], ids=str)
def test_compiled_it_gives_the_same(options: dict[str, Any]) -> None:
    net = make.combined()
    before = make.run(net)

    net.hybridize(**options)

    assert make.run(net).tobytes() == before.tobytes()
    assert make.run(net, make.PICTURES[:1]).shape == (1, 7)


@pytest.mark.parametrize("hybrid", [False, True], ids=["imperative", "compiled"])
def test_training_moves_every_weight_and_leaves_the_program(hybrid: bool) -> None:
    net = make.combined()
    net.hybridize(hybrid)
    before = make.values(net)

    make.train(net)

    after = make.values(net)
    still = {name for name in before if before[name].tobytes() == after[name].tobytes()}
    assert still == {"1.one._extra_state", "1.other.0._extra_state"}


def test_training_equals_that_of_the_network_itself() -> None:
    ours, theirs = make.filled(), make.published()

    make.train(ours, 3)
    make.train(theirs, 3)

    assert make.run(ours).tobytes() == make.run(theirs).tobytes()


def test_a_compiled_parent_infers_the_shapes_of_its_own_layers() -> None:
    net = nn.HybridSequential()
    net.add(make.filled(), nn.Dense(2))
    net[1].initialize()
    net.hybridize()

    assert make.run(net).shape == (2, 2)


def test_two_of_one_program_live_in_one_model() -> None:
    pair = make.Both(make.filled(1), make.filled(2))

    assert len(list(pair.collect_params())) == 2 * len(WEIGHTS)
    assert make.run(pair).tobytes() == np.concatenate([make.run(make.filled(1)), make.run(make.filled(2))], 1).tobytes()


def test_one_block_in_two_places_shares_its_weights() -> None:
    block = make.filled()
    pair = make.Both(block, block)

    assert len(list(pair.collect_params())) == len(WEIGHTS)


def test_float64_computes_in_float64() -> None:
    net = make.combined()
    before = make.run(net)

    net.cast("float64")
    after = make.run(net, make.PICTURES.astype(np.float64))

    assert after.dtype == np.float64
    assert np.allclose(after, before, rtol=1e-4)
    assert net[1].one._collect_params_with_prefix()["_extra_state"].data().dtype == np.uint8


def test_float16_leaves_batch_norms_and_the_program_as_they_are() -> None:
    block = make.filled()

    block.cast("float16")

    dtypes = {name: np.dtype(parameter.dtype).name for name, parameter in block._collect_params_with_prefix().items()}
    assert {name for name, dtype in dtypes.items() if dtype == "float16"} == {
        "pub_conv0_weight", "pub_dense0_weight", "pub_dense0_bias",
    }  # fmt: skip
    assert dtypes["_extra_state"] == "uint8"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_copies_compute_the_same_and_train_on_their_own(copied: Callable[[Any], Any], used: bool) -> None:
    block = make.filled()
    block.hybridize(static_alloc=True)
    if used:
        make.train(block)
    expected, before = make.run(make.filled()) if not used else make.run(block), make.values(block)

    other = copied(block)

    assert make.run(other).tobytes() == expected.tobytes()
    make.train(other)
    assert make.values(other)["pub_conv0_weight"].tobytes() != before["pub_conv0_weight"].tobytes()
    make.assert_same_bits(make.values(block), before)


def test_a_copied_model_keeps_what_it_shares() -> None:
    block = make.filled()
    net = nn.HybridSequential()
    net.add(make.Both(block, block.remove_last_block()))

    other = copy.deepcopy(net)

    assert len(list(other.collect_params())) == len(WEIGHTS)


def test_an_empty_holder_can_be_copied() -> None:
    assert copy.deepcopy(SymbolBlock()).program is None


def test_it_is_exported_under_the_symbols_own_names(tmp_path: Path) -> None:
    block = make.filled()

    block.export(str(tmp_path / "net"), epoch=3)

    with warnings.catch_warnings():
        # Gluon cannot tell the input's type, and says so.
        warnings.simplefilter("ignore", UserWarning)
        again = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0003.params"))
    assert make.run(again).tobytes() == make.run(block).tobytes()


def test_a_model_around_it_is_exported_as_one_symbol(tmp_path: Path) -> None:
    net = make.combined()
    net.hybridize()
    expected = make.run(net)

    net.export(str(tmp_path / "net"))

    again = SymbolBlock.from_program(tmp_path / "net-symbol.json")
    assert make.run(again).tobytes() == expected.tobytes()


def test_a_shape_that_does_not_fit_is_an_error_and_does_not_end_the_process() -> None:
    data = mx.sym.var("data")
    reshaped = SymbolBlock.from_program(mx.sym.reshape(data, shape=(2, 3)))
    chosen = SymbolBlock.from_program(mx.sym.where(mx.sym.var("c"), data, data), inputs=("c", "data"))

    with pytest.raises(mx.MXNetError):
        make.run(reshaped, make.PICTURES)
    with pytest.raises(mx.MXNetError):
        make.run(chosen, np.ones((2, 3), np.float32), np.ones((4,), np.float32))
    assert make.run(reshaped, np.arange(6, dtype=np.float32)).shape == (2, 3)
    assert make.run(chosen, np.float32([1, 0]), np.float32([5, 6])).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("shape", "reverse"),
    [
        ((0, -1), False),
        ((-1, 0), True),
        ((0, -3, 0), False),
        ((0, -4, 1, 3, -2), False),
        ((-2, 1), False),
        ((-4, -1, 2, -2), False),
    ],
    ids=str,
)
def test_reshape_keeps_its_special_numbers(shape: tuple[int, ...], reverse: bool) -> None:
    block = SymbolBlock.from_program(mx.sym.reshape(mx.sym.var("data"), shape=shape, reverse=reverse))

    expected = mx.nd.reshape(mx.nd.array(make.PICTURES), shape=shape, reverse=reverse).asnumpy()
    assert make.run(block).shape == expected.shape
    assert make.run(block).tobytes() == expected.tobytes()


# Cutting.


def test_outputs_are_what_is_computed_on_the_way() -> None:
    assert make.filled().outputs == (
        "pub_conv0_fwd_output", "pub_batchnorm0_fwd_output", "pub_relu0_fwd_output", "pub_flatten0_flatten0_output",
        "pub_dense0_fwd_output",
    )  # fmt: skip


@pytest.mark.parametrize("output", ["pub_relu0_fwd_output", "pub_relu0_fwd"])
def test_cut_at_an_output_it_gives_that(output: str) -> None:
    net = make.published()

    block = SymbolBlock.from_program(make.symbol(), parameters=net.collect_params(), output=output)

    middle = mx.nd.array(make.PICTURES)
    for layer in list(net)[:3]:
        middle = layer(middle)
    assert make.run(block).tobytes() == middle.asnumpy().tobytes()
    assert "pub_dense0_weight" not in block.filled.weights


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("nothing", "no output is named 'nothing'; the program has pub_batchnorm0_fwd_output, "),
        ("pub_relu_fwd", r"no output is named 'pub_relu_fwd' \(did you mean pub_relu0_fwd_output\b"),
    ],
)
def test_an_unknown_output_lists_those_that_are_and_offers_the_nearest(output: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        SymbolBlock.from_program(make.symbol(), output=output)


@pytest.mark.parametrize(
    ("program", "found"),
    [
        (
            lambda: nn.Dense(3),
            r"Dense is code and no program: hybridize\(\) it, run it once, block\.export\('name'\), and give "
            r"SymbolBlock\.from_program\('name-symbol\.json', parameters='name-0000\.params'\)",
        ),
        (lambda: 3, "a program is a Symbol, or the path or bytes of a -symbol.json file; this is int"),
    ],
    ids=["a block", "a number"],
)
def test_what_is_no_program_is_an_error_that_says_what_to_give(program: Callable[[], Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        SymbolBlock.from_program(program())


def test_without_its_last_block_it_gives_the_features_and_shares_the_weights() -> None:
    block = make.filled()

    features = block.remove_last_block()

    cut = SymbolBlock.from_program(
        make.symbol(), parameters=make.published().collect_params(), output="pub_flatten0_flatten0_output"
    )
    assert make.run(features).tobytes() == make.run(cut).tobytes()
    assert features.filled.weights.keys() == WEIGHTS - {"pub_dense0_weight", "pub_dense0_bias"}
    assert features.filled.weights["pub_conv0_weight"] is block.filled.weights["pub_conv0_weight"]
    assert make.run(block).shape == (2, 5)


def test_what_has_no_last_block_says_so() -> None:
    with pytest.raises(InputError, match="one output and several operators; this one has 1 and 1: cut it"):
        SymbolBlock.from_program(mx.sym.var("data") + 1).remove_last_block()


@pytest.mark.parametrize(
    "name",
    ["alexnet", "densenet121", "inception_v3", "mobilenet0_25", "mobilenet_v2_0_25", "resnet18_v1", "resnet18_v2",
     "squeezenet1_0", "vgg11_bn"],
)  # fmt: skip
def test_published_architectures_pass_the_inspection(name: str) -> None:
    net = getattr(mx.gluon.model_zoo.vision, name)()
    theirs = net(mx.sym.var("data"))

    block = SymbolBlock.from_program(theirs)

    assert block.filled.weights.keys() == {*theirs.list_arguments(), *theirs.list_auxiliary_states()} - {"data"}
    assert SymbolBlock.from_program(block.program).program == block.program
