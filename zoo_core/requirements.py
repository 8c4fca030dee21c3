"""Which of the distributions that a model needs are missing here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

import importlib_metadata

#: What needs no parser to be known as harmless, which is almost every requirement.
_PLAIN_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w.,-]+\])?(?:(?:==|>=|<=|~=|!=|<|>)[\w.*+!]+,?)*", re.ASCII)


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


def check_requirement(text: str) -> str:
    """A requirement as it stands, if it is one: what is foreign here ends up in a command that users paste into a shell.

    Raises:
        ValueError: It is no PEP 508 requirement of a distribution by its name.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    if not _PLAIN_REQUIREMENT.fullmatch(text):
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"{text!r} is no requirement such as 'acme-nets>=1.2'") from error
        if requirement.url:
            raise ValueError(f"{text!r} names an address; expected a distribution such as 'acme-nets>=1.2'")
    return text


def distribution_of(requirement: str) -> str:
    """The name of the distribution that a PEP 508 requirement asks for.

    >>> distribution_of("acme-nets[demo]>=1.2")
    'acme-nets'
    """
    found = re.match(r"[\w.-]+", requirement, re.ASCII)
    return found[0] if found else requirement


def install_line(requires: Iterable[str]) -> str:
    """The command that installs requirements, quoted for a shell.

    >>> install_line(["zoo-mxnet", "zoo-pytorch>=0.1"])
    'pip install zoo-mxnet "zoo-pytorch>=0.1"'
    """
    return " ".join(["pip install", *(_quoted(text) for text in sorted(set(requires)))])


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w.-]+", text, re.ASCII):
        return text
    # Double quotes serve every system's shell, as long as nothing inside means something to one.
    return f'"{text}"' if re.fullmatch(r"[\w.,<>=~*+\[\]; -]+", text, re.ASCII) else shlex.quote(text)


def check_engine(name: str) -> str:
    """An engine's name as it stands, if it is one; the package that brings it is named after it.

    Raises:
        ValueError: It has other characters than letters, digits, dots, hyphens and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(f"{name!r} is no engine's name such as 'PyTorch'")
    return name


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
