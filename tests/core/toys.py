"""Factories and translators for tests, in a module, as those of a plugin are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo_core import BlockFactory, Translator
from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, TRANSLATORS, EntryPoint


@dataclass(frozen=True)
class Size:
    """A field that is an object itself."""

    width: int
    height: int = 1


@dataclass(frozen=True, kw_only=True)
class ToyNet(BlockFactory):
    """Every kind of field that JSON can say."""

    layers: int
    num_classes: int = 10
    scale: float = 1.0
    bias: bool = True
    activation: Literal["relu", "tanh"] = "relu"
    hidden: tuple[int, ...] = ()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    size: Size | None = None
    derived: int = dataclasses.field(init=False, default=7)

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, not {self.layers}")

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return ("toy block", self.layers, model_path, dict(arguments))


@dataclass(frozen=True, kw_only=True)
class NeutralNet(BlockFactory):
    """One that exists for two engines."""

    engines = ("PyTorch", "MXNet")

    width: int = 3

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return self.width


@dataclass(frozen=True, kw_only=True)
class ToyLabels(Translator):
    """Nothing but fields."""

    labels: tuple[str, ...] = ()

    def process_input(self, context: Any, x: Any) -> Any:
        return (x,)

    def process_output(self, context: Any, arrays: Any) -> Any:
        return arrays


@dataclass(frozen=True, kw_only=True)
class Unregistered(BlockFactory):
    """One that no package registers."""

    width: int = 3

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return self.width


@dataclass(frozen=True, kw_only=True)
class UnregisteredLabels(ToyLabels):
    """A translator that no package registers."""


@dataclass(frozen=True, kw_only=True)
class Unspeakable(BlockFactory):
    """One whose field JSON cannot say."""

    thing: Any = None

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return None


@dataclass(frozen=True, kw_only=True)
class Unfinished(BlockFactory):
    """One that lacks its method."""


@dataclass(kw_only=True)
class Changeable(BlockFactory):
    """One that is not frozen."""

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return None


class Undecorated(NeutralNet):
    """One that inherits from a dataclass and is none itself."""


def a_function() -> None:
    """No class at all."""


def entry(
    name: str, thing: Any, distribution: str = "toy-nets", group: str = BLOCK_FACTORIES, version: str = "1.2.3"
) -> EntryPoint:
    return EntryPoint(group=group, name=name, value=value(thing), distribution=distribution, version=version)


def value(thing: Any) -> str:
    """What an entry point says of a class."""
    return f"{thing.__module__}:{thing.__qualname__}"


#: The entry points of the distribution toy-nets, with the names of two engines, as pip would write them.
ENTRY_POINTS = {
    ENGINES: {"PyTorch": "toy_engines:PyTorch", "MXNet": "toy_engines:MXNet"},
    BLOCK_FACTORIES: {
        "pytorch.toy_net": value(ToyNet),
        "pytorch.toy_neutral": value(NeutralNet),
        "pytorch.toy_unspeakable": value(Unspeakable),
    },
    TRANSLATORS: {"toy_labels": value(ToyLabels)},
}
