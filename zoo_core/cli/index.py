"""``zoo index``: the index of a repository on disk."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.cli.output import Output
from zoo_core.indexing import write_index


@click.command("index")
@click.argument("folder", metavar="DIR")
@click.pass_obj
def command(output: Output, folder: str) -> None:
    """Write index.json and index.json.gz of the repository DIR; missing sha256 and sizes are filled into its documents."""
    written = write_index(Path(folder))
    if output.is_json:
        output.document({"path": str(written.path), "documents": written.documents, "filled": list(written.filled)})
        return
    for name in written.filled:
        output.message(f"filled in: {name}")
    output.line(f"{written.path}  {written.documents} document{'s' if written.documents != 1 else ''}")
