"""Plugins: found by name, imported late and guarded, checked against the contract, reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from warnings import warn

import msgspec

from zoo_core.block import BlockFactory
from zoo_core.engines import engine_class
from zoo_core.entry_points import (
    BLOCK_FACTORIES,
    ENGINES,
    GROUPS,
    PLUGINS,
    REPOSITORIES,
    TRANSLATORS,
    EntryPoint,
    InstalledEntryPoints,
    guarded,
    normalised,
)
from zoo_core.errors import PluginError, ZooError, ZooWarning
from zoo_core.places import repositories_of
from zoo_core.registered import checked_class
from zoo_core.repository.package import package_folder
from zoo_core.translator import Translator
from zoo_core.wording import did_you_mean


class PluginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One registered name and its state.

    Attributes:
        status: ``ok``, ``broken``, ``ambiguous`` (nobody owns the name), ``shadowed`` (another distribution owns it) or
            ``incompatible`` (made for another core).
        error: What is wrong, or None.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    status: str
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return msgspec.structs.asdict(self)


class Hooks:
    """The hooks of the installed plugins; one that raises never stops the others.

    Args:
        plugins: Objects to use instead of the installed ones.
    """

    def __init__(self, installed: InstalledEntryPoints, plugins: Iterable[object] | None = None) -> None:
        self.errors: dict[EntryPoint, str] = {}
        self._sources: list[_Plugin] = []
        if plugins is not None:
            for plugin in plugins:
                self._register(plugin, type(plugin).__name__ if not hasattr(plugin, "__name__") else str(plugin.__name__))
            return
        for entry in installed.group(PLUGINS):
            source = f"{entry.distribution} {entry.version}"
            try:
                # Looking at a module runs foreign code too, where it has a `__dir__` or a `__getattr__` of its own.
                with guarded(f"{source} cannot be registered:", PluginError):
                    self._register(entry.load(), source)
            except PluginError as error:
                self.errors[entry] = str(error)

    def observe(self, name: str, **arguments: Any) -> None:
        """Tell every plugin; what one raises becomes a warning that names its distribution."""
        for plugin in self._sources:
            try:
                plugin.call(name, arguments)
            except PluginError as error:
                warn(str(error), ZooWarning, stacklevel=2)

    def first(self, name: str, **arguments: Any) -> Any:
        """The first answer that is not None.

        Raises:
            PluginError: A plugin raised, or answered what its hook does not promise; a veto, an order or an authorisation
                must not be lost.
        """
        for plugin in self._sources:
            answer = plugin.call(name, arguments)
            if answer is not None:
                return answer
        return None

    def all(self, name: str, **arguments: Any) -> list[Any]:
        """The answers of all plugins, one after the other; a plugin's fault becomes a warning."""
        answers: list[Any] = []
        for plugin in self._sources:
            try:
                answers += [item for part in plugin.call(name, arguments) for item in part]
            except PluginError as error:
                warn(str(error), ZooWarning, stacklevel=2)
        return answers

    def _register(self, plugin: object, source: str) -> None:
        import pluggy

        from zoo_core import hookspecs

        if any(plugin is other.plugin for other in self._sources):
            raise PluginError(f"{source}: its hooks are registered already")
        # One manager a plugin: of one that is refused half-way, nothing stays behind among the others' hooks.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        known = [name for name in vars(hookspecs) if name.startswith("zoo_")]
        for name in dir(plugin):
            # pluggy would keep a misspelt hook waiting for its specification for ever.
            if name not in known and manager.parse_hookimpl_opts(plugin, name) is not None:
                raise PluginError(f"{source}: there is no hook {name!r}{did_you_mean(name, known)}")
        try:
            manager.register(plugin)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(f"{source}: {' '.join(str(error).split())}") from error
        self._sources.append(_Plugin(plugin, source, manager))


class _Plugin(msgspec.Struct, frozen=True):
    """A plugin with hooks, and what it is called in messages."""

    plugin: object
    source: str
    manager: Any

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What it answers to a hook; pluggy passes the arguments that it takes.

        Raises:
            PluginError: It raised, or answered what the hook does not promise.
        """
        promised = _PROMISED.get(name)
        with guarded(f"hook {name} of {self.source} raised"):
            answer = getattr(self.manager.hook, name)(**arguments)
            # Looking into an answer runs foreign code as well: an iterator may raise.
            is_kept = answer is None or promised is None or promised.holds(answer, arguments)
        if promised is not None and not is_kept:
            raise PluginError(
                f"hook {name} of {self.source} must give {promised.what}; its answer, a {type(answer).__name__}, is not that"
            )
        return answer


class _Promise(msgspec.Struct, frozen=True):
    """What a hook's answer is, if it is not None."""

    what: str
    holds: Callable[[Any, Mapping[str, Any]], bool]


def _is_order(answer: Any, arguments: Mapping[str, Any]) -> bool:
    if not isinstance(answer, list):
        return False
    given, found = {id(record) for record in arguments["records"]}, {id(record) for record in answer}
    return found <= given and len(found) == len(answer)


def _is_headers(answer: Any, _: Mapping[str, Any]) -> bool:
    return isinstance(answer, Mapping) and all(isinstance(text, str) for item in answer.items() for text in item)


def _are_commands(answer: Any, _: Mapping[str, Any]) -> bool:
    import click

    return all(isinstance(part, list | tuple) and all(isinstance(item, click.Command) for item in part) for part in answer)


_PROMISED = {
    "zoo_veto_candidate": _Promise("a reason as text, or None", lambda answer, _: isinstance(answer, str)),
    "zoo_order_candidates": _Promise("a list of the records that it was given, each at most once, or None", _is_order),
    "zoo_authorise_request": _Promise("a mapping of text to text, or None", _is_headers),
    "zoo_cli_commands": _Promise("a list of click commands", _are_commands),
}


def plugin_records(installed: InstalledEntryPoints, hooks: Hooks) -> list[PluginRecord]:
    """Every registered name with its state; each is imported, guarded, to tell."""
    return [_record(entry, installed, hooks) for group in GROUPS for entry in installed.group(group)]


def _record(entry: EntryPoint, installed: InstalledEntryPoints, hooks: Hooks) -> PluginRecord:
    status, error = _state(entry, installed, hooks)
    return PluginRecord(
        group=entry.group,
        name=entry.name,
        value=entry.value,
        distribution=entry.distribution,
        version=entry.version,
        status=status,
        error=error,
    )


def _state(entry: EntryPoint, installed: InstalledEntryPoints, hooks: Hooks) -> tuple[str, str | None]:
    try:
        with guarded(f"{entry.described} raised", ZooError):
            _check(entry, hooks)
    except ZooError as error:
        return "incompatible" if entry.incompatibility else "broken", str(error)
    claims = installed.claims(entry.group, entry.name)
    if len(claims) < 2 or entry.group in (REPOSITORIES, PLUGINS):
        return "ok", None
    owner = _owner(entry, installed)
    if owner is not None and normalised(owner) in [normalised(other.distribution) for other in claims]:
        if normalised(owner) == normalised(entry.distribution):
            return "ok", None
        # No distribution stands before an engine's name where engines are asked for.
        remedy = "" if entry.group == ENGINES else f"; {entry.qualified} chooses this one"
        return "shadowed", f"{owner} owns the name{remedy}"
    return "ambiguous", f"also claimed by {', '.join(other.distribution for other in claims if other != entry)}"


def _owner(entry: EntryPoint, installed: InstalledEntryPoints) -> str | None:
    """The distribution that owns a name whoever uses it: the engine's, for its name and for names with its prefix."""
    if entry.group not in (ENGINES, BLOCK_FACTORIES):
        return None
    provider = installed.provider(entry.name if entry.group == ENGINES else entry.name.partition(".")[0])
    return provider.distribution if provider else None


def _check(entry: EntryPoint, hooks: Hooks) -> None:
    match entry.group:
        case "zoo_core.repositories":
            if ":" in entry.value or entry.incompatibility:
                repositories_of(entry)
            else:
                package_folder(entry.value)
        case "zoo_core.plugins":
            if entry in hooks.errors:
                raise PluginError(hooks.errors[entry])
        case "zoo_core.engines":
            engine_class(entry)
        case _:
            checked_class(entry, {BLOCK_FACTORIES: BlockFactory, TRANSLATORS: Translator}[entry.group])
