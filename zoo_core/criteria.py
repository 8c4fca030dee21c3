"""Criteria: what is wanted. It never searches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo_core import application as applications
from zoo_core.errors import CriteriaError
from zoo_core.frozen import FrozenDict
from zoo_core.version import parse_range
from zoo_core.wording import did_you_mean, listing


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What is wanted; a field that is None matches everything.

    Attributes:
        application: A path or alias; ``cv`` matches ``cv/...``.
        engine: The engine that a model must run in; case does not count.
        group_id: Who publishes.
        artifact_id: The model.
        version: A version, a PEP 440 specifier (``>=1,<2``) or a Maven range (``[1.0,2.0)``).
        artifact_name: The name inside a version.
        filters: Properties that must be equal; values become text (50 is "50", True is "true").
        input_type: What a prediction takes, such as ``image``.
        output_type: What it gives, such as ``Classifications``.
        type: ``model``, or ``dataset`` where data sets are wanted.

    Raises:
        CriteriaError: An application is unknown, a version range is malformed, or a value is no text.

    >>> Criteria(application="image_classification", filters={"layers": 50})
    Criteria(application='cv/image_classification', filters={'layers': '50'})
    """

    application: str | None = None
    engine: str | None = None
    group_id: str | None = None
    artifact_id: str | None = None
    version: str | None = None
    artifact_name: str | None = None
    filters: Mapping[str, str] = field(default_factory=FrozenDict)
    input_type: str | None = None
    output_type: str | None = None
    type: str = "model"

    def __post_init__(self) -> None:
        for name in FIELDS:
            value = getattr(self, name)
            if name != "filters" and not isinstance(value, str | None):
                raise CriteriaError(f"{name}: expected text, not {value!r}")
        if self.application is not None:
            object.__setattr__(self, "application", applications.parse(self.application))
        if self.version is not None:
            parse_range(self.version)
        if self.type not in ("model", "dataset"):
            raise CriteriaError(f"type {self.type!r}: expected model or dataset")
        object.__setattr__(self, "filters", FrozenDict(_texts(self.filters)))

    def __repr__(self) -> str:
        given = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != _DEFAULTS[f.name]
        )
        return f"Criteria({', '.join(given)})"

    def replace(self, **fields: Any) -> Criteria:
        """These criteria with some fields replaced.

        Raises:
            TypeError: A name is no field; the message has the near names.
        """
        check_names(fields)
        return dataclasses.replace(self, **fields)


FIELDS = tuple(item.name for item in dataclasses.fields(Criteria))
_DEFAULTS: dict[str, Any] = {
    item.name: FrozenDict() if item.name == "filters" else item.default for item in dataclasses.fields(Criteria)
}


def check_names(fields: Mapping[str, Any], *, beside: Iterable[str] = ()) -> None:
    """Refuse keywords that are no fields of `Criteria`.

    Args:
        beside: Keywords that the call takes as well, so that a misspelt one is told their names too.

    Raises:
        TypeError: The message has the near names.
    """
    known = (*FIELDS, *beside)
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"unknown keyword {name!r}{did_you_mean(name, known)}. Keywords: {listing(known, limit=30)}")


def _texts(filters: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(filters, Mapping):
        raise CriteriaError(f"filters: expected a mapping of names to values, not {filters!r}")
    return {_text(name, name): _text(name, value) for name, value in filters.items()}


def _text(name: object, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
    raise CriteriaError(f"filter {name!r}: expected text, a number or a boolean, not {value!r}")
