"""Frozen dataclasses under registered names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.core import toys
from zoo_core import BlockFactory, InputError, PluginError
from zoo_core.entry_points import BLOCK_FACTORIES, InstalledEntryPoints
from zoo_core.registered import (
    build,
    build_from_arguments,
    checked_class,
    entry_point_of,
    field_names,
    fields_of,
    over,
    snake_case,
)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("numLayers", "num_layers"),
        ("layers", "layers"),
        ("num_layers", "num_layers"),
        ("centerCrop", "center_crop"),
        ("topK", "top_k"),
        ("conv2dWidth", "conv2d_width"),
        ("Width", "width"),
    ],
)
def test_a_camel_case_name_is_a_snake_case_field(name: str, field: str) -> None:
    assert snake_case(name) == field


def test_the_fields_are_those_that_it_is_constructed_from() -> None:
    expected = ("layers", "num_classes", "scale", "bias", "activation", "hidden", "names", "size")
    assert field_names(toys.ToyNet) == expected
    assert field_names(dict) == ()


# build ---------------------------------------------------------------------------------------------------------------


def test_it_is_built_from_json_values() -> None:
    fields = {"layers": 3, "hidden": [4, 5], "names": {"a": "b"}, "size": {"width": 2}, "activation": "tanh", "scale": 2}
    assert build(toys.ToyNet, fields, what="factory 'toy'") == toys.ToyNet(
        layers=3, hidden=(4, 5), names={"a": "b"}, size=toys.Size(2), activation="tanh", scale=2.0
    )


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [("layers", "3", 3), ("scale", "0.5", 0.5), ("bias", "false", False), ("bias", "1", True), ("num_classes", "7", 7)],
)
def test_a_value_may_be_text_as_on_a_command_line(field: str, text: str, value: object) -> None:
    assert getattr(build(toys.ToyNet, {"layers": 1, field: text}, what="toy"), field) == value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"layers": 1, "numclasses": 3},
            r"factory 'toy' has no field 'numclasses'.*did you mean num_classes.*Fields: activation, ",
        ),
        ({"layers": 1, "numClasses": 3}, r"no field 'numClasses'.*did you mean num_classes"),
        ({"layers": 1, "derived": 3}, "no field 'derived'"),
        ({}, "factory 'toy': .*missing required field `layers`"),
        ({"layers": "many"}, r"factory 'toy': Expected `int`, got `str` - at `\$\.layers`"),
        ({"layers": 1.5}, r"Expected `int`, got `float` - at `\$\.layers`"),
        ({"layers": 1, "activation": "gelu"}, r"Invalid enum value 'gelu' - at `\$\.activation`"),
        ({"layers": 1, "hidden": 3}, r"Expected `array`, got `int` - at `\$\.hidden`"),
        ({"layers": 1, "size": {"height": 2}}, r"missing required field `width` - at `\$\.size`"),
        ({"layers": 0}, "factory 'toy'.*layers must be at least 1, not 0"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_it(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(toys.ToyNet, fields, what="factory 'toy'")


def test_from_arguments_it_takes_those_that_are_its_fields_in_either_spelling() -> None:
    arguments = {"layers": 2, "numClasses": 5, "translatorFactory": "x", "width": 224}
    assert build_from_arguments(toys.ToyNet, arguments, what="toy") == toys.ToyNet(layers=2, num_classes=5)


@pytest.mark.parametrize("order", [("numClasses", "num_classes"), ("num_classes", "numClasses")])
def test_the_fields_own_spelling_wins_over_the_other(order: tuple[str, str]) -> None:
    values = {"numClasses": 5, "num_classes": 6}
    arguments = {"layers": 1, **{name: values[name] for name in order}}
    assert build_from_arguments(toys.ToyNet, arguments, what="toy").num_classes == 6


def test_a_wrong_type_among_arguments_is_an_error() -> None:
    with pytest.raises(InputError, match=r"toy: Expected `int`, got `str` - at `\$\.num_classes`"):
        build_from_arguments(toys.ToyNet, {"layers": 1, "numClasses": "x"}, what="toy")


def test_its_fields_as_json_build_it_again() -> None:
    net = toys.ToyNet(layers=3, hidden=(4, 5), names={"a": "b"}, size=toys.Size(2, 9))
    fields = json.loads(json.dumps(fields_of(net)))
    assert fields == {
        "layers": 3, "num_classes": 10, "scale": 1.0, "bias": True, "activation": "relu", "hidden": [4, 5],
        "names": {"a": "b"}, "size": {"width": 2, "height": 9},
    }  # fmt: skip
    assert build(toys.ToyNet, fields, what="toy") == net


def test_a_field_that_json_cannot_say_is_an_error() -> None:
    with pytest.raises(PluginError, match="Unspeakable cannot be serialized"):
        fields_of(toys.Unspeakable(thing=object()))


# the contract --------------------------------------------------------------------------------------------------------


def test_a_class_that_keeps_the_contract_is_given() -> None:
    assert checked_class(toys.entry("pytorch.toy_net", toys.ToyNet), BlockFactory) is toys.ToyNet


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (toys.a_function, "expected a subclass of zoo_core.BlockFactory"),
        (toys.ToyLabels, "expected a subclass of zoo_core.BlockFactory"),
        (toys.Unfinished, "Unfinished lacks new_block"),
        (toys.Changeable, r"Changeable is no frozen dataclass; put @dataclass\(frozen=True, kw_only=True\) above it"),
        (toys.Undecorated, "Undecorated is no frozen dataclass"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_that_breaks_the_contract_is_an_error_that_names_its_distribution(thing: object, message: str) -> None:
    with pytest.raises(PluginError, match=f"'pytorch.toy' of toy-nets 1.2.3.*{message}"):
        checked_class(toys.entry("pytorch.toy", thing), BlockFactory)


# back to the name ----------------------------------------------------------------------------------------------------


def test_the_entry_point_of_a_class_is_found_by_its_address() -> None:
    entry = toys.entry("pytorch.toy_net", toys.ToyNet)
    installed = InstalledEntryPoints((toys.entry("pytorch.other", toys.NeutralNet), entry))
    assert entry_point_of(toys.ToyNet, BLOCK_FACTORIES, installed) == entry


def test_it_is_found_where_a_package_registers_it_under_another_address() -> None:
    """As `acme:Net`, imported in `acme/__init__.py` from `acme.nets`."""
    elsewhere = msgspec.structs.replace(toys.entry("pytorch.toy_net", toys.ToyNet), value=f"{__name__}:AN_ALIAS")
    assert entry_point_of(toys.ToyNet, BLOCK_FACTORIES, InstalledEntryPoints((elsewhere,))) == elsewhere


AN_ALIAS = toys.ToyNet


def test_a_class_that_is_registered_nowhere_is_an_error_with_the_lines_for_pyproject() -> None:
    with pytest.raises(PluginError) as caught:
        entry_point_of(toys.Unregistered, BLOCK_FACTORIES, InstalledEntryPoints())
    assert str(caught.value).endswith(
        'Add to pyproject.toml:\n[project.entry-points."zoo_core.block_factories"]\n'
        f'"unregistered" = "{toys.__name__}:Unregistered"'
    )


def test_a_name_that_two_classes_share_goes_to_the_one_whose_type_it_has() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Network:
        classes: int = 1000

    @dataclass(frozen=True, kw_only=True)
    class Names:
        classes: tuple[str, ...] = ()

    for classes, network, names in ((3, Network(classes=3), Names()), (["a", "b"], Network(), Names(classes=("a", "b")))):
        arguments = {"classes": classes}
        assert build_from_arguments(Network, arguments, what="a", beside=Names) == network
        assert build_from_arguments(Names, arguments, what="b", beside=Network) == names


def test_of_several_origins_the_last_one_that_says_something_wins_in_whichever_spelling() -> None:
    assert over({"numLayers": 18, "a": 1}, {"num_layers": 34, "b": 2}, {"numLayers": 50}) == {"a": 1, "b": 2, "numLayers": 50}
    assert over({}) == over({}, {}) == {}
