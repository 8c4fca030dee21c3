"""``zoo check``: whether a model computes here what its author saw."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

from zoo_core.cli.load import load, load_options
from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options
from zoo_core.errors import ParameterError
from zoo_core.golden import Check, OutputCheck
from zoo_core.wording import listing, printable


@click.command("check")
@click.argument("model", required=False, metavar="[MODEL|FILE]")
@select_options
@load_options
@click.pass_obj
def command(output: Output, /, model: str | None, **options: Any) -> None:
    """Compute a model's golden outputs again and say how far each is from what its author saw."""
    with load(output, model, options) as loaded:
        found, name = loaded.check(), loaded.name
    if not found.outputs:
        output.message(f"{name} carries no golden outputs, so there is nothing to compare")
    if output.is_json:
        output.document(found.to_dict())
    else:
        output.table([_row(item, found) for item in found.outputs])
    if not found.ok:
        wrong = listing(item.name for item in found.outputs if not item.ok)
        tolerance = f"rtol {found.rtol:g}, atol {found.atol:g}"
        output.fault(
            f"{wrong} of {name} in {found.engine} on {found.device} is beyond the tolerance that its author gave ({tolerance})"
        )
        click.get_current_context().exit(ParameterError.exit_code)


def _row(item: OutputCheck, found: Check) -> list[str]:
    state = "ok" if item.ok else "differs"
    largest = f"largest difference {_number(item.max_abs)}"
    return [printable(item.name), state, largest, f"relative {_number(item.max_rel)}", f"{found.engine} on {found.device}"]


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "unbounded"
