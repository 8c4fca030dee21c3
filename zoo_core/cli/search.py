"""``zoo search``: the models that match, a line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options, selection, zoo_of
from zoo_core.errors import CriteriaError, ZooError
from zoo_core.record import ModelRecord
from zoo_core.repository.local import FolderRepository
from zoo_core.version import version_key
from zoo_core.wording import bytes_text, did_you_mean, natural

if TYPE_CHECKING:
    from zoo_core.zoo import ModelZoo

SORTABLE = ("application", "artifact", "group", "name", "size", "version")


@click.command("search")
@click.argument("query", nargs=-1)
@select_options
@click.option("--sort", metavar="FIELD", help=f"One of {', '.join(SORTABLE)}, or a property.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Print at most N.")
@click.pass_obj
def command(output: Output, /, query: tuple[str, ...], sort: str | None, limit: int | None, **options: Any) -> None:
    """List the models that match; QUERY: words in ids, names, descriptions and properties."""
    asked, zoo = selection(None, options), zoo_of(output)
    records = zoo.search(text=" ".join(query), model_urls=asked.repositories, **asked.fields)
    explanation = zoo.explain(model_urls=asked.repositories, **asked.fields) if not records and not query else None
    for message in explanation.reasons() if explanation else zoo.messages(asked.repositories):
        output.message(message)
    records = _sorted(records, sort)[:limit]
    if output.is_json:
        output.document({"records": [record.to_dict() for record in records], "messages": output.messages})
        return
    if not records:
        output.message("nothing matches")
        for message in _empty(zoo, asked.repositories):
            output.message(message)
    output.table([_row(record) for record in records])


def _empty(zoo: ModelZoo, names: Iterable[str]) -> Iterator[str]:
    """What to say of folders that were named and are no repositories."""
    for name in names:
        # One that is named by its name in a configuration, and not by its place, is not asked again.
        with suppress(ZooError):
            repository = zoo.open_repository(name)
            if isinstance(repository, FolderRepository) and not repository.document_paths():
                yield repository.without_documents()


def _sorted(records: list[ModelRecord], field: str | None) -> list[ModelRecord]:
    if field is None:
        return records
    keys = {
        "application": lambda r: natural(r.application),
        "artifact": lambda r: natural(r.artifact_id),
        "group": lambda r: natural(r.group_id),
        "name": lambda r: natural(r.name),
        "size": lambda r: r.size or 0,
        "version": lambda r: version_key(r.version),
    }
    properties = {name for record in records for name in record.properties}
    if field not in keys and field not in properties:
        raise CriteriaError(
            f"--sort {field!r}{did_you_mean(field, {*keys, *properties})}: expected {', '.join(SORTABLE)} or a property"
        )
    return sorted(records, key=keys.get(field) or (lambda r: natural(r.properties.get(field, ""))))


def _row(record: ModelRecord) -> list[str]:
    # Several artifacts of one version differ by their names.
    name = [record.name] if record.name not in ("", record.artifact_id) else []
    weak = ["(weak digest)"] if any(file.sha256_prefix and not file.has_full_digest for file in record.files) else []
    properties = " ".join([*name, *(f"{key}={value}" for key, value in record.properties.items()), *weak])
    size = bytes_text(record.size) if record.size is not None else "-"
    return [record.reference, ", ".join(record.engines) or "-", record.application or "-", size, properties]
