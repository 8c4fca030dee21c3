"""What is installed, by name."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import distributions
from zoo_core import AmbiguousPluginError, PluginError, ZooWarning, __version__
from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, TRANSLATORS, EntryPoint, InstalledEntryPoints, normalised


def entry(name: str, distribution: str, *, group: str = BLOCK_FACTORIES, **fields: Any) -> EntryPoint:
    defaults = {"value": "acme.nets:Net", "version": "1.0"}
    return EntryPoint(group=group, name=name, distribution=distribution, **{**defaults, **fields})


@pytest.mark.parametrize("name", ["zoo-pytorch", "zoo.pytorch", "Zoo_PyTorch", "zoo--pytorch", "ZOO-_.pytorch"])
def test_writings_of_one_distribution_are_one_name(name: str) -> None:
    assert normalised(name) == "zoo-pytorch"


# find ----------------------------------------------------------------------------------------------------------------

ACME, ZOO = entry("pytorch.net", "acme-nets"), entry("pytorch.net", "zoo-pytorch")
ALONE, TRANSLATOR = entry("pytorch.alone", "acme-nets"), entry("pytorch.net", "other", group=TRANSLATORS)
INSTALLED = InstalledEntryPoints((ACME, ZOO, ALONE, TRANSLATOR))


def test_a_name_that_one_distribution_claims_means_that_one() -> None:
    assert INSTALLED.find(BLOCK_FACTORIES, "pytorch.alone") == ALONE


def test_a_name_belongs_to_its_group() -> None:
    assert INSTALLED.find(TRANSLATORS, "pytorch.net") == TRANSLATOR


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        (("zoo-pytorch",), ZOO),
        (("Zoo.PyTorch",), ZOO),
        (("acme-nets", "zoo-pytorch"), ACME),
        ((None, "", "unknown", "zoo-pytorch", "acme-nets"), ZOO),
    ],
)
def test_of_several_claims_the_first_owner_that_makes_one_wins(owners: tuple[str | None, ...], expected: EntryPoint) -> None:
    assert INSTALLED.find(BLOCK_FACTORIES, "pytorch.net", owners=owners) == expected


@pytest.mark.parametrize("name", ["acme-nets:pytorch.net", "Acme_Nets:pytorch.net"])
def test_a_qualified_name_chooses_whoever_owns_it(name: str) -> None:
    assert INSTALLED.find(BLOCK_FACTORIES, name, owners=("zoo-pytorch",)) == ACME


@pytest.mark.parametrize("owners", [(), (None,), ("a-third",)])
def test_several_claims_without_an_owner_are_ambiguous_and_all_are_named(owners: tuple[str | None, ...]) -> None:
    with pytest.raises(AmbiguousPluginError) as caught:
        INSTALLED.find(BLOCK_FACTORIES, "pytorch.net", owners=owners)
    assert caught.value.claimants == ("acme-nets:pytorch.net", "zoo-pytorch:pytorch.net")
    assert "choose one of acme-nets:pytorch.net, zoo-pytorch:pytorch.net" in str(caught.value)


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        (BLOCK_FACTORIES, "pytorch.nett", r"'pytorch\.nett' in zoo_core\.block_factories.*did you mean pytorch\.net"),
        (BLOCK_FACTORIES, "zzz", r"Registered: pytorch\.alone, pytorch\.net"),
        (BLOCK_FACTORIES, "other:pytorch.net", r"'other:pytorch\.net'"),
        (ENGINES, "PyTorch", "Registered: nothing"),
    ],
    ids=["near", "far", "not of that distribution", "empty group"],
)
def test_a_name_that_nobody_claims_is_an_error_with_what_there_is(group: str, name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        INSTALLED.find(group, name)
    assert type(caught.value) is PluginError


def test_the_provider_of_an_engine_is_found_in_any_case() -> None:
    pytorch = entry("PyTorch", "zoo-pytorch", group=ENGINES)
    assert InstalledEntryPoints((pytorch,)).provider("pytorch") == pytorch


@pytest.mark.parametrize("distributions", [(), ("acme-pytorch", "other-pytorch")])
def test_there_is_no_provider_where_none_or_several_strangers_claim_the_engine(distributions: tuple[str, ...]) -> None:
    installed = InstalledEntryPoints(tuple(entry("PyTorch", name, group=ENGINES) for name in distributions))
    assert installed.provider("PyTorch") is None


@pytest.mark.parametrize("asked", ["PyTorch", "pytorch"])
@pytest.mark.parametrize("name", ["PyTorch", "PYTORCH"])
def test_nobody_takes_an_engine_from_the_distribution_that_is_named_after_it(name: str, asked: str) -> None:
    own, stranger = entry("PyTorch", "Zoo.PyTorch", group=ENGINES), entry(name, "acme-nets", group=ENGINES)
    for entries in ((own, stranger), (stranger, own)):
        assert InstalledEntryPoints(entries).provider(asked) == own


def test_an_engine_that_several_strangers_claim_is_an_error_with_a_remedy_that_works() -> None:
    installed = InstalledEntryPoints((entry("Toy", "acme", group=ENGINES), entry("TOY", "other", group=ENGINES)))
    with pytest.raises(AmbiguousPluginError, match="uninstall all but one of acme:Toy, other:TOY"):
        installed.engine("toy")


def test_a_distribution_that_writes_its_engine_twice_is_one_claimant() -> None:
    first, second = entry("TOY", "acme", group=ENGINES), entry("Toy", "acme", group=ENGINES)
    assert InstalledEntryPoints((first, second)).provider("toy") == first


# made for this core --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "asked", "compatible"),
    [
        ((), "", True),
        (("zoo-core",), "", True),
        (("zoo-core>=0.1",), ">=0.1", True),
        (("Zoo_Core >=0.1 ,<99",), "<99,>=0.1", True),
        ((f"zoo-core=={__version__}",), f"=={__version__}", True),
        (("zoo-core>=99",), ">=99", False),
        (("zoo-core<0.0.1",), "<0.0.1", False),
        (("zoo-core-extras>=99", "zoo-core>=0.1"), ">=0.1", True),
        (('zoo-core>=99; extra == "future"',), "", True),
        (('zoo-core>=99; python_version < "3"',), "", True),
        (('zoo-core>=99; python_version >= "3"',), ">=99", False),
        (("zoo-core[vision]>=99",), ">=99", False),
        (("zoo-other !!", "zoo-core>=99"), ">=99", False),
    ],
)
def test_a_distribution_says_which_core_it_was_made_for(requires: tuple[str, ...], asked: str, compatible: bool) -> None:
    claim = entry("n", "acme", requires=requires)
    assert (claim.core_requirement, claim.incompatibility == "") == (asked, compatible)


@pytest.mark.parametrize("requires", ["zoo-core !!", "zoo-core; os_name ~= 'posix'", "Zoo_Core; os_name ~= 'posix'"])
def test_what_cannot_be_understood_is_not_for_this_core(requires: str) -> None:
    claim = entry("n", "acme", requires=(requires,))
    assert "'n' of acme 1.0 asks for" in claim.incompatibility
    assert "cannot be understood" in claim.incompatibility
    with pytest.raises(PluginError, match=r"cannot be understood.*pip install -U acme"):
        claim.load()


# load ----------------------------------------------------------------------------------------------------------------


def test_loading_gives_what_the_name_stands_for() -> None:
    assert entry("n", "acme", value="zoo_core.entry_points:EntryPoint").load() is EntryPoint


def test_what_was_made_for_another_core_is_not_imported(install: Callable[..., Path]) -> None:
    install("acme-nets", modules={"acme_future.py": "raise AssertionError('imported')"})
    claim = entry("n", "acme-nets", value="acme_future:Net", requires=("zoo-core>=99",))
    with pytest.raises(
        PluginError,
        match=rf"'n' of acme-nets 1\.0 was made for zoo-core>=99.*zoo-core {re.escape(__version__)}.*pip install -U acme-nets",
    ):
        claim.load()
    assert "acme_future" not in sys.modules


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence key')", "RuntimeError: no licence key"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import module_that_is_missing", "ModuleNotFoundError: No module named 'module_that_is_missing'"),
        ("def", "SyntaxError"),
        ("", "AttributeError"),
    ],
    ids=["raises", "exits", "lacks a module", "is no Python", "lacks the name"],
)
def test_whatever_an_import_raises_is_a_plugin_error_that_names_who_did_it(
    install: Callable[..., Path], source: str, reason: str
) -> None:
    install("acme-nets", modules={"acme_broken.py": source})
    with pytest.raises(PluginError) as caught:
        entry("pytorch.net", "acme-nets", value="acme_broken:Net").load()
    assert f"zoo_core.block_factories 'pytorch.net' of acme-nets 1.0 cannot be imported: {reason}" in str(caught.value)
    assert caught.value.__cause__ is not None


# scan ----------------------------------------------------------------------------------------------------------------


def scanned(distribution: str) -> list[EntryPoint]:
    return [found for found in InstalledEntryPoints.scan().entries if found.distribution == distribution]


def test_a_scan_reads_names_and_imports_nothing(install: Callable[..., Path]) -> None:
    points = {
        BLOCK_FACTORIES: {"pytorch.acme": "acme_late.nets:Net"},
        TRANSLATORS: {"acme_labels": "acme_late.labels:Labels"},
        "console_scripts": {"acme": "acme_late:main"},
        "zoo_core.unknown": {"x": "acme_late:x"},
    }
    install("acme-nets", "2.1", entry_points=points, requires=("zoo-core>=0.1", "numpy"), modules={"acme_late/__init__.py": ""})
    assert scanned("acme-nets") == [
        EntryPoint(group=group, name=name, value=value, distribution="acme-nets", version="2.1", requires=("zoo-core>=0.1",))
        for group, name, value in (
            (BLOCK_FACTORIES, "pytorch.acme", "acme_late.nets:Net"),
            (TRANSLATORS, "acme_labels", "acme_late.labels:Labels"),
        )
    ]
    assert "acme_late" not in sys.modules


def test_a_scan_finds_our_own_translator() -> None:
    assert [(found.name, found.value) for found in scanned("zoo-core")] == [
        ("image_classification", "zoo_core.vision:ImageClassification"),
        ("object_detection", "zoo_core.detection:ObjectDetection"),
    ]


def test_a_scan_is_sorted_by_distribution(install: Callable[..., Path]) -> None:
    for name in ("zebra", "acme"):
        install(name, entry_points={TRANSLATORS: {f"{name}_labels": "x:y"}})
    names = [normalised(found.distribution) for found in InstalledEntryPoints.scan().entries]
    assert names == sorted(names)
    assert {"acme", "zebra"} <= set(names)


def test_of_two_copies_the_one_that_would_be_imported_counts(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-nets", "1.0", entry_points={TRANSLATORS: {"old": "x:y"}})
    nearer = tmp_path / "nearer"
    nearer.mkdir()
    distributions.install(nearer, "Acme.Nets", "2.0", entry_points={TRANSLATORS: {"new": "x:y"}})
    monkeypatch.syspath_prepend(str(nearer))
    found = [
        (item.name, item.version)
        for item in InstalledEntryPoints.scan().entries
        if normalised(item.distribution) == "acme-nets"
    ]
    assert found == [("new", "2.0")]


@pytest.mark.parametrize("damage", ["", "Name: acme\n", "Version: 1\n", "\x00\x01"])
def test_a_distribution_with_damaged_metadata_hurts_nobody_else(install: Callable[..., Path], damage: str) -> None:
    folder = install("damaged", entry_points={TRANSLATORS: {"damaged_labels": "x:y"}})
    (folder / "damaged-1.0.dist-info" / "METADATA").write_text(damage)
    install("healthy", entry_points={TRANSLATORS: {"healthy_labels": "x:y"}})
    with pytest.warns(ZooWarning, match=r"damaged-1\.0\.dist-info: its metadata cannot be read"):
        names = {found.name for found in InstalledEntryPoints.scan().entries}
    assert "healthy_labels" in names
    assert "damaged_labels" not in names


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_a_distribution_in_another_encoding_hurts_nobody_else(install: Callable[..., Path], name: str) -> None:
    folder = install("damaged", entry_points={TRANSLATORS: {"damaged_labels": "x:y"}})
    with (folder / "damaged-1.0.dist-info" / name).open("ab") as file:
        file.write("\nAuthor: Jérôme\n".encode("latin-1"))
    install("healthy", entry_points={TRANSLATORS: {"healthy_labels": "x:y"}})
    with pytest.warns(ZooWarning, match=r"damaged-1\.0\.dist-info: its metadata cannot be read: UnicodeDecodeError"):
        names = {found.name for found in InstalledEntryPoints.scan().entries}
    assert "healthy_labels" in names


def test_an_uninstalled_distribution_has_vanished(install: Callable[..., Path]) -> None:
    folder = install("acme-nets", entry_points={TRANSLATORS: {"acme_labels": "x:y"}})
    assert scanned("acme-nets")
    shutil.rmtree(folder / "acme_nets-1.0.dist-info")
    assert not scanned("acme-nets")
