"""MXNetEngine runs Gluon blocks in evaluation and says what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from zoo_core import Device, InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
factories = pytest.importorskip("zoo_mxnet.factories")
mx, nn = framework.mx, framework.nn

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_it_names_its_framework(engine: Any) -> None:
    assert (engine.name, engine.version()) == ("MXNet", mx.__version__)


def test_it_owns_gluon_blocks_and_nothing_else(engine: Any) -> None:
    assert engine.owns(nn.Dense(2))
    assert not engine.owns(mx.sym.var("x"))
    assert not engine.owns(None)


def test_building_a_network_allocates_no_parameters(engine: Any) -> None:
    block = engine.build(factories.ResNetV1(layers=152), None, None, {})

    with pytest.raises(RuntimeError, match="has not been initialized"):
        block.fc.weight.data()


def test_it_reads_parameter_files_whatever_they_are_called(
    engine: Any, tmp_path: Path, parameter_file: Callable[..., Path]
) -> None:
    mx.nd.save(str(tmp_path / "a"), {"x": mx.nd.ones((1,))})
    (tmp_path / "b.params").write_bytes(b"no parameters")

    assert engine.reads(parameter_file({"x": X}))
    assert engine.reads(tmp_path / "a")
    assert not engine.reads(tmp_path / "b.params")
    assert not engine.reads(tmp_path / "missing.params")


def test_a_device_that_is_not_there_is_refused_with_those_that_are(engine: Any, parameter_file: Callable[..., Path]) -> None:
    there = ", ".join(engine.devices())

    with pytest.raises(InputError, match=f"device gpu:999: MXNet has {there} here"):
        engine.load_parameters(nn.Dense(1), parameter_file({"weight": X}), device=Device("gpu", 999))


def test_forward_never_writes_to_its_input(engine: Any) -> None:
    class Doubles(nn.Block):
        def forward(self, x: Any) -> Any:
            x *= 2
            return x

    x = X.copy()

    y = engine.forward(Doubles(), {"x": x})["output"]

    np.testing.assert_array_equal(y, X * 2)
    np.testing.assert_array_equal(x, X)
    assert x.flags.writeable


@pytest.mark.parametrize(
    "x", [X.astype(np.float64), np.asfortranarray(X), X[::-1], X.astype(np.float16)], ids=["float64", "F", "view", "float16"]
)
def test_inputs_are_converted_to_the_parameters_dtype_and_layout(x: Any, engine: Any) -> None:
    block = nn.Dense(2, in_units=3)
    block.initialize(mx.init.One())

    y = engine.forward(block, {"x": x})["output"]

    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[:, 0], x.sum(1))


def test_integer_inputs_stay_integers(engine: Any) -> None:
    block = nn.Embedding(4, 3)
    block.initialize(mx.init.One())

    y = engine.forward(block, {"tokens": np.array([[3, 0]], np.int64)})["output"]

    assert y.shape == (1, 2, 3)


@pytest.mark.parametrize("hybridize", ["true", "false"])
def test_any_batch_size_runs_one_after_the_other(hybridize: str, engine: Any) -> None:
    block = factories.MLP(inputs=3, hidden=(4,), outputs=2).network()
    block.initialize()
    engine.prepare(block, {"hybridize": hybridize})

    assert [engine.forward(block, {"x": np.ones((n, 3), np.float32)})["output"].shape for n in (2, 1, 5)] == [
        (2, 2),
        (1, 2),
        (5, 2),
    ]


def test_dropout_is_off_and_batch_norm_uses_its_running_statistics(engine: Any) -> None:
    from zoo_mxnet.layers import BatchNorm

    block = nn.HybridSequential()
    block.add(BatchNorm(3, epsilon=0), nn.Dropout(0.9))
    block.initialize()

    np.testing.assert_array_equal(engine.forward(block, {"x": X})["output"], X)


def test_outputs_are_numbered_or_have_the_blocks_own_names(engine: Any) -> None:
    class Returns(nn.Block):
        def __init__(self, shape: Callable[[Any], Any]) -> None:
            super().__init__()
            self._shape = shape

        def forward(self, x: Any) -> Any:
            return self._shape(x)

    def names(shape: Callable[[Any], Any]) -> list[str]:
        return list(engine.forward(Returns(shape), {"x": X}))

    assert names(lambda x: x) == ["output"]
    assert names(lambda x: (x, x)) == ["output_0", "output_1"]
    assert names(lambda x: [x, (x, x)]) == ["output_0", "output_1_0", "output_1_1"]
    assert names(lambda x: {"boxes": x, "scores": x}) == ["boxes", "scores"]


def test_inputs_are_given_in_their_order(engine: Any) -> None:
    class Minus(nn.HybridBlock):
        def hybrid_forward(self, F: Any, a: Any, b: Any) -> Any:
            return a - b

    np.testing.assert_array_equal(engine.forward(Minus(), {"second": X * 3, "first": X})["output"], X * 2)


def test_an_input_that_is_left_out_is_named(engine: Any) -> None:
    class Masks(nn.Block):
        def forward(self, x: Any, mask: Any, scale: Any = None) -> Any:
            return x * scale

    with pytest.raises(InputError, match="Masks needs the input mask before scale"):
        engine.forward(Masks(), {"x": X, "scale": X})


def test_an_input_that_may_be_none_can_be_left_out_before_others(engine: Any) -> None:
    class Scales(nn.Block):
        def forward(self, x: Any, mask: Any = None, scale: Any = None) -> Any:
            assert mask is None
            return x * scale

    np.testing.assert_array_equal(engine.forward(Scales(), {"x": X, "scale": X})["output"], X * X)


def test_the_fields_of_a_named_tuple_name_the_outputs(engine: Any) -> None:
    class Halves(NamedTuple):
        left: Any
        right: Any

    class Splits(nn.Block):
        def forward(self, x: Any) -> Any:
            return Halves(x[:, :1], x[:, 1:])

    outputs = engine.forward(Splits(), {"x": X})

    np.testing.assert_array_equal(outputs["left"], X[:, :1])
    np.testing.assert_array_equal(outputs["right"], X[:, 1:])


def test_parameters_of_a_hybrid_block_are_no_inputs(engine: Any) -> None:
    block = nn.Dense(1, in_units=3, use_bias=False)
    block.initialize(mx.init.One())

    np.testing.assert_array_equal(engine.forward(block, {"weight": X})["output"], X.sum(1, keepdims=True))


def test_an_empty_batch_is_refused(engine: Any) -> None:
    with pytest.raises(InputError, match=r"input 'x' has the shape \(0, 3\): MXNet runs no empty batch"):
        engine.forward(factories.Identity().network(), {"x": X[:0]})


def test_a_dtype_that_mxnet_lacks_is_refused(engine: Any) -> None:
    with pytest.raises(InputError, match="input 'x' is complex64: MXNet has arrays of float16, float32"):
        engine.forward(factories.Identity().network(), {"x": X.astype(np.complex64)})


@pytest.mark.parametrize("hybridize", ["true", "false"])
def test_a_wrong_shape_is_an_input_error(hybridize: str, engine: Any) -> None:
    block = factories.MLP(inputs=5, hidden=(), outputs=2).network()
    block.initialize()
    engine.prepare(block, {"hybridize": hybridize})

    with pytest.raises(InputError, match=r"MXNet cannot run this: .*hape"):
        engine.forward(block, {"x": X})


def test_float16_on_the_cpu_is_refused_with_what_to_do(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = nn.Dense(2, in_units=3, use_bias=False)
    engine.load_parameters(block, parameter_file({"weight": X}), dtype="float16")

    with pytest.raises(InputError, match="on the CPU: load with dtype='float32'"):
        engine.forward(block, {"x": X})


def test_an_option_is_true_or_false(engine: Any) -> None:
    with pytest.raises(InputError, match="option static_alloc='yes': expected true or false"):
        engine.prepare(factories.Identity().network(), {"static_alloc": "yes"})
