"""``zoo plugins``: what is installed, with its state."""

from __future__ import annotations

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import zoo_of
from zoo_core.plugin import PluginRecord


@click.command("plugins")
@click.pass_obj
def command(output: Output) -> None:
    """List what is installed, with its state; every plugin is imported to tell."""
    records = zoo_of(output).plugins()
    if output.is_json:
        output.document({"plugins": [record.to_dict() for record in records]})
        return
    output.table([_row(record) for record in records])
    for record in records:
        if record.error:
            output.message(f"{record.status}: {record.distribution} {record.version}: {record.error}")


def _row(record: PluginRecord) -> list[str]:
    return [
        record.name,
        record.group.removeprefix("zoo_core.").replace("_", " "),
        f"{record.distribution} {record.version}",
        record.status,
    ]
