"""The hooks: how a plugin reacts to what the zoo does. A plugin implements any of them, with any of their arguments.

    import zoo_core

    @zoo_core.hookimpl
    def zoo_loaded(model):
        print(model.name)

and registers its module in the entry-point group ``zoo_core.plugins``.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from zoo_core.criteria import Criteria
    from zoo_core.model import Model
    from zoo_core.record import ModelRecord

PROJECT = "zoo"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def zoo_order_candidates(criteria: Criteria, records: Sequence[ModelRecord]) -> list[ModelRecord] | None:
    """The records that answer, in another order, or some of them; None leaves the order as it is."""


@hookspec(firstresult=True)
def zoo_veto_candidate(criteria: Criteria, record: ModelRecord) -> str | None:
    """The reason why a record must not be chosen, or None."""


@hookspec(firstresult=True)
def zoo_authorise_request(url: str, headers: Mapping[str, str]) -> Mapping[str, str] | None:
    """The headers to send to an address, credentials among them; they go to that address's origin only."""


@hookspec
def zoo_downloaded(record: ModelRecord, path: Path) -> None:
    """An artifact's files are in a folder."""


@hookspec
def zoo_loading(record: ModelRecord | None, engine: str) -> None:
    """A model is about to be loaded; the record is None for a file."""


@hookspec
def zoo_loaded(model: Model) -> None:
    """A model was loaded."""


@hookspec(firstresult=False)
def zoo_cli_commands() -> list[click.Command]:
    """Further verbs of the command ``zoo``."""
