"""``zoo sync``: what a lock pins, onto this machine."""

from __future__ import annotations

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import lock_path, zoo_of


@click.command("sync")
@click.option(
    "--repository",
    "repositories",
    metavar="URL|FOLDER|NAME",
    multiple=True,
    help="Take the bytes from here, by their sha256, and from no other place; repeatable.",
)
@click.pass_obj
def command(output: Output, /, repositories: tuple[str, ...]) -> None:
    """Fetch exactly the files that a lock pins (--lock FILE, else zoo.lock); nothing is installed."""
    done = zoo_of(output, lock=lock_path(output)).sync(model_urls=repositories, progress=output.progress)
    if done.others:
        output.message(f"installed in another version than was locked; to get that: {done.install_line}")
    if output.is_json:
        output.document(done.to_dict())
        return
    for reference in done.models:
        output.line(reference)
    output.message(f"all files of {done.path} are on this machine")
