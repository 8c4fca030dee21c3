"""Where a factory, a translator and options come from: the first match wins, and nothing else is reachable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parameter_files as make
from tests.core import toy_engine
from tests.core.toy_engine import Labelled, Labels, Numbers, Scale, ScaleFactory, Symbol, ToyEngine
from tests.core.toys import Size
from tests.records import parameters, record, source
from tests.repositories import sha256
from zoo_core import (
    AmbiguousPluginError,
    InputError,
    IntegrityError,
    PackageNotInstalledError,
    ParameterError,
    PluginError,
    UntrustedCodeError,
    ZooWarning,
)
from zoo_core.carried import CarriedCode
from zoo_core.engines import Engines
from zoo_core.entry_points import InstalledEntryPoints
from zoo_core.how import How
from zoo_core.material import Material
from zoo_core.parameters import read_parameters
from zoo_core.resolution import (
    check_arguments,
    check_requires,
    engine_options,
    factory_for,
    implied_engine,
    translator_for,
)
from zoo_core.vision import ImageClassification


@pytest.fixture(autouse=True)
def toy(install: Callable[..., Path]) -> None:
    """The engine as an installed plugin."""
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


@pytest.fixture
def installed() -> InstalledEntryPoints:
    return InstalledEntryPoints.scan()


def saying(header: dict[str, Any] | None = None, **fields: Any) -> Material:
    """A parameter file with these entries in its header, JSON values or their texts."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (header or {}).items()}
    entries = {"__metadata__": texts} if texts else {}
    content = make.safetensors({**entries, "w": make.entry("U8", [1], 0, 1)}, b"x")
    return Material(**{"name": "net", "parameters": read_parameters(content), **fields})


def factory(material: Material, installed: InstalledEntryPoints, **how: Any) -> Any:
    asked = How(**how)
    return factory_for(material, ToyEngine(), asked, {**material.arguments, **asked.arguments}, installed)


def translator(material: Material, installed: InstalledEntryPoints, given: Any = None, **how: Any) -> Any:
    asked = How(**how)
    return translator_for(material, asked, {**material.arguments, **asked.arguments}, installed, given)


SCALE = {"zoo.factory": {"factory": "scale", "fields": {"width": 4}}}
CODE = b"""
from dataclasses import dataclass
from zoo_core import BlockFactory

@dataclass(frozen=True, kw_only=True)
class Carried(BlockFactory):
    width: int = 3

    def new_block(self, model, model_path, arguments):
        return self.width
"""
CARRIED = CarriedCode.of("block_factory.py", CODE)
TRUSTED = {"trust_code": [f"sha256:{sha256(CODE)}"]}


# factories -----------------------------------------------------------------------------------------------------------


def test_the_order_is_object_name_header_code(installed: InstalledEntryPoints) -> None:
    both = saying(SCALE, code=CARRIED, arguments={"blockFactory": "labelled"})
    assert factory(both, installed, block_factory=ScaleFactory(width=9), **TRUSTED) == ScaleFactory(width=9)
    assert factory(both, installed, block_factory="scale", **TRUSTED) == ScaleFactory()
    assert factory(both, installed, arguments={"block_factory": "scale", "blockFactory": "scale"}) == ScaleFactory()
    assert factory(both, installed, **TRUSTED) == Labelled()
    assert factory(saying(SCALE, code=CARRIED), installed, **TRUSTED) == ScaleFactory(width=4)
    assert type(factory(saying(code=CARRIED), installed, **TRUSTED)).__name__ == "Carried"
    assert factory(saying(), installed) is None


@pytest.mark.parametrize("kind", make.PROGRAMS)
def test_a_file_that_is_one_program_is_a_symbol(kind: str, installed: InstalledEntryPoints) -> None:
    material = saying(parameters=read_parameters(make.with_program(make.PROGRAMS[kind])))
    assert factory(material, installed) == Symbol()


def test_a_program_inside_a_tree_says_no_factory(installed: InstalledEntryPoints) -> None:
    material = saying(parameters=read_parameters(make.with_program(make.ATEN, "1._extra_state")))
    assert factory(material, installed) is None


def test_arguments_of_the_call_change_fields_of_the_headers_factory(installed: InstalledEntryPoints) -> None:
    assert factory(saying(SCALE), installed, arguments={"width": "6"}) == ScaleFactory(width=6)
    assert factory(saying(SCALE, arguments={"width": 8}), installed) == ScaleFactory(width=4)


def test_a_field_that_is_an_object_stays_when_another_is_changed(installed: InstalledEntryPoints) -> None:
    header = {"zoo.factory": {"factory": "labelled", "fields": {"size": {"width": 2}}}}
    found = factory(saying(header), installed, arguments={"classes": 5})
    assert found == Labelled(classes=5, size=Size(2))


LABELLED = {
    "zoo.factory": {"factory": "labelled", "fields": {"classes": 3}},
    "zoo.translator": {"name": "toy_classes", "arguments": {"classes": ["a", "b", "c"]}},
}


@pytest.mark.parametrize(
    ("classes", "built", "labels"),
    [(["x", "y", "z"], 3, ("x", "y", "z")), (7, 7, ("a", "b", "c"))],
    ids=["names", "a number"],
)
def test_one_argument_goes_to_the_factory_or_the_translator_whose_type_it_has(
    classes: Any, built: int, labels: tuple[str, ...], installed: InstalledEntryPoints
) -> None:
    """Also where the file names both: the other keeps what the file says."""
    material, how = saying(LABELLED), {"arguments": {"classes": classes}}
    found = factory(material, installed, **how)
    assert found == Labelled(classes=built)
    assert translator(material, installed, found, **how) == Labels(classes=labels)


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ([], ParameterError, "is list, expected dict"),
        ({}, PluginError, "a serialized factory is"),
        ({"factory": 3}, PluginError, "a serialized factory is"),
        ({"factory": ["scale"]}, PluginError, "a serialized factory is"),
        ({"factory": "scale", "fields": []}, PluginError, "a serialized factory is"),
        ({"factory": "scale", "engine": 3}, PluginError, "a serialized factory is"),
        ({"factory": "scale", "requires": "torch"}, PluginError, "a serialized factory is"),
        ({"factory": "os.system"}, PluginError, r"no installed package registers 'toy\.os\.system'"),
        ({"factory": "tests.core.toys:Unregistered"}, PluginError, "no installed package registers"),
        ({"factory": "zoo_core.carried:CarriedCode"}, PluginError, "no installed package registers"),
        ({"factory": "../scale"}, PluginError, "no installed package registers"),
        ({"factory": "scale", "fields": {"height": 1}}, InputError, "has no field 'height'"),
        ({"factory": "scale", "fields": {"width": "x"}}, InputError, "Expected `int`"),
        ({"factory": "scale", "fields": {"width": {"__class__": "os.system"}}}, InputError, "Expected `int`"),
        ({"factory": "scale", "requires": ["x @ https://evil.example/x.whl"]}, PluginError, "names an address"),
        ({"factory": "scale", "requires": ["x; rm -rf ~"]}, PluginError, "is no requirement"),
        ({"factory": "scale", "requires": ["-r https://evil.example"]}, PluginError, "is no requirement"),
        ({"factory": "scale", "requires": ["$(id)"]}, PluginError, "is no requirement"),
    ],
)
def test_a_headers_factory_that_is_none_reaches_nothing(
    document: Any, error: type[Exception], message: str, installed: InstalledEntryPoints
) -> None:
    with pytest.raises(error, match=message):
        factory(saying({"zoo.factory": document}), installed)


def test_a_factory_whose_package_is_missing_says_who_wrote_the_file_and_what_to_install(
    installed: InstalledEntryPoints,
) -> None:
    header = {
        "zoo.factory": {"factory": "flowers", "fields": {}, "requires": ["acme-flowers>=2.1"]},
        "zoo.written_with": {"zoo-core": "0.1", "acme-flowers": "2.1.3"},
    }
    with pytest.raises(PackageNotInstalledError) as caught:
        factory(saying(header), installed)
    assert str(caught.value) == (
        "net was written with acme-flowers 2.1.3: factory 'flowers' needs packages that are not installed: "
        'pip install "acme-flowers>=2.1"'
    )
    assert caught.value.missing == ("acme-flowers>=2.1",)


def rival(install: Callable[..., Path]) -> InstalledEntryPoints:
    """Two more distributions that claim the same names, in an engine that neither provides."""
    for name, factory_, translator_ in (("acme-a", "ScaleFactory", "Numbers"), ("acme-b", "Labelled", "Labels")):
        module = toy_engine.__name__
        install(
            name,
            entry_points={
                "zoo_core.block_factories": {"toy.shared": f"{module}:{factory_}"},
                "zoo_core.translators": {"shared": f"{module}:{translator_}"},
            },
        )
    return InstalledEntryPoints.scan()


def test_a_name_that_two_claim_means_the_one_of_the_artifacts_own_distribution(install: Callable[..., Path]) -> None:
    installed = rival(install)
    header = {"zoo.factory": {"factory": "shared"}, "zoo.translator": {"name": "shared"}}
    with pytest.raises(AmbiguousPluginError):
        factory(saying(header), installed)
    with pytest.raises(AmbiguousPluginError):
        translator(saying(header), installed)
    for carrier, built, translated in (("acme-a", ScaleFactory(), Numbers()), ("Acme_B", Labelled(), Labels())):
        assert factory(saying(header, carrier=carrier), installed) == built
        assert translator(saying(header, carrier=carrier), installed) == translated
        named = saying(arguments={"blockFactory": "shared", "translatorFactory": "shared"}, carrier=carrier)
        assert (factory(named, installed), translator(named, installed)) == (built, translated)


# carried code --------------------------------------------------------------------------------------------------------


def test_without_trust_it_does_not_run_and_the_error_says_how_to_trust_exactly_it(installed: InstalledEntryPoints) -> None:
    with pytest.raises(UntrustedCodeError, match=f'net carries Python code.*trust_code=."sha256:{CARRIED.sha256}"'):
        factory(saying(code=CARRIED), installed)


def test_arguments_reach_a_carried_factory(installed: InstalledEntryPoints) -> None:
    assert factory(saying(code=CARRIED, arguments={"width": 8}), installed, **TRUSTED).width == 8


@pytest.mark.parametrize("promised", [None, "0" * 64, sha256(CODE)[:16]], ids=["none", "another", "a prefix"])
def test_code_that_is_not_what_its_document_promises_never_runs(promised: str | None, installed: InstalledEntryPoints) -> None:
    file = parameters(key="code", name="block_factory.py", uri="block_factory.py")
    promising = type(file)(key="code", name=file.name, uri=file.uri, url=file.url, sha256=promised)
    place = source("models", is_configured=True)
    material = saying(code=CARRIED, record=record(files=(promising,), source=place))
    with pytest.raises(IntegrityError, match="is not the code that its document promises"):
        factory(material, installed, trust_code=[place.repository, f"sha256:{CARRIED.sha256}"])


def test_code_that_is_promised_runs_where_the_repository_is_trusted(installed: InstalledEntryPoints) -> None:
    file = parameters(key="code", name="block_factory.py", uri="block_factory.py")
    promising = type(file)(key="code", name=file.name, uri=file.uri, url=file.url, sha256=CARRIED.sha256)
    place = source("models")
    material = saying(code=CARRIED, record=record(files=(promising,), source=place))
    with pytest.raises(UntrustedCodeError):
        factory(material, installed, trust_code=["https://other.example/"])
    assert factory(material, installed, trust_code=[place.repository]).width == 3


@pytest.mark.parametrize("key", ["trust_code", "trustCode", "trust_programs", "trustPrograms"])
def test_a_document_that_says_trust_me_is_warned_of_and_not_believed(key: str, installed: InstalledEntryPoints) -> None:
    value = [f"sha256:{CARRIED.sha256}"] if "ode" in key else True
    material = saying(code=CARRIED, arguments={key: value})
    with pytest.raises(UntrustedCodeError):
        factory(material, installed)
    with pytest.warns(ZooWarning, match=f"nobody takes the argument '{key}' of its document"):
        check_arguments(material, How(), ScaleFactory(), None)


def test_all_that_nobody_takes_is_told_of_at_once(installed: InstalledEntryPoints) -> None:
    material = saying(arguments={"widht": 3, "depth": 2, "width": 1})
    with pytest.warns(ZooWarning) as caught:
        check_arguments(material, How(), ScaleFactory(), None)
    expected = "nobody takes the arguments 'widht', 'depth' of its document (did you mean width?)"
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [expected]


# translators ---------------------------------------------------------------------------------------------------------

#: A class of DJL that has no counterpart here.
FOREIGN = "ai.djl.modality.cv.translator.BigGANTranslatorFactory"


def test_a_translator_of_djl_that_is_not_here_leaves_arrays(installed: InstalledEntryPoints) -> None:
    material = saying(arguments={"translatorFactory": FOREIGN})
    with pytest.warns(ZooWarning, match=rf"there is no translator here for DJL's {re.escape(FOREIGN)}, .*--translator"):
        assert translator(material, installed) is None
    assert translator(material, installed, translator="toy_numbers") == Numbers()


def test_who_asks_for_one_is_told_that_it_is_not_here(installed: InstalledEntryPoints) -> None:
    for how in ({"translator": FOREIGN}, {"arguments": {"translatorFactory": FOREIGN}}):
        with pytest.raises(PluginError, match=r"no installed package registers 'ai\.djl"):
            translator(saying(), installed, **how)


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [
        ({}, (0.0,), (1.0,)),
        ({"normalize": False}, (0.0,), (1.0,)),
        ({"normalize": "false"}, (0.0,), (1.0,)),
        ({"normalize": True}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"normalize": "true"}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"normalize": "0.5, 0.4,0.3, 2,3,4"}, (0.5, 0.4, 0.3), (2.0, 3.0, 4.0)),
        ({"normalize": True, "mean": [0.1]}, (0.1,), (1.0,)),
    ],
)
def test_what_djls_documents_say_of_channels_is_understood(
    said: dict[str, Any], mean: tuple[float, ...], std: tuple[float, ...], installed: InstalledEntryPoints
) -> None:
    djls = "ai.djl.modality.cv.translator.ImageClassificationTranslatorFactory"
    found = translator(saying(arguments={"translatorFactory": djls, "width": 8, **said}), installed)
    assert isinstance(found, ImageClassification)
    assert (found.width, found.mean, found.std) == (8, mean, std)
    check_arguments(saying(arguments=said), How(), None, found)


@pytest.mark.parametrize("said", ["0.5", "a,b,c,d,e,f", "1,2,3,4,5,6,7"])
def test_a_normalize_that_is_no_six_numbers_is_an_error(said: str, installed: InstalledEntryPoints) -> None:
    with pytest.raises(InputError, match=f"normalize='{said}': expected true, false, or six numbers"):
        translator(saying(arguments={"translatorFactory": "image_classification", "normalize": said}), installed)


def test_a_file_that_names_its_own_translator_keeps_it_beside_one_of_djl(installed: InstalledEntryPoints) -> None:
    assert translator(saying(NUMBERS, arguments={"translatorFactory": FOREIGN}), installed) == Numbers(offset=3)


NUMBERS = {"zoo.translator": {"name": "toy_numbers", "arguments": {"offset": 3}}}


def test_the_order_of_translators_is_object_name_header(installed: InstalledEntryPoints) -> None:
    both = saying(NUMBERS, arguments={"translatorFactory": "toy_classes"})
    assert translator(both, installed, translator=Numbers(offset=9)) == Numbers(offset=9)
    assert translator(both, installed, translator="toy_numbers") == Numbers()
    assert translator(both, installed) == Labels()
    assert translator(saying(NUMBERS), installed) == Numbers(offset=3)
    assert translator(saying(), installed) is None


def test_arguments_of_the_call_change_fields_of_the_headers_translator(installed: InstalledEntryPoints) -> None:
    assert translator(saying(NUMBERS), installed, arguments={"offset": "1.5"}) == Numbers(offset=1.5)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], ParameterError),
        ({}, PluginError),
        ({"name": 3}, PluginError),
        ({"name": "toy_numbers", "arguments": []}, PluginError),
        ({"name": "os.system"}, PluginError),
        ({"name": "tests.core.toy_engine:Numbers"}, PluginError),
        ({"name": "toy_numbers", "arguments": {"code": "x"}}, InputError),
        ({"name": "toy_numbers", "arguments": {"offset": "x"}}, InputError),
    ],
)
def test_a_headers_translator_that_is_none_reaches_nothing(
    document: Any, error: type[Exception], installed: InstalledEntryPoints
) -> None:
    with pytest.raises(error):
        translator(saying({"zoo.translator": document}), installed)


# requirements --------------------------------------------------------------------------------------------------------


def test_requirements_that_are_met_say_nothing() -> None:
    check_requires(saying())
    check_requires(saying({"zoo.requires": ["zoo-toy-engine>=1.4", "zoo-core"]}))


def test_requirements_that_are_not_met_end_in_the_line_that_installs_them() -> None:
    with pytest.raises(PackageNotInstalledError, match=r'net needs packages that are not installed: pip install "acme-x>=2"$'):
        check_requires(saying({"zoo.requires": ["zoo-core", "acme-x>=2"]}))


@pytest.mark.parametrize(
    "requires",
    [
        "acme",
        {"acme": "1"},
        [3],
        [None],
        [["acme"]],
        ["acme @ https://evil.example/acme.whl"],
        ["acme; rm -rf ~"],
        ["acme\n--index-url=https://evil.example"],
        ["--index-url=https://evil.example acme"],
        ["git+https://evil.example/acme.git"],
        ["./acme"],
        ["`id`"],
        [""],
    ],
    ids=repr,
)
def test_what_is_no_requirement_never_ends_up_in_that_line(requires: Any) -> None:
    with pytest.raises(ParameterError, match=r"net: header entry zoo\.requires"):
        check_requires(saying({"zoo.requires": requires}))


# options and engines -------------------------------------------------------------------------------------------------


def test_options_of_the_call_win_over_those_of_the_document() -> None:
    assert engine_options(saying(options={"speed": "1"}), How(options={"speed": "2"}), ToyEngine()) == {"speed": "2"}


def test_a_document_trusts_nothing_through_options() -> None:
    with pytest.warns(ZooWarning, match="engine Toy has no option 'trust_programs'"):
        assert engine_options(saying(options={"trust_programs": "true"}), How(), ToyEngine()) == {}


@pytest.mark.parametrize(
    ("how", "engine"),
    [
        (How(), None),
        (How(block=Scale()), "Toy"),
        (How(block_factory=ScaleFactory()), "Toy"),
        (How(block_factory="toy.scale"), "Toy"),
        (How(block_factory="zoo-toy-engine:toy.scale"), "Toy"),
        (How(block_factory="scale"), None),
    ],
)
def test_a_block_or_a_factory_may_imply_the_engine(how: How, engine: str | None, installed: InstalledEntryPoints) -> None:
    assert implied_engine(how, Engines(installed), installed) == engine


def test_a_block_that_no_engine_knows_is_an_error(installed: InstalledEntryPoints) -> None:
    with pytest.raises(InputError, match="block: no installed engine knows a dict"):
        implied_engine(How(block={}), Engines(installed), installed)


@pytest.mark.parametrize("words", [3, [3], ["sha256:", None], {"a": 1}.items(), object()])
def test_trust_is_texts(words: Any) -> None:
    with pytest.raises(InputError, match=r"trust_code: expected texts such as 'sha256:\.\.\.'"):
        How(trust_code=words)


def test_one_text_is_one_trust_and_not_its_letters() -> None:
    assert How(trust_code="dist:a").trusting(["b"]).trust_code == ("dist:a", "b")
