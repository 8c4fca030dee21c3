"""LOAD: the options by which a verb says how to load a model, and the load itself; a FILE may stand in MODEL's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo_core.address import value_of
from zoo_core.cli.output import Output
from zoo_core.cli.select import pairs, selection, zoo_of
from zoo_core.errors import CriteriaError, ModelNotFoundError
from zoo_core.reference import as_path
from zoo_core.wording import listing, printable

if TYPE_CHECKING:
    from zoo_core.model import Model

Function = TypeVar("Function", bound=Callable[..., Any])

#: Options of SELECT that a FILE leaves no room for -> how they are written.
_SELECTING = {
    "application": "--application",
    "group": "--group",
    "artifact": "--artifact",
    "artifact_name": "--artifact-name",
    "version": "--version",
    "filters": "--filter",
    "repositories": "--repository",
}


def load_options(function: Function) -> Function:
    """The options of LOAD."""
    options = [
        click.option("--device", metavar="D", help="cpu, gpu or gpu:1."),
        click.option("--dtype", metavar="T", help="Convert the parameters: float64, float32, float16, bfloat16."),
        click.option("--factory", metavar="NAME", help="Instead of the model's own block factory."),
        click.option("--translator", metavar="NAME", help="Instead of the model's own translator."),
        click.option(
            "--argument", "given", metavar="K=V", multiple=True, help="For the factory or the translator; repeatable."
        ),
        click.option("--option", "engine_options", metavar="K=V", multiple=True, help="For the engine; repeatable."),
        click.option("--not-strict", is_flag=True, help="Load what fits."),
        click.option("--trust-programs", is_flag=True, help="Allow a program from an address that nothing configured."),
        click.option("--trust-code", metavar="SHA256|ADDRESS", multiple=True, help="Allow carried code; repeatable."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def file_of(model: str | None, options: Mapping[str, Any]) -> Path | None:
    """The FILE that stands in MODEL's place; None where it is a model.

    Raises:
        CriteriaError: There is no such file, or options of SELECT stand beside it.
    """
    path = as_path(model) if model else None
    if path is None:
        return None
    if not path.exists():
        raise CriteriaError(f"{path}: there is no such file")
    selecting = [written for name, written in _SELECTING.items() if options[name]]
    if selecting:
        raise CriteriaError(f"{path} is one file: {listing(selecting)} cannot choose among others")
    return path


def load(output: Output, model: str | None, options: Mapping[str, Any]) -> Model:
    """Load what a command line names, as its options of SELECT and LOAD say."""
    how = {
        "device": options["device"],
        "dtype": options["dtype"],
        "block_factory": options["factory"],
        "translator": options["translator"],
        "arguments": {key: value_of(text) for key, text in pairs(options["given"], "--argument").items()},
        "options": pairs(options["engine_options"], "--option"),
        "strict": not options["not_strict"],
        "trust_programs": options["trust_programs"],
        "trust_code": options["trust_code"],
        "progress": output.progress,
    }
    path = file_of(model, options)
    if path is None:
        asked = selection(model, options)
        with minding_folder(model):
            return zoo_of(output).load_model(asked.model, model_urls=asked.repositories, **asked.fields, **how)
    return zoo_of(output).load_model(model_path=path, **engine_of(options), **how)


@contextmanager
def minding_folder(model: str | None) -> Iterator[None]:
    """Where nothing has the name of a MODEL, say that a folder or a file here has it; which only its path would name."""
    try:
        yield
    except ModelNotFoundError as error:
        here = Path(model) if model and "://" not in model else None
        if here is None or not _is_there(here):
            raise
        first, newline, rest = str(error).partition("\n")
        what = "folder" if here.is_dir() else "file"
        hint = f"there is a {what} ./{printable(str(here))} here: write ./{printable(str(here))}"
        raise ModelNotFoundError(f"{first}; {hint}{newline}{rest}", error.explanation) from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    # A name may be none that a disk can have.
    except (OSError, ValueError):
        return False


def engine_of(options: Mapping[str, Any]) -> dict[str, str]:
    """The one option of SELECT that a FILE leaves room for, as a keyword."""
    return {"engine": options["engine"]} if options["engine"] else {}
