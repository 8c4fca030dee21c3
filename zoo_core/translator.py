"""Translator: a user's input to arrays, arrays to a user's output."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo_core.entry_points import TRANSLATORS, InstalledEntryPoints
from zoo_core.errors import PluginError
from zoo_core.frozen import FrozenDict
from zoo_core.registered import build, checked_class, entry_point_of, fields_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from zoo_core.model import Model

    Array = npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class TranslatorContext:
    """What a translator may look at.

    Attributes:
        model: The loaded model.
        arguments: All arguments of the artifact and of the call.
        files: The artifact's files by their keys.
        attachments: What `Translator.process_input` leaves for `Translator.process_output`, such as the size of a picture;
            each input of a batch has its own, empty at first.
    """

    model: Model
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)
    files: Mapping[str, Path] = field(default_factory=FrozenDict)
    attachments: dict[str, Any] = field(default_factory=dict)


class Translator(ABC):
    """Turns what a user has into arrays for a block, and the block's arrays into what a user wants.

    Subclass it as ``@dataclass(frozen=True, kw_only=True)`` whose fields are JSON values, and register the class in the
    entry-point group ``zoo_core.translators``. Its methods know no batch: the predictor stacks items and runs the block once.
    """

    #: Names of arguments that it reads beside its fields, so that they are not reported as taken by nobody.
    extra_arguments: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def process_input(self, context: TranslatorContext, x: Any) -> tuple[Array, ...] | dict[str, Array]:
        """Turn one input into the block's arrays, without a batch axis.

        Raises:
            InputError: The input cannot be used; the message says what it is and what was expected.
        """

    @abstractmethod
    def process_output(self, context: TranslatorContext, arrays: tuple[Array, ...]) -> Any:
        """Turn one item's output arrays, in the block's order and without a batch axis, into what the user gets."""

    def with_files(self, files: Mapping[str, Path]) -> Translator:
        """This translator with what it needs of the artifact's files taken in, so that it can be saved without them."""
        return self

    def to_json(self) -> str:
        """The serialized form: the registered name and the fields.

        Raises:
            PluginError: The class is no entry point, or a field is no JSON value.
        """
        return json.dumps(self.to_dict(InstalledEntryPoints.scan()))

    def to_dict(self, installed: InstalledEntryPoints) -> dict[str, Any]:
        """What `to_json` writes, as JSON values."""
        entry = entry_point_of(type(self), TRANSLATORS, installed)
        return {"name": entry.name, "arguments": fields_of(self)}

    @classmethod
    def from_json(cls, text: str) -> Translator:
        """Recover a translator; only registered classes can be reached.

        Raises:
            PluginError: The text is no serialized translator, or nobody registers the name.
            InputError: A field is unknown or has a wrong type.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PluginError(f"a serialized translator is no JSON: {error}") from error
        return translator_from_dict(document, InstalledEntryPoints.scan())


def translator_from_dict(document: Any, installed: InstalledEntryPoints, *, carrier: str | None = None) -> Translator:
    """What `Translator.from_json` does, from JSON values and entry points already read."""
    name = document.get("name") if isinstance(document, dict) else None
    arguments = document.get("arguments", {}) if isinstance(document, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise PluginError('a serialized translator is {"name": NAME, "arguments": {...}}')
    return build(translator_class(name, installed, carrier=carrier), arguments, what=f"translator {name!r}")


def translator_class(name: str, installed: InstalledEntryPoints, *, carrier: str | None = None) -> type[Translator]:
    """The class that a translator's name means.

    Args:
        name: ``image_classification`` or ``distribution:image_classification``.
        carrier: The distribution that carries the artifact; it wins where several claim the name.

    Raises:
        PluginError: Nobody registers the name, or the class breaks the contract.
        AmbiguousPluginError: Several distributions claim it.
    """
    found: type[Translator] = checked_class(installed.find(TRANSLATORS, name, owners=(carrier,)), Translator)
    return found
