"""``zoo lock``: resolve models once, and pin what they resolved to."""

from __future__ import annotations

from typing import Any

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import lock_path, select_options, selection, zoo_of


@click.command("lock")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@select_options
@click.option("-o", "--output", "path", metavar="FILE", help="The lock file; zoo.lock if neither this nor --lock says another.")
@click.option("--upgrade", is_flag=True, help="Resolve anew what is locked already: these models, or all.")
@click.pass_obj
def command(output: Output, /, models: tuple[str, ...], path: str | None, upgrade: bool, **options: Any) -> None:
    """Resolve each MODEL and write what it is, with the sha256 of its files, into a lock file."""
    asked = [selection(model, options) for model in models or (None,)]
    report = zoo_of(output, lock=False).lock(
        *models,
        path=path or lock_path(output),
        upgrade=upgrade,
        model_urls=asked[0].repositories,
        progress=output.progress,
        **asked[0].fields,
    )
    for change in report.changes:
        if change.learned:
            output.message(
                f"fetched to learn the sha256, which the document does not give: {', '.join(change.learned)} of "
                f"{change.pin.record.reference}"
            )
    if output.is_json:
        models_told = [change.to_dict() for change in report.changes]
        output.document({"path": str(report.lock.path), "models": models_told, "changed": report.is_changed})
        return
    for change in report.changes:
        output.line(str(change))
    output.message(f"{report.lock.path} {'written' if report.is_changed else 'unchanged'}")
