"""Which of the distributions that a model needs are missing here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import importlib_metadata


def missing_requirements(requires: Iterable[str]) -> tuple[str, ...]:
    """Those of the PEP 508 requirements that nothing installed satisfies, sorted; a malformed one counts as missing."""
    return tuple(sorted({text for text in requires if not _is_met(text)}))


def _is_met(text: str) -> bool:
    name, _, version = text.partition("==")
    try:
        if version and core_metadata(importlib_metadata.distribution(name))["Version"] == [version]:
            return True
    except (KeyError, ValueError, importlib_metadata.PackageNotFoundError):
        pass
    # Only what is not pinned exactly needs the parser, which takes longer to import than a search takes.
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    try:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            return True
        (version,) = core_metadata(importlib_metadata.distribution(requirement.name))["Version"]
        return requirement.specifier.contains(version, prereleases=True)
    except (InvalidRequirement, InvalidVersion, KeyError, ValueError, importlib_metadata.PackageNotFoundError):
        return False


def install_line(requires: Iterable[str]) -> str:
    """The command that installs requirements, quoted for a shell.

    >>> install_line(["zoo-mxnet", "zoo-pytorch>=0.1"])
    'pip install zoo-mxnet "zoo-pytorch>=0.1"'
    """
    names = sorted(set(requires))
    return "pip install " + " ".join(f'"{name}"' if any(char in name for char in "<>=!~[]; ") else name for name in names)


def engine_package(engine: str) -> str:
    """The distribution that brings an engine, by the naming convention."""
    return f"zoo-{engine.lower()}"


def core_metadata(distribution: Any) -> dict[str, list[str]]:
    """The header fields of an installed distribution: ``Name``, ``Version``, ``Requires-Dist``, ...

    importlib_metadata gives them through Python's package for e-mail, which alone takes as long to import as a search takes.
    Source: the core metadata specification; the three fields used here stand on one line each.
    """
    fields: dict[str, list[str]] = {}
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    for line in text.partition("\n\n")[0].splitlines():
        name, separator, value = line.partition(": ")
        if separator and not line[0].isspace():
            fields.setdefault(name, []).append(value.strip())
    return fields
