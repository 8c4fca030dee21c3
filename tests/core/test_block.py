"""BlockFactory and its serialized form."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core import toys
from zoo_core import (
    AmbiguousPluginError,
    BlockFactory,
    InputError,
    PackageNotInstalledError,
    PluginError,
    factory_of,
)
from zoo_core.block import factory_class
from zoo_core.entry_points import ENGINES, InstalledEntryPoints

PYTORCH, MXNET = (toys.entry(name, toys.ToyNet, f"zoo-{name.lower()}", ENGINES) for name in ("PyTorch", "MXNet"))


@pytest.fixture
def toy_nets(install: Callable[..., Path]) -> None:
    """The distribution toy-nets 1.2.3, with its factories and two engines."""
    install("toy-nets", "1.2.3", entry_points=toys.ENTRY_POINTS)


def test_a_factory_compares_hashes_and_pickles_by_its_fields() -> None:
    net = toys.ToyNet(layers=3)
    assert net == toys.ToyNet(layers=3) != toys.ToyNet(layers=4)
    assert pickle.loads(pickle.dumps(net)) == net
    assert hash(toys.NeutralNet(width=2)) == hash(toys.NeutralNet(width=2))


def test_a_factory_gets_the_model_the_folder_and_all_arguments() -> None:
    block = toys.ToyNet(layers=3).new_block(None, Path("/models"), {"layers": 3, "other": 1})  # type: ignore[arg-type]
    assert block == ("toy block", 3, Path("/models"), {"layers": 3, "other": 1})


# as JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toy_nets")
def test_its_serialized_form_is_name_engine_fields_and_requirements() -> None:
    document = json.loads(toys.ToyNet(layers=3, hidden=(4,)).to_json())
    assert document == {
        "factory": "toy_net",
        "engine": "PyTorch",
        "fields": {
            "layers": 3, "num_classes": 10, "scale": 1.0, "bias": True, "activation": "relu", "hidden": [4], "names": {},
            "size": None,
        },
        "requires": ["toy-nets>=1.2"],
    }  # fmt: skip


@pytest.mark.usefixtures("toy_nets")
@pytest.mark.parametrize(
    "net",
    [
        toys.ToyNet(layers=1),
        toys.ToyNet(layers=3, hidden=(4, 5), names={"a": "b"}, size=toys.Size(2, 3), activation="tanh", bias=False),
        toys.NeutralNet(width=9),
    ],
    ids=["defaults", "everything", "neutral"],
)
def test_it_is_equal_after_the_round_trip(net: BlockFactory) -> None:
    assert BlockFactory.from_json(net.to_json()) == net


@pytest.mark.usefixtures("toy_nets")
def test_a_text_that_names_no_engine_leaves_it_to_the_load() -> None:
    text = '{"factory": "toy_net", "fields": {"layers": 2}}'
    assert BlockFactory.from_json(text, engine="PyTorch") == toys.ToyNet(layers=2)
    with pytest.raises(PluginError, match=r"'mxnet\.toy_net'"):
        BlockFactory.from_json(text, engine="MXNet")


@pytest.mark.usefixtures("toy_nets")
def test_the_engine_that_the_text_names_is_the_one() -> None:
    text = toys.ToyNet(layers=2).to_json()
    assert BlockFactory.from_json(text, engine="MXNet") == toys.ToyNet(layers=2)


def test_a_class_that_is_no_entry_point_says_what_to_add_to_pyproject() -> None:
    with pytest.raises(PluginError) as caught:
        toys.Unregistered().to_json()
    assert '[project.entry-points."zoo_core.block_factories"]' in str(caught.value)
    assert f'"{toys.__name__}:Unregistered"' in str(caught.value)


@pytest.mark.usefixtures("toy_nets")
def test_a_field_that_is_no_json_value_is_an_error() -> None:
    with pytest.raises(PluginError, match="Unspeakable cannot be serialized"):
        toys.Unspeakable(thing=object()).to_json()


@pytest.mark.usefixtures("toy_nets")
@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", PluginError, "a serialized factory is no JSON"),
        ("[" * 100_000, PluginError, "a serialized factory is no JSON"),
        ("[]", PluginError, "a serialized factory is a JSON object, not list"),
        ("{}", PluginError, 'a serialized factory is {"factory": NAME'),
        ('{"factory": 3}', PluginError, 'a serialized factory is {"factory": NAME'),
        ('{"factory": "toy_net", "fields": []}', PluginError, 'a serialized factory is {"factory": NAME'),
        ('{"factory": "toy_net", "requires": "acme"}', PluginError, 'a serialized factory is {"factory": NAME'),
        ('{"factory": "toy_net", "engine": 3}', PluginError, 'a serialized factory is {"factory": NAME'),
        ('{"factory": "toy_nett"}', PluginError, "did you mean pytorch.toy_net"),
        ('{"factory": "os.system", "fields": {}}', PluginError, "no installed package registers 'os.system'"),
        ('{"factory": "toy_net", "fields": {"layrs": 1}}', InputError, "no field 'layrs' (did you mean layers"),
        ('{"factory": "toy_net", "fields": {"layers": "x"}}', InputError, "factory 'toy_net': Expected `int`"),
        (
            '{"factory": "toy_net", "fields": {"layers": 1}, "requires": ["toy-nets>=9", "acme"]}',
            PackageNotInstalledError,
            'pip install acme "toy-nets>=9"',
        ),
    ],
    ids=["no JSON", "nested", "list", "empty", "no name", "no fields", "no list", "no engine", "near name", "not registered",
         "near field", "wrong type", "missing package"],
)  # fmt: skip
def test_a_text_that_cannot_be_used_is_an_error_that_says_why(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        BlockFactory.from_json(text)
    assert message in str(caught.value)


def test_a_missing_package_is_told_before_anything_is_looked_up() -> None:
    with pytest.raises(PackageNotInstalledError) as caught:
        BlockFactory.from_json('{"factory": "acme_net", "fields": {}, "requires": ["acme-nets>=1.0"]}')
    assert caught.value.missing == ("acme-nets>=1.0",)
    assert str(caught.value).endswith('pip install "acme-nets>=1.0"')


# from a name to its class --------------------------------------------------------------------------------------------


def installed(*entries: object) -> InstalledEntryPoints:
    return InstalledEntryPoints((PYTORCH, MXNET, *entries))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("toy", "PyTorch"),
        ("toy", "pytorch"),
        ("toy", None),
        ("pytorch.toy", None),
        ("pytorch.toy", "PyTorch"),
        ("toy-nets:toy", "PyTorch"),
        ("toy-nets:pytorch.toy", None),
    ],
)
def test_a_name_may_leave_out_the_engine_and_name_the_distribution(name: str, engine: str | None) -> None:
    assert factory_class(name, installed(toys.entry("pytorch.toy", toys.ToyNet)), engine=engine) is toys.ToyNet


def test_a_name_with_a_dot_that_is_no_engine_is_a_name() -> None:
    found = factory_class("acme.net", installed(toys.entry("pytorch.acme.net", toys.ToyNet)), engine="PyTorch")
    assert found is toys.ToyNet


def test_the_engine_chooses_among_equal_names() -> None:
    here = installed(toys.entry("pytorch.toy", toys.ToyNet), toys.entry("mxnet.toy", toys.NeutralNet))
    assert factory_class("toy", here, engine="MXNet") is toys.NeutralNet


def test_without_an_engine_a_name_that_two_have_is_ambiguous() -> None:
    here = installed(toys.entry("pytorch.toy", toys.ToyNet), toys.entry("mxnet.toy", toys.NeutralNet))
    with pytest.raises(AmbiguousPluginError, match=r"several engines: name one of mxnet\.toy, pytorch\.toy") as caught:
        factory_class("toy", here)
    assert caught.value.claimants == ("mxnet.toy", "pytorch.toy")


def test_a_prefix_of_another_engine_than_the_one_asked_for_is_an_error() -> None:
    with pytest.raises(InputError, match="builds for the engine 'pytorch', and MXNet was asked"):
        factory_class("pytorch.toy", installed(toys.entry("pytorch.toy", toys.ToyNet)), engine="MXNet")


OURS = toys.entry("pytorch.toy", toys.ToyNet, "zoo-pytorch")
THEIRS = toys.entry("pytorch.toy", toys.NeutralNet, "acme-nets")


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [(None, toys.ToyNet), ("acme-nets", toys.NeutralNet), ("zoo-pytorch", toys.ToyNet), ("a-third", toys.ToyNet)],
)
def test_a_name_claimed_twice_is_its_carriers_then_its_engines(carrier: str | None, expected: type) -> None:
    """Nobody can stop the owner of a name by installing a package."""
    assert factory_class("toy", installed(THEIRS, OURS), engine="PyTorch", carrier=carrier) is expected


def test_a_name_claimed_by_two_strangers_is_ambiguous_and_a_qualified_name_chooses() -> None:
    here = installed(THEIRS, toys.entry("pytorch.toy", toys.ToyNet, "zeta-nets"))
    with pytest.raises(AmbiguousPluginError) as caught:
        factory_class("toy", here, engine="PyTorch")
    assert caught.value.claimants == ("acme-nets:pytorch.toy", "zeta-nets:pytorch.toy")
    assert factory_class("zeta-nets:toy", here, engine="PyTorch") is toys.ToyNet


# from a block to its factory -----------------------------------------------------------------------------------------


class KnowsItsFactory:
    zoo_factory = toys.ToyNet(layers=5)


class KnowsSomethingElse:
    zoo_factory = "toy_net"


def test_a_block_knows_its_factory() -> None:
    assert factory_of(KnowsItsFactory()) == toys.ToyNet(layers=5)


@pytest.mark.parametrize("block", [object(), KnowsSomethingElse()], ids=["nothing", "something else"])
def test_a_block_that_does_not_know_is_an_error_with_the_remedy(block: object) -> None:
    with pytest.raises(InputError, match=r"does not know its factory: .*Model\(block, factory=\.\.\.\)"):
        factory_of(block)
