"""Frozen dataclasses under registered names: built from JSON, written as JSON, and nothing else is reachable."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from zoo_core.entry_points import EntryPoint, InstalledEntryPoints
from zoo_core.errors import InputError, PluginError
from zoo_core.wording import did_you_mean, listing

Thing = TypeVar("Thing")

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake_case(name: str) -> str:
    """The field that a name in JSON means.

    >>> snake_case("numLayers"), snake_case("layers")
    ('num_layers', 'layers')
    """
    return _HUMP.sub("_", name).lower()


def over(lower: Mapping[str, Any], *upper: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of several origins as one mapping; a later one wins in whichever spelling: `numLayers` is `num_layers`.

    >>> over({"numLayers": 18, "classes": 10}, {"num_layers": 50})
    {'classes': 10, 'num_layers': 50}
    """
    merged = dict(lower)
    for arguments in upper:
        own = {snake_case(name) for name in arguments}
        merged = {**{name: value for name, value in merged.items() if snake_case(name) not in own}, **arguments}
    return merged


def field_names(cls: type) -> tuple[str, ...]:
    """The fields that a registered class is built from."""
    return tuple(field.name for field in dataclasses.fields(cls) if field.init) if dataclasses.is_dataclass(cls) else ()


def checked_class(entry: EntryPoint, base: type) -> Any:
    """What an entry point stands for, if it keeps the contract of its group.

    Raises:
        PluginError: It cannot be imported, is no such class, or is no dataclass.
    """
    return check_contract(entry.load(), base, entry.described)


def check_contract(found: Any, base: type, what: str) -> Any:
    """An object, if it is a class that can be built from JSON and written as JSON.

    Args:
        base: What it must be a subclass of.
        what: How messages name where it is from.

    Raises:
        PluginError: It is no such class, or is no dataclass.
    """
    if not isinstance(found, type) or not issubclass(found, base):
        raise PluginError(f"{what} is {found!r}; expected a subclass of zoo_core.{base.__name__}")
    abstract = getattr(found, "__abstractmethods__", None)
    if abstract:
        raise PluginError(f"{what}: {found.__name__} lacks {listing(abstract)}")
    params = getattr(found, "__dataclass_params__", None)
    if params is None or "__dataclass_params__" not in vars(found) or not params.frozen:
        raise PluginError(
            f"{what}: {found.__name__} is no frozen dataclass; put @dataclass(frozen=True, kw_only=True) above it"
        )
    return found


def build(cls: type[Thing], fields: Mapping[str, Any], *, what: str) -> Thing:
    """Construct a registered class from all of the fields given, types checked.

    Args:
        what: How messages name it, such as ``factory 'resnet_v1'``.

    Raises:
        InputError: An unknown field, a wrong type or a value out of range.
    """
    known = field_names(cls)
    for name in fields:
        if name not in known:
            raise InputError(f"{what} has no field {name!r}{did_you_mean(name, known)}. Fields: {listing(known) or 'none'}")
    try:
        # Not strict: on a command line every value is text.
        return msgspec.convert(dict(fields), type=cls, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(f"{what}: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be built from {dict(fields)!r}: {error}") from error


def build_from_arguments(cls: type[Thing], arguments: Mapping[str, Any], *, what: str, beside: type | None = None) -> Thing:
    """Construct a registered class from those arguments that are its fields, as `own_arguments` finds them.

    Raises:
        InputError: A wrong type or a value out of range.
    """
    return build(cls, own_arguments(cls, arguments, beside=beside), what=what)


def own_arguments(cls: type, arguments: Mapping[str, Any], *, beside: type | None = None) -> dict[str, Any]:
    """Those arguments that are fields of a class; ``numLayers`` is the field ``num_layers``.

    Args:
        beside: A class that is built from the same arguments. Where both have a field of one name, each takes a value of its
            own type: ``classes`` is a number to a factory and a list of names to a translator.
    """
    known = set(field_names(cls))
    fields = {snake_case(name): value for name, value in arguments.items() if snake_case(name) in known}
    fields.update({name: value for name, value in arguments.items() if name in known})
    shared = set(fields).intersection(field_names(beside) if beside else ())
    types = get_type_hints(cls) if shared else {}
    for name in shared:
        if not _is_of_type(fields[name], types[name]):
            del fields[name]
    return fields


def _is_of_type(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type=type_, strict=False)
    except msgspec.ValidationError:
        return False
    return True


def fields_of(thing: Any) -> dict[str, Any]:
    """The fields of a registered object as JSON values.

    Raises:
        PluginError: A field holds what JSON cannot say.
    """
    try:
        return {name: msgspec.to_builtins(getattr(thing, name), str_keys=True) for name in field_names(type(thing))}
    except TypeError as error:
        raise PluginError(f"{type(thing).__name__} cannot be serialized: {error}") from error


def entry_point_of(cls: type, group: str, installed: InstalledEntryPoints) -> EntryPoint:
    """The entry point that registers a class.

    Raises:
        PluginError: It is registered nowhere; the message has the lines to add to ``pyproject.toml``.
    """
    value = f"{cls.__module__}:{cls.__qualname__}"
    entries = installed.group(group)
    for entry in entries:
        if entry.value.replace(" ", "") == value:
            return entry
    package = cls.__module__.partition(".")[0]
    for entry in entries:
        # A package may register the class under the address of a module that re-exports it.
        if entry.value.partition(":")[0].partition(".")[0] == package and entry.load() is cls:
            return entry
    raise PluginError(
        f"{cls.__qualname__} is registered by no installed package, so it cannot be found again. Add to pyproject.toml:\n"
        f'[project.entry-points."{group}"]\n"{snake_case(cls.__name__)}" = "{value}"'
    )
