"""What is installed, by name; nothing is imported until one of the names is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from warnings import warn

import importlib_metadata
import msgspec

from zoo_core.__about__ import __version__
from zoo_core.errors import AmbiguousPluginError, PluginError, ZooWarning
from zoo_core.requirements import core_metadata, engine_package
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


@contextmanager
def guarded(what: str, *passed: type[Exception]) -> Iterator[None]:
    """Run foreign code: whatever it raises becomes an error that names it.

    Args:
        what: Whose code it is and what it does, as the beginning of a sentence: ``hook zoo_loaded of acme 1.0 raised``.
        *passed: What is let through as it is.

    Raises:
        PluginError: The code raised something else.
    """
    try:
        yield
    except passed:
        raise
    # A plugin that calls sys.exit() must not end the host either.
    except (Exception, SystemExit) as error:
        # On one line: packaging draws its errors with a pointer below the text.
        raise PluginError(f"{what} {type(error).__name__}: {' '.join(str(error).split())}") from error


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
        """What its distribution asks of ``zoo-core`` (``>=0.1,<0.2``); "" where it asks nothing.

        Raises:
            PluginError: What it asks cannot be understood.
        """
        from packaging.requirements import Requirement

        for text in self.requires:
            if not _is_of_core(text):
                continue
            # Beyond malformed texts there are markers that parse and cannot be evaluated: os_name ~= 'posix'.
            with guarded(f"{self.described} asks for {text!r}, which cannot be understood:"):
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    return str(requirement.specifier)
        return ""

    @property
    def incompatibility(self) -> str:
        """Why its distribution is not for this core, or ""; asked before anything of it is imported."""
        try:
            asked = self.core_requirement
        except PluginError as error:
            return str(error)
        if not asked:
            return ""
        from packaging.specifiers import SpecifierSet

        is_met = SpecifierSet(asked).contains(__version__, prereleases=True)
        return "" if is_met else f"{self.described} was made for zoo-core{asked}"

    def load(self) -> Any:
        """Import what the name stands for.

        Raises:
            PluginError: The distribution was made for another core, or the import fails, whatever it raises.
        """
        if self.incompatibility:
            raise PluginError(f"{self.incompatibility}, and this is zoo-core {__version__}: pip install -U {self.distribution}")
        with guarded(f"{self.described} cannot be imported:"):
            return importlib_metadata.EntryPoint(self.name, self.value, self.group).load()

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
            try:
                # Its name cannot be read, so its folder has to name it.
                with guarded(f"{getattr(distribution, '_path', 'a distribution')}: its metadata cannot be read:"):
                    entries = list(_entries(distribution))
            except PluginError as error:
                warn(str(error), ZooWarning, stacklevel=2)
                continue
            if entries:
                # The first on sys.path is the one that would be imported.
                found.setdefault(normalised(entries[0].distribution), entries)
        return cls(tuple(entry for name in sorted(found) for entry in found[name]))

    def group(self, group: str) -> tuple[EntryPoint, ...]:
        """The entries of one group."""
        return tuple(entry for entry in self.entries if entry.group == group)

    def claims(self, group: str, name: str) -> tuple[EntryPoint, ...]:
        """The entries that claim a name; an engine's is the same in any case, so that nobody takes it by its case."""
        if group == ENGINES:
            return tuple(entry for entry in self.group(group) if entry.name.lower() == name.lower())
        return tuple(entry for entry in self.group(group) if entry.name == name)

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
        claims = list(self.claims(group, plain))
        if asked:
            claims = [entry for entry in claims if normalised(entry.distribution) == normalised(asked)]
        if not claims:
            known = {entry.name for entry in self.group(group)}
            raise PluginError(
                f"no installed package registers {name!r} in {group}{did_you_mean(plain, known)}. "
                f"Registered: {listing(known) or 'nothing'}"
            )
        for owner in owners:
            for entry in claims:
                if owner and normalised(entry.distribution) == normalised(owner):
                    return entry
        if len({normalised(entry.distribution) for entry in claims}) == 1:
            return claims[0]
        qualified = sorted(entry.qualified for entry in claims)
        # Engines are named in documents and questions, where no distribution stands before the name.
        remedy = "uninstall all but one of" if group == ENGINES else "choose one of"
        raise AmbiguousPluginError(
            f"{name!r} in {group} is claimed by several distributions: {remedy} {', '.join(qualified)}", qualified
        )

    def engine(self, name: str) -> EntryPoint:
        """The entry that an engine's name means: that of the distribution named after the engine, else the only one.

        Raises:
            PluginError: Nobody claims the name.
            AmbiguousPluginError: Several distributions claim it and none is named after it.
        """
        return self.find(ENGINES, name, owners=(engine_package(name),))

    def provider(self, engine: str) -> EntryPoint | None:
        """The entry that an engine's name means, as `engine` finds it; None where it means none."""
        try:
            return self.engine(engine)
        except PluginError:
            return None


def _is_of_core(requirement: str) -> bool:
    name = re.match(r"[\w.-]*", requirement)
    return name is not None and normalised(name.group()) == "zoo-core"


def _entries(distribution: Any) -> Iterable[EntryPoint]:
    text = distribution.read_text("entry_points.txt")
    # Parsing metadata is what a scan costs; most distributions have nothing for us.
    if not text or "zoo_core." not in text:
        return
    metadata = core_metadata(distribution)
    (name,), (version,) = metadata["Name"], metadata["Version"]
    # Parsed when it is asked for: the parser takes as long to import as this whole scan.
    requires = tuple(text for text in metadata.get("Requires-Dist", []) if text.lower().startswith("zoo"))
    for entry in distribution.entry_points:
        if entry.group not in GROUPS:
            continue
        yield EntryPoint(
            group=entry.group,
            name=entry.name,
            value=entry.value,
            distribution=name,
            version=version,
            requires=requires,
        )
