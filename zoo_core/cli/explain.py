"""``zoo explain``: which models a load could take, and why each other one is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options, selection, zoo_of
from zoo_core.record import ModelRecord

#: How many refusals are printed without -v.
SHOWN = 20


@click.command("explain")
@click.argument("model", required=False)
@select_options
@click.pass_obj
def command(output: Output, /, model: str | None, **options: Any) -> None:
    """Say which models a load could take, and why each other one is refused, nearest miss first."""
    asked = selection(model, options)
    found = zoo_of(output).explain(asked.model, model_urls=asked.repositories, **asked.fields)
    if output.is_json:
        records = [record.to_dict() for record in found.accepted]
        records += [refusal.record.to_dict(str(refusal)) for refusal in found.refused]
        output.document({"records": records, "messages": found.messages})
        return
    if not found.accepted:
        output.message("nothing matches; the nearest first:" if found.refused else "no repository holds any model")
    shown = found.refused if output.is_verbose else found.nearest()[:SHOWN]
    named = _told_apart([*found.accepted, *(refusal.record for refusal in shown)])
    rows = [[named(record), "accepted"] for record in found.accepted]
    rows += [[named(refusal.record), str(refusal)] for refusal in shown]
    more = len(found.refused) - len(shown)
    if more or found.unseen:
        shows = "all" if not found.unseen else f"{more} of them"
        rows.append(["...", f"{more + found.unseen} more" + (f" (-v shows {shows})" if more else "")])
    # Without a hit the reasons are no result, but what is said about its absence.
    output.table(rows, is_result=bool(found.accepted))
    for message in found.messages:
        output.message(message)


def _told_apart(records: Iterable[ModelRecord]) -> Callable[[ModelRecord], str]:
    """What names a record among these: with the name of the artifact where several have one reference."""
    several = Counter(record.reference for record in records)
    return lambda r: f"{r.reference} {r.name}".rstrip() if several[r.reference] > 1 else r.reference
