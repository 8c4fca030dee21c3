"""The factories are plain data: checked when made, equal after JSON and pickle, known by the networks they build."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from zoo_core import BlockFactory, InputError, factory_of
from zoo_core.registered import build

factories = pytest.importorskip("zoo_mxnet.factories", reason="needs zoo-mxnet")

ALL = [
    pytest.param(factories.Identity(), id="identity"),
    pytest.param(factories.Ones(shape=(2, 3), dtype="int64"), id="ones"),
    pytest.param(factories.MLP(inputs=4, hidden=(3,), outputs=2), id="mlp"),
    pytest.param(factories.ResNetV1(layers=18, classes=10), id="resnet_v1"),
    pytest.param(factories.EfficientNetLite0(classes=10), id="efficientnet_lite0"),
]


@pytest.mark.parametrize("factory", ALL)
def test_a_factory_survives_json_and_pickle(factory: Any) -> None:
    assert BlockFactory.from_json(factory.to_json()) == factory
    assert pickle.loads(pickle.dumps(factory)) == factory


@pytest.mark.parametrize("factory", ALL)
def test_a_network_knows_its_factory(factory: Any) -> None:
    pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")

    assert factory_of(factory.new_block(None, None, {})) == factory


@pytest.mark.parametrize("factory", ALL)
def test_the_networks_exist_for_both_engines(factory: Any) -> None:
    assert factory.engines == ("PyTorch", "MXNet")


@pytest.mark.parametrize(
    ("cls", "fields", "allowed"),
    [
        pytest.param(factories.ResNetV1, {"layers": 19}, "layers must be one of 18, 34, 50, 101, 152, not 19", id="depth"),
        pytest.param(factories.ResNetV1, {"classes": 0}, "classes must be at least 1, not 0", id="classes"),
        pytest.param(factories.EfficientNetLite0, {"classes": -1}, "classes must be at least 1, not -1", id="lite classes"),
        pytest.param(
            factories.MLP,
            {"inputs": 2, "hidden": (3, 0), "outputs": 1},
            r"hidden must have widths of at least 1, not \(3, 0\)",
            id="width",
        ),
        pytest.param(factories.Ones, {"shape": (0,)}, "shape must have sizes of at least 1", id="shape"),
        pytest.param(
            factories.Ones, {"shape": (1,), "dtype": "float8"}, "dtype must be one of float16, .*, not 'float8'", id="dtype"
        ),
    ],
)
def test_a_field_out_of_range_is_refused_with_what_is_allowed(cls: Any, fields: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed):
        cls(**fields)
    with pytest.raises(InputError, match=allowed):
        build(cls, fields, what="factory")


def test_fields_are_read_from_text_as_a_command_line_gives_them() -> None:
    assert build(factories.ResNetV1, {"layers": "18"}, what="factory") == factories.ResNetV1(layers=18)
