"""The engines that are installed, by name; each is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Iterable
from warnings import warn

from zoo_core.engine import Engine
from zoo_core.entry_points import ENGINES, EntryPoint, InstalledEntryPoints, guarded
from zoo_core.errors import EngineNotInstalledError, PluginError, ZooWarning
from zoo_core.requirements import engine_package, install_line
from zoo_core.wording import did_you_mean


class Engines:
    """The engines that are installed; each is imported when it is first needed."""

    def __init__(self, installed: InstalledEntryPoints, order: Iterable[str] = ()) -> None:
        self._installed = installed
        self._order = tuple(order)
        self._loaded: dict[str, Engine] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, each once and as its owner writes it, in the order of the user's configuration, then by name."""
        names = {(self._installed.provider(entry.name) or entry).name for entry in self._installed.group(ENGINES)}
        names = set({name.lower(): name for name in sorted(names)}.values())
        order = [name.lower() for name in self._order]
        return tuple(sorted(names, key=lambda name: (order.index(name.lower()) if name.lower() in order else len(order), name)))

    def incompatible(self) -> dict[str, str]:
        """Engine -> what is wrong with its plugin, as far as it can be told without importing it."""
        problems = {}
        for name in self.names:
            owner = self._installed.provider(name)
            if owner is not None and owner.incompatibility:
                problems[name] = owner.incompatibility
        return problems

    def get(self, name: str) -> Engine:
        """An engine by its name in any case.

        Raises:
            EngineNotInstalledError: No installed distribution provides it.
            PluginError: Its plugin is broken.
        """
        known = next((engine for engine in self.names if engine.lower() == name.lower()), None)
        if known is None:
            package = engine_package(name)
            raise EngineNotInstalledError(
                f"engine {name} is not installed{did_you_mean(name, self.names)}: {install_line([package])}", [package]
            )
        if known not in self._loaded:
            self._loaded[known] = self._load(known)
        return self._loaded[known]

    def _load(self, name: str) -> Engine:
        entry = self._installed.engine(name)
        found = engine_class(entry)
        with guarded(f"{entry.described} cannot be constructed:"):
            return found()

    def owner_of(self, block: object) -> Engine | None:
        """The engine whose block an object is; broken engines are passed over, one that fails when asked with a warning."""
        roots = {cls.__module__.partition(".")[0] for cls in type(block).__mro__}
        # `torch` is in `PyTorch`: most often the right engine is asked first, and the others need not be imported.
        likely = sorted(self.names, key=lambda name: not any(root in name.lower() for root in roots))
        for name in likely:
            try:
                engine = self.get(name)
            except PluginError:
                continue
            try:
                with guarded(f"{self._installed.engine(name).described}: owns() raised"):
                    if engine.owns(block):
                        return engine
            except PluginError as error:
                warn(str(error), ZooWarning, stacklevel=2)
        return None


def engine_class(entry: EntryPoint) -> type[Engine]:
    """What an entry point of an engine stands for.

    Raises:
        PluginError: It cannot be imported, or is no engine.
    """
    found = entry.load()
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise PluginError(f"{entry.described} is {found!r}; expected a subclass of zoo_core.Engine")
    return found
