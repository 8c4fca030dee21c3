"""The factories and networks of the plugins: the same names, the same fields, the same refusals."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

import zoo_core as zoo

PACKAGES = ("zoo_mxnet", "zoo_pytorch")
FRAMEWORKS = {"zoo_mxnet": "mxnet", "zoo_pytorch": "torch"}
ENGINES = {"zoo_mxnet": "MXNet", "zoo_pytorch": "PyTorch"}
#: Factory -> its fields, and the module and name of the network that it builds.
NETWORKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "Identity": ({}, "simple", "Identity"),
    "Ones": ({"shape": (2, 3), "dtype": "int64"}, "simple", "Ones"),
    "MLP": ({"inputs": 4, "hidden": (3,), "outputs": 2}, "mlp", "MLP"),
    "ResNetV1": ({"layers": 18, "classes": 10}, "resnet", "ResNet"),
    "EfficientNetLite0": ({"classes": 10}, "efficientnet", "EfficientNetLite0"),
    "SSD": (
        {"classes": 2, "backbone": (4, 6), "scales": (5,), "sizes": ((0.2,), (0.4, 0.5)), "ratios": (1.0, 2.0)},
        "ssd",
        "SSD",
    ),
    "TransformerEncoder": ({"hidden": 6, "layers": 1, "heads": 2, "pooler": False}, "transformer", "TransformerEncoder"),
}


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """A plugin whose engine is installed."""
    name: str = request.param
    if find_spec(name) is None or find_spec(FRAMEWORKS[name]) is None:
        pytest.skip(f"needs {name.replace('_', '-')}")
    if name == "zoo_mxnet":
        # It puts back the names of NumPy that MXNet needs.
        import_module("zoo_mxnet.framework")
    return name


def own(module: ModuleType) -> dict[str, type]:
    return {name: item for name, item in vars(module).items() if inspect.isclass(item) and item.__module__ == module.__name__}


def both(name: str) -> list[ModuleType]:
    for package in PACKAGES:
        if find_spec(package) is None:
            pytest.skip(f"needs {package.replace('_', '-')}")
    return [import_module(f"{package}.{name}") for package in PACKAGES]


def test_both_plugins_have_the_same_factories_with_the_same_fields() -> None:
    described = [
        {
            name: (
                [(field.name, field.type, field.default) for field in dataclasses.fields(cls)] if name in NETWORKS else [],
                sorted(name for name in vars(cls) if not name.startswith("_")),
            )
            for name, cls in own(module).items()
        }
        for module in both("factories")
    ]
    assert described[0] == described[1]
    assert described[0].keys() == NETWORKS.keys() | {"NeutralFactory", "Symbol"}
    assert both("factories")[0].DEPTHS == both("factories")[1].DEPTHS


@pytest.mark.parametrize("factory", NETWORKS)
def test_a_network_made_by_its_class_knows_its_factory(factory: str, package: str) -> None:
    fields, module, name = NETWORKS[factory]
    network = getattr(import_module(f"{package}.networks.{module}"), name)

    found = zoo.factory_of(network(**fields))

    assert found == getattr(import_module(f"{package}.factories"), factory)(**fields)
    assert isinstance(found.new_block(zoo.Model(None, engine=ENGINES[package]), None, {}), network)


@pytest.mark.parametrize(
    ("factory", "fields", "message"),
    [
        ("ResNetV1", {"layers": 19}, "layers must be one of 18, 34, 50, 101, 152, not 19"),
        ("ResNetV1", {"classes": 0}, "classes must be at least 1, not 0"),
        ("EfficientNetLite0", {"classes": -1}, "classes must be at least 1, not -1"),
        ("MLP", {"inputs": 0, "hidden": (), "outputs": 1}, "inputs must be at least 1, not 0"),
        ("MLP", {"inputs": 1, "hidden": (3, 0), "outputs": 1}, "hidden must have widths of at least 1, not (3, 0)"),
        ("MLP", {"inputs": 1, "hidden": (), "outputs": 0}, "outputs must be at least 1, not 0"),
        ("Ones", {"shape": (0,)}, "shape must have sizes of at least 1, not (0,)"),
        (
            "Ones",
            {"shape": (1,), "dtype": "float8"},
            "dtype must be one of float16, float32, float64, int32, int64, uint8, not 'float8'",
        ),
        ("SSD", {"classes": 0}, "classes must be at least 1, not 0"),
        ("SSD", {"backbone": ()}, "backbone must have at least one stage"),
        ("SSD", {"backbone": (8, 0)}, "backbone must have channels of at least 1, not (8, 0)"),
        ("SSD", {"scales": (-8,)}, "scales must have channels of at least 1, not (-8,)"),
        ("SSD", {"scales": (8,)}, "sizes must have an entry for the backbone and for each of 1 scales, not 4"),
        ("SSD", {"scales": (), "sizes": ((),)}, "sizes must have one or more numbers above 0, not ()"),
        ("SSD", {"scales": (), "sizes": ((0.5, 0.0),)}, "sizes must have one or more numbers above 0, not (0.5, 0.0)"),
        ("SSD", {"ratios": (1.0, -2.0)}, "ratios must have one or more numbers above 0, not (1.0, -2.0)"),
        ("SSD", {"ratios": (float("inf"),)}, "ratios must have one or more numbers above 0, not (inf,)"),
        ("TransformerEncoder", {"vocabulary": 0}, "vocabulary must be at least 1, not 0"),
        ("TransformerEncoder", {"layers": 0}, "layers must be at least 1, not 0"),
        ("TransformerEncoder", {"heads": 7}, "hidden must be a multiple of heads, not 768 with 7 heads"),
        ("TransformerEncoder", {"activation": "tanh"}, "activation must be gelu or relu, not 'tanh'"),
        ("TransformerEncoder", {"epsilon": 0.0}, "epsilon must be above 0 and below 1, not 0.0"),
        ("TransformerEncoder", {"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
    ],
)
def test_a_field_out_of_range_is_refused_in_the_same_words(
    factory: str, fields: dict[str, Any], message: str, package: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        getattr(import_module(f"{package}.factories"), factory)(**fields)
    assert str(caught.value) == message


def test_reading_a_factory_imports_no_engine(package: str) -> None:
    name = f"{ENGINES[package].lower()}.resnet_v1"
    code = (
        f"import sys, zoo_core as zoo; text = zoo.block_factory({name!r}, layers=18).to_json(); "
        f"zoo.BlockFactory.from_json(text); print({FRAMEWORKS[package]!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
