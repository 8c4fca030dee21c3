"""SELECT: the arguments and options by which every verb names a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo_core.cli.output import Output
from zoo_core.config import named_lock
from zoo_core.errors import CriteriaError
from zoo_core.reference import as_path

if TYPE_CHECKING:
    from zoo_core.zoo import ModelZoo

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a command line asks for.

    Attributes:
        model: MODEL, or None.
        fields: Fields of `Criteria`.
        repositories: The repositories that are asked, and then no others.
    """

    model: str | None
    fields: Mapping[str, Any]
    repositories: tuple[str, ...]


def select_options(function: Function) -> Function:
    """The options of SELECT, without MODEL."""
    options = [
        click.option("--application", metavar="A", help="A task, such as cv/image_classification."),
        click.option("--engine", metavar="E", help="PyTorch, MXNet, ..."),
        click.option("--group", metavar="G", help="The group id: who publishes."),
        click.option("--artifact", metavar="A", help="The artifact id: the model."),
        click.option("--artifact-name", metavar="NAME", help="The name inside a version: which of several variants."),
        click.option("--version", metavar="SPEC", help="1.0, '>=1,<2' or '[1.0,2.0)'."),
        click.option("--filter", "filters", metavar="K=V", multiple=True, help="A property that must be equal; repeatable."),
        click.option(
            "--repository", "repositories", metavar="URL|FOLDER|NAME", multiple=True, help="Ask only this one; repeatable."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def selection(model: str | None, options: Mapping[str, Any]) -> Selection:
    """What the options of `select_options` say.

    Raises:
        CriteriaError: MODEL is a file, or a filter is not K=V.
    """
    if model is not None and as_path(model) is not None:
        raise CriteriaError(f"{model!r} names a file, and this verb takes a model: [group/]artifact[@version]")
    fields = {
        "application": options["application"],
        "engine": options["engine"],
        "group_id": options["group"],
        "artifact_id": options["artifact"],
        "artifact_name": options["artifact_name"],
        "version": options["version"],
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if options["filters"]:
        given["filters"] = pairs(options["filters"], "--filter")
    return Selection(model=model, fields=given, repositories=tuple(options["repositories"]))


def pairs(items: tuple[str, ...], option: str) -> dict[str, str]:
    """Options of the form K=V as a mapping.

    Raises:
        CriteriaError: One has no ``=``, or a key stands twice.
    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise CriteriaError(f"{option} {item!r}: expected KEY=VALUE")
        if key in found:
            raise CriteriaError(f"{option} {key}: given twice")
        found[key] = value
    return found


def zoo_of(output: Output, *, lock: str | bool | None = None) -> ModelZoo:
    """The zoo that a command line asks.

    Args:
        lock: Instead of what ``--lock`` says, as for `ModelZoo`.
    """
    from zoo_core.zoo import ModelZoo

    return ModelZoo(
        config=output.config,
        offline=True if output.is_offline else None,
        refresh=output.is_fresh,
        lock=output.lock if lock is None else lock,
    )


def lock_path(output: Output) -> str:
    """The lock file that a verb about locks works on: that of ``--lock``, of ``ZOO_LOCK``, or the one in this folder."""
    return str(named_lock(output.lock, output.config) or "zoo.lock")
