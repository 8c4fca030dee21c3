"""BlockFactory, which recovers an empty network, and its serialized form."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, EntryPoint, InstalledEntryPoints
from zoo_core.errors import AmbiguousPluginError, InputError, PackageNotInstalledError, PluginError
from zoo_core.registered import build, checked_class, entry_point_of, fields_of
from zoo_core.requirements import check_requirement, install_line, missing_requirements

if TYPE_CHECKING:
    from zoo_core.model import Model


class BlockFactory(ABC):
    """Recovers the empty structure of a network, so that a parameter file can fill it.

    A network written in code ("imperative") cannot be rebuilt from its parameters alone, while a traced or exported one
    ("symbolic") can. A model that mixes both (imperative, symbolic, imperative) used to need several files and hand-written
    loading. A factory recovers the structure, and whatever is symbolic inside it is recovered from the same parameter file as
    all other parameters: a factory and one file then serve the model anywhere.

    Subclass it as ``@dataclass(frozen=True, kw_only=True)`` whose fields are JSON values, and register the class:

        [project.entry-points."zoo_core.block_factories"]
        "pytorch.acme_net" = "zoo_acme.factory:AcmeNet"

    A factory compares, hashes and pickles by its fields:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Doubler(BlockFactory):
    ...     times: int = 2
    ...     def new_block(self, model, model_path, arguments):
    ...         return lambda x: self.times * x
    >>> Doubler(times=3) == Doubler(times=3)
    True
    >>> Doubler(times=3).new_block(None, None, {})(14)
    42

    Source: the idea is Deep Java Library's ``BlockFactory`` (pull requests 697 and 1045).
    """

    #: The engines in which a factory of this name builds a network with the same parameters; empty: only its own engine.
    engines: ClassVar[tuple[str, ...]] = ()
    #: Names of arguments that `new_block` reads beside the fields, so that they are not reported as taken by nobody.
    extra_arguments: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def new_block(self, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """Build the network without values for its parameters.

        Args:
            model: The model that is being loaded: name, engine, device and dtype are set, ``block`` is None.
            model_path: The artifact's folder, else the parameter file's; None where there is neither.
            arguments: All arguments of the artifact and of the call, also those that are fields of this factory.

        Returns:
            The engine's own network object, such as ``torch.nn.Module``.
        """

    def to_json(self) -> str:
        """The serialized form: the registered name, the engine, the fields, and what must be installed.

        Raises:
            PluginError: The class is no entry point, or a field is no JSON value.
        """
        return json.dumps(self.to_dict(InstalledEntryPoints.scan()))

    def to_dict(self, installed: InstalledEntryPoints) -> dict[str, Any]:
        """What `to_json` writes, as JSON values."""
        entry = entry_point_of(type(self), BLOCK_FACTORIES, installed)
        prefix, _, name = entry.name.rpartition(".")
        document: dict[str, Any] = {"factory": name}
        if prefix:
            document["engine"] = next((e.name for e in installed.group(ENGINES) if e.name.lower() == prefix), prefix)
        return {**document, "fields": fields_of(self), "requires": [requirement_of(entry)]}

    @classmethod
    def from_json(cls, text: str, *, engine: str | None = None) -> BlockFactory:
        """Recover a factory; only registered classes can be reached.

        Args:
            engine: The engine to use where the text names none.

        Raises:
            PackageNotInstalledError: What the text requires is not installed; the message has the ``pip install`` line.
            PluginError: The text is no serialized factory, or nobody registers the name.
            InputError: A field is unknown or has a wrong type.
        """
        return factory_from_dict(_decoded(text), InstalledEntryPoints.scan(), engine=engine)


def requirement_of(entry: EntryPoint) -> str:
    """What must be installed for a registered name to be found again: its distribution, from the present release on."""
    return f"{entry.distribution}>={'.'.join(entry.version.split('.')[:2])}"


def factory_from_dict(
    document: Mapping[str, Any], installed: InstalledEntryPoints, *, engine: str | None = None, carrier: str | None = None
) -> BlockFactory:
    """What `BlockFactory.from_json` does, from JSON values and entry points already read."""
    name, fields = document.get("factory"), document.get("fields", {})
    requires, named = document.get("requires", []), document.get("engine")
    if not (
        isinstance(name, str) and isinstance(named, str | None) and isinstance(fields, dict) and isinstance(requires, list)
    ):
        raise PluginError('a serialized factory is {"factory": NAME, "engine": ENGINE, "fields": {...}, "requires": [...]}')
    try:
        missing = missing_requirements(check_requirement(str(item)) for item in requires)
    except ValueError as error:
        raise PluginError(f"factory {name!r}: requires: {error}") from error
    if missing:
        raise PackageNotInstalledError(
            f"factory {name!r} needs packages that are not installed: {install_line(missing)}", missing
        )
    found = factory_class(name, installed, engine=named or engine, carrier=carrier)
    return build(found, fields, what=f"factory {name!r}")


def _decoded(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PluginError(f"a serialized factory is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise PluginError(f"a serialized factory is a JSON object, not {type(document).__name__}")
    return document


def factory_class(
    name: str, installed: InstalledEntryPoints, *, engine: str | None = None, carrier: str | None = None
) -> type[BlockFactory]:
    """The class that a factory's name means.

    Args:
        name: ``resnet_v1``, ``pytorch.resnet_v1`` or ``distribution:`` before either.
        engine: The engine the block is wanted in; its lower-case name is the prefix.
        carrier: The distribution that carries the artifact; it wins where several claim the name.

    Raises:
        PluginError: Nobody registers the name, or the class breaks the contract.
        AmbiguousPluginError: Several distributions claim it, or it exists for several engines and none was named.
    """
    distribution, separator, plain = name.rpartition(":")
    prefixes = [entry.name.lower() for entry in installed.group(ENGINES)]
    prefix = plain.partition(".")[0] if "." in plain and plain.partition(".")[0] in prefixes else ""
    if prefix and engine and prefix != engine.lower():
        raise InputError(f"factory {name!r} builds for the engine {prefix!r}, and {engine} was asked")
    if not prefix and engine:
        plain, prefix = f"{engine.lower()}.{plain}", engine.lower()
    elif not prefix:
        plain, prefix = _only_engine(plain, installed)
    provider = installed.provider(prefix)
    entry = installed.find(
        BLOCK_FACTORIES, f"{distribution}{separator}{plain}", owners=(carrier, provider.distribution if provider else None)
    )
    found: type[BlockFactory] = checked_class(entry, BlockFactory)
    return found


def _only_engine(name: str, installed: InstalledEntryPoints) -> tuple[str, str]:
    claims = sorted({entry.name for entry in installed.group(BLOCK_FACTORIES) if entry.name.rpartition(".")[2] == name})
    if len(claims) > 1:
        raise AmbiguousPluginError(f"factory {name!r} exists for several engines: name one of {', '.join(claims)}", claims)
    found = claims[0] if claims else name
    return found, found.rpartition(".")[0]


def factory_of(block: Any) -> BlockFactory:
    """The factory that builds a block like this one, as the block itself tells in its attribute ``zoo_factory``.

    Raises:
        InputError: The block does not know its factory.
    """
    factory = getattr(block, "zoo_factory", None)
    if isinstance(factory, BlockFactory):
        return factory
    raise InputError(
        f"{type(block).__name__} does not know its factory: set its attribute `zoo_factory`, or give one: "
        "Model(block, factory=...)"
    )
