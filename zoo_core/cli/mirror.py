"""``zoo mirror``: a repository with exactly the models of a lock, for machines without a network."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import lock_path, zoo_of
from zoo_core.errors import CriteriaError
from zoo_core.wording import bytes_text


@click.command("mirror")
@click.argument("folder", metavar="DIR")
@click.pass_obj
def command(output: Output, /, folder: str) -> None:
    """Write a repository into DIR that holds exactly what a lock pins (--lock FILE, else zoo.lock), with all files."""
    if Path(folder).expanduser().is_file():
        raise CriteriaError(f"{folder} is a file; name a folder")
    done = zoo_of(output, lock=lock_path(output)).mirror(folder, progress=output.progress)
    if output.is_json:
        output.document(done.to_dict())
        return
    for reference in done.models:
        output.line(reference)
    output.message(f"{done.path}: {done.files} file{'s' if done.files != 1 else ''}, {bytes_text(done.size)}")
