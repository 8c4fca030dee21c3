"""``zoo download``: a model's files, verified, in one folder."""

from __future__ import annotations

from typing import Any

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options, selection, zoo_of


@click.command("download")
@click.argument("model", required=False)
@select_options
@click.option("--to", metavar="DIR", help="Make copies here that may be edited.")
@click.pass_obj
def command(output: Output, /, model: str | None, to: str | None, **options: Any) -> None:
    """Fetch and verify a model's files and print their folder."""
    asked = selection(model, options)
    path = zoo_of(output).download(asked.model, model_urls=asked.repositories, to=to, progress=output.progress, **asked.fields)
    if output.is_json:
        output.document({"path": str(path)})
    else:
        output.line(str(path))
