"""Which of the distributions that a model needs are missing here."""

from __future__ import annotations

from collections.abc import Iterable

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion


def missing_requirements(requires: Iterable[str]) -> tuple[str, ...]:
    """Those of the PEP 508 requirements that nothing installed satisfies, sorted; a malformed one counts as missing."""
    return tuple(sorted({text for text in requires if not _is_met(text)}))


def _is_met(text: str) -> bool:
    try:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            return True
        return requirement.specifier.contains(importlib_metadata.version(requirement.name), prereleases=True)
    except (InvalidRequirement, InvalidVersion, importlib_metadata.PackageNotFoundError):
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
