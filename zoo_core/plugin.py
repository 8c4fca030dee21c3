"""Plugins: found by name, imported late and guarded, checked against the contract, reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
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
    normalised,
)
from zoo_core.errors import PluginError, ZooWarning
from zoo_core.registered import checked_class
from zoo_core.repository.package import package_folder
from zoo_core.requirements import engine_package
from zoo_core.translator import Translator
from zoo_core.wording import did_you_mean

if TYPE_CHECKING:
    import pluggy


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
        self._manager: pluggy.PluginManager | None = None
        self._sources: list[tuple[object, str]] = []
        if plugins is not None:
            for plugin in plugins:
                self._register(plugin, type(plugin).__name__ if not hasattr(plugin, "__name__") else str(plugin.__name__))
            return
        for entry in installed.group(PLUGINS):
            try:
                self._register(entry.load(), f"{entry.distribution} {entry.version}")
            except PluginError as error:
                self.errors[entry] = str(error)

    def observe(self, name: str, **arguments: Any) -> None:
        """Tell every plugin; what one raises becomes a warning that names its distribution."""
        for plugin, source in self._sources:
            try:
                self._call(plugin, name, arguments)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer's fault must not stop the work
                warn(f"hook {name} of {source} raised {type(error).__name__}: {error}", ZooWarning, stacklevel=2)

    def first(self, name: str, **arguments: Any) -> Any:
        """The first answer that is not None.

        Raises:
            PluginError: A plugin raised; a veto, an order or an authorisation must not be lost.
        """
        for plugin, source in self._sources:
            try:
                answer = self._call(plugin, name, arguments)
            except (Exception, SystemExit) as error:
                raise PluginError(f"hook {name} of {source} raised {type(error).__name__}: {error}") from error
            if answer is not None:
                return answer
        return None

    def all(self, name: str, **arguments: Any) -> list[Any]:
        """The answers of all plugins, one after the other; what one raises becomes a warning."""
        answers: list[Any] = []
        for plugin, source in self._sources:
            try:
                found = self._call(plugin, name, arguments)
                answers += [item for part in found or [] for item in part]
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer's fault must not stop the work
                warn(f"hook {name} of {source} raised {type(error).__name__}: {error}", ZooWarning, stacklevel=2)
        return answers

    def _call(self, plugin: object, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call one plugin's implementation through pluggy, which passes the arguments that it takes."""
        manager = self._manager
        if manager is None:
            return None
        others = [other for other, _ in self._sources if other is not plugin]
        return manager.subset_hook_caller(name, remove_plugins=others)(**arguments)

    def _register(self, plugin: object, source: str) -> None:
        import pluggy

        from zoo_core import hookspecs

        if self._manager is None:
            self._manager = pluggy.PluginManager(hookspecs.PROJECT)
            self._manager.add_hookspecs(hookspecs)
        known = [name for name in vars(hookspecs) if name.startswith("zoo_")]
        for name in dir(plugin):
            # pluggy would keep a misspelt hook waiting for its specification for ever.
            if name not in known and self._manager.parse_hookimpl_opts(plugin, name) is not None:
                raise PluginError(f"{source}: there is no hook {name!r}{did_you_mean(name, known)}")
        try:
            self._manager.register(plugin)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(f"{source}: {' '.join(str(error).split())}") from error
        self._sources.append((plugin, source))


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
        _check(entry, hooks)
    except Exception as error:  # noqa: BLE001 - this reports whatever is wrong
        return "incompatible" if not entry.is_compatible else "broken", str(error)
    claims = [other for other in installed.group(entry.group) if other.name == entry.name]
    if len(claims) < 2 or entry.group in (REPOSITORIES, PLUGINS):
        return "ok", None
    owner = _owner(entry, installed)
    if owner is not None and normalised(owner) in [normalised(other.distribution) for other in claims]:
        if normalised(owner) == normalised(entry.distribution):
            return "ok", None
        return "shadowed", f"{owner} owns the name; {entry.qualified} chooses this one"
    return "ambiguous", f"also claimed by {', '.join(other.distribution for other in claims if other != entry)}"


def _owner(entry: EntryPoint, installed: InstalledEntryPoints) -> str | None:
    """The distribution that owns a name whoever uses it: the engine's, for names with its prefix."""
    if entry.group == BLOCK_FACTORIES:
        provider = installed.provider(entry.name.partition(".")[0])
        return provider.distribution if provider else None
    return engine_package(entry.name) if entry.group == ENGINES else None


def _check(entry: EntryPoint, hooks: Hooks) -> None:
    match entry.group:
        case "zoo_core.repositories":
            if ":" in entry.value or not entry.is_compatible:
                _check_function(entry)
            else:
                package_folder(entry.value)
        case "zoo_core.plugins":
            if entry in hooks.errors:
                raise PluginError(hooks.errors[entry])
        case "zoo_core.engines":
            engine_class(entry)
        case _:
            checked_class(entry, {BLOCK_FACTORIES: BlockFactory, TRANSLATORS: Translator}[entry.group])


def _check_function(entry: EntryPoint) -> None:
    function = entry.load()
    try:
        list(function())
    # As on import: a plugin that calls sys.exit() must not end the host.
    except (Exception, SystemExit) as error:
        raise PluginError(f"{entry.described} raised {type(error).__name__}: {error}") from error
