"""The engines that are installed, by name."""

from __future__ import annotations

import pytest

from tests.core import toy_engine, toys
from zoo_core import AmbiguousPluginError, EngineNotInstalledError, PluginError, ZooWarning
from zoo_core.engines import Engines
from zoo_core.entry_points import ENGINES, EntryPoint, InstalledEntryPoints


class CannotBeMade(toy_engine.ToyEngine):
    def __init__(self) -> None:
        raise OSError("no driver")


class Exits(toy_engine.ToyEngine):
    def __init__(self) -> None:
        raise SystemExit(3)


class Asking(toy_engine.ToyEngine):
    def owns(self, block: object) -> bool:
        raise KeyError("what is that")


def entry(name: str, thing: object, distribution: str = "", **fields: object) -> EntryPoint:
    package = distribution or f"zoo-{name.lower()}"
    return EntryPoint(group=ENGINES, name=name, value=toys.value(thing), distribution=package, version="1.0", **fields)  # type: ignore[arg-type]


TOY, ALPHA = entry("Toy", toy_engine.ToyEngine), entry("Alpha", toy_engine.ToyEngine)
BROKEN = EntryPoint(group=ENGINES, name="Broken", value="module_that_is_missing:X", distribution="zoo-broken", version="1.0")


def engines(*entries: EntryPoint, order: tuple[str, ...] = ()) -> Engines:
    return Engines(InstalledEntryPoints(entries), order)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((), ("Alpha", "Broken", "Toy")),
        (("toy",), ("Toy", "Alpha", "Broken")),
        (("Broken", "other", "Toy"), ("Broken", "Toy", "Alpha")),
    ],
)
def test_names_come_in_the_users_order_then_by_name(order: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert engines(TOY, BROKEN, ALPHA, order=order).names == expected


def test_an_engine_is_had_by_its_name_in_any_case_and_made_once() -> None:
    found = engines(TOY)
    assert isinstance(found.get("toy"), toy_engine.ToyEngine)
    assert found.get("TOY") is found.get("Toy")


def test_an_engine_that_is_not_installed_is_an_error_with_the_remedy() -> None:
    with pytest.raises(
        EngineNotInstalledError, match=r"engine Tuy is not installed \(did you mean Toy\?\): pip install zoo-tuy"
    ) as caught:
        engines(TOY).get("Tuy")
    assert caught.value.missing == ("zoo-tuy",)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (BROKEN, "'Broken' of zoo-broken 1.0 cannot be imported: ModuleNotFoundError"),
        (entry("Broken", toys.ToyNet), "expected a subclass of zoo_core.Engine"),
        (entry("Broken", toys.a_function), "expected a subclass of zoo_core.Engine"),
        (entry("Broken", CannotBeMade), "'Broken' of zoo-broken 1.0 cannot be constructed: OSError: no driver"),
        (entry("Broken", Exits), "'Broken' of zoo-broken 1.0 cannot be constructed: SystemExit: 3"),
        (entry("Broken", toy_engine.ToyEngine, requires=("zoo-core>=99",)), "was made for zoo-core>=99"),
    ],
    ids=["import", "other class", "no class", "constructor", "constructor exits", "other core"],
)
def test_a_broken_engine_is_an_error_that_names_its_distribution(broken: EntryPoint, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        engines(broken, TOY).get("Broken")


def test_what_was_made_for_another_core_is_told_without_importing_it() -> None:
    future = entry("Future", toys.a_function, requires=("zoo-core>=99",))
    assert engines(TOY, future).incompatible() == {
        "Future": "zoo_core.engines 'Future' of zoo-future 1.0 was made for zoo-core>=99"
    }


def test_of_two_claims_the_package_named_after_the_engine_wins() -> None:
    found = engines(entry("Toy", toys.a_function, "acme-engines"), TOY)
    assert isinstance(found.get("Toy"), toy_engine.ToyEngine)


@pytest.mark.parametrize("name", ["Toy", "TOY", "toy"])
def test_a_stranger_takes_no_name_however_it_is_written(name: str) -> None:
    found = engines(entry(name, toys.a_function, "acme-engines", requires=("zoo-core>=99",)), TOY)
    assert found.names == ("Toy",)
    assert found.incompatible() == {}
    for asked in ("Toy", "TOY", "toy"):
        assert isinstance(found.get(asked), toy_engine.ToyEngine)


def test_what_only_strangers_claim_is_ambiguous() -> None:
    found = engines(entry("Toy", toy_engine.ToyEngine, "acme"), entry("TOY", toy_engine.ToyEngine, "other"))
    assert found.names == ("Toy",)
    with pytest.raises(AmbiguousPluginError, match="acme:Toy, other:TOY"):
        found.get("toy")


def test_the_owner_of_a_block_is_found_past_broken_engines() -> None:
    found = engines(BROKEN, TOY)
    assert found.owner_of(toy_engine.Scale()) is found.get("Toy")
    assert found.owner_of({}) is None


def test_an_engine_that_fails_when_asked_for_a_block_hides_no_other() -> None:
    found = engines(entry("Asking", Asking), TOY, order=("Asking",))
    with pytest.warns(ZooWarning, match=r"'Asking' of zoo-asking 1\.0: owns\(\) raised KeyError: 'what is that'"):
        assert found.owner_of(toy_engine.Scale()) is found.get("Toy")
