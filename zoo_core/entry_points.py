"""What is installed, by name; nothing is imported until one of the names is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import importlib_metadata
import msgspec

from zoo_core.__about__ import __version__
from zoo_core.errors import AmbiguousPluginError, PluginError
from zoo_core.requirements import core_metadata
from zoo_core.wording import did_you_mean, listing

ENGINES = "zoo_core.engines"
BLOCK_FACTORIES = "zoo_core.block_factories"
REPOSITORIES = "zoo_core.repositories"
TRANSLATORS = "zoo_core.translators"
PLUGINS = "zoo_core.plugins"
GROUPS = (ENGINES, BLOCK_FACTORIES, TRANSLATORS, REPOSITORIES, PLUGINS)


def normalised(distribution: str) -> str:
    """A distribution's name for comparison: ``zoo.pytorch``, ``Zoo_PyTorch`` and ``zoo-pytorch`` are one."""
    return "-".join(part for part in distribution.lower().replace("_", "-").replace(".", "-").split("-") if part)


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One installed name.

    Attributes:
        distribution: The name of the distribution that claims it.
        version: The distribution's version.
        requires: What the distribution asks of packages whose names begin with ``zoo``, as PEP 508 requirements.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    requires: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """The name that chooses exactly this one: ``distribution:name``."""
        return f"{self.distribution}:{self.name}"

    @property
    def core_requirement(self) -> str:
        """What its distribution asks of ``zoo-core`` (``>=0.1,<0.2``); "" where it asks nothing."""
        from packaging.requirements import InvalidRequirement, Requirement

        for text in self.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            is_meant = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if normalised(requirement.name) == "zoo-core" and is_meant:
                return str(requirement.specifier)
        return ""

    @property
    def is_compatible(self) -> bool:
        """Whether its distribution was made for this core; asked before anything of it is imported."""
        if not self.core_requirement:
            return True
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(self.core_requirement).contains(__version__, prereleases=True)

    def load(self) -> Any:
        """Import what the name stands for.

        Raises:
            PluginError: The distribution was made for another core, or the import fails, whatever it raises.
        """
        if not self.is_compatible:
            raise PluginError(
                f"{self.described} was made for zoo-core{self.core_requirement}, and this is zoo-core {__version__}: "
                f"pip install -U {self.distribution}"
            )
        try:
            return importlib_metadata.EntryPoint(self.name, self.value, self.group).load()
        # A plugin is foreign code: one that calls sys.exit() when imported must not end the host.
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.described} cannot be imported: {type(error).__name__}: {error}") from error

    @property
    def described(self) -> str:
        """The name with where it comes from, for messages."""
        return f"{self.group} {self.name!r} of {self.distribution} {self.version}"


class InstalledEntryPoints(msgspec.Struct, frozen=True):
    """All names that the installed distributions register for Zoo, sorted by distribution."""

    entries: tuple[EntryPoint, ...] = ()

    @classmethod
    def scan(cls) -> InstalledEntryPoints:
        """Read the entry points of what is installed, in one pass over the distributions."""
        found: dict[str, list[EntryPoint]] = {}
        for distribution in importlib_metadata.distributions():
            entries = list(_entries(distribution))
            if entries:
                # The first on sys.path is the one that would be imported.
                found.setdefault(normalised(entries[0].distribution), entries)
        return cls(tuple(entry for name in sorted(found) for entry in found[name]))

    def group(self, group: str) -> tuple[EntryPoint, ...]:
        """The entries of one group."""
        return tuple(entry for entry in self.entries if entry.group == group)

    def find(self, group: str, name: str, *, owners: Iterable[str | None] = ()) -> EntryPoint:
        """The entry that a name means to its user.

        Args:
            name: A name of the group, or ``distribution:name``.
            owners: The distributions that win if several claim the name, in order.

        Raises:
            PluginError: Nobody claims the name.
            AmbiguousPluginError: Several distributions claim it and none of them is an owner.
        """
        asked, _, plain = name.rpartition(":")
        entries = self.group(group)
        claims = [entry for entry in entries if entry.name == plain]
        if asked:
            claims = [entry for entry in claims if normalised(entry.distribution) == normalised(asked)]
        if not claims:
            known = {entry.name for entry in entries}
            raise PluginError(
                f"no installed package registers {name!r} in {group}{did_you_mean(plain, known)}. "
                f"Registered: {listing(known) or 'nothing'}"
            )
        for owner in owners:
            for entry in claims:
                if owner and normalised(entry.distribution) == normalised(owner):
                    return entry
        if len(claims) == 1:
            return claims[0]
        qualified = sorted(entry.qualified for entry in claims)
        raise AmbiguousPluginError(
            f"{name!r} in {group} is claimed by several distributions: choose one of {', '.join(qualified)}", qualified
        )

    def provider(self, engine: str) -> EntryPoint | None:
        """The entry that provides an engine, by its name in any case; None where none or several do."""
        claims = [entry for entry in self.group(ENGINES) if entry.name.lower() == engine.lower()]
        return claims[0] if len(claims) == 1 else None


def _entries(distribution: Any) -> Iterable[EntryPoint]:
    text = distribution.read_text("entry_points.txt")
    # Parsing metadata is what a scan costs; most distributions have nothing for us.
    if not text or "zoo_core." not in text:
        return
    try:
        entries = [entry for entry in distribution.entry_points if entry.group in GROUPS]
        metadata = core_metadata(distribution)
        (name,), (version,) = metadata["Name"], metadata["Version"]
        # Parsed when it is asked for: the parser takes as long to import as this whole scan.
        requires = tuple(text for text in metadata.get("Requires-Dist", []) if text.lower().startswith("zoo"))
    except (KeyError, ValueError, AttributeError, TypeError):
        # A distribution whose own metadata is damaged has no name to report it by; it offers nothing.
        return
    for entry in entries:
        yield EntryPoint(
            group=entry.group,
            name=entry.name,
            value=entry.value,
            distribution=name,
            version=version,
            requires=requires,
        )
