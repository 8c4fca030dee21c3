"""``zoo info``: what a model is, what a load costs and what it would run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options, selection, zoo_of
from zoo_core.description import ModelInfo
from zoo_core.requirements import install_line
from zoo_core.wording import bytes_text, shown_url


@click.command("info")
@click.argument("model", required=False)
@select_options
@click.pass_obj
def command(output: Output, /, model: str | None, **options: Any) -> None:
    """Show what a model is, what a load of it costs and what it would run; nothing is downloaded."""
    asked = selection(model, options)
    found = zoo_of(output).info(asked.model, model_urls=asked.repositories, **asked.fields)
    if output.is_json:
        output.document(found.to_dict())
        return
    for name, value in [*_what(found), *_cost(found), *_runs(found)]:
        output.line(f"{name:<12} {value}".rstrip())


def _what(found: ModelInfo) -> list[tuple[str, str]]:
    record = found.record
    return [
        ("model", record.reference),
        ("name", record.metadata.name or record.name),
        ("about", record.description),
        ("task", record.application or "-"),
        ("engines", ", ".join(record.engines) or "-"),
        ("licence", ", ".join(item.name or item.id for item in record.licenses) or "none stated"),
        ("from", shown_url(record.repository)),
        *(("property", f"{key}={value}") for key, value in record.properties.items()),
        *(("file", f"{file.name or file.uri}  {_size(file.size)}  {_digest(file)}") for file in found.files),
    ]


def _cost(found: ModelInfo) -> list[tuple[str, str]]:
    cost = found.cost
    missing = cost["missing"]
    return [
        ("to fetch", _size(cost["download_bytes"])),
        ("on disk", _size(cost["disk_bytes"])),
        ("in memory", _size(cost["memory_bytes"])),
        ("parameters", f"{len(found.parameters)} tensors" if found.parameters else "seen when the file is here"),
        *([("missing", install_line(missing))] if missing else []),
    ]


def _runs(found: ModelInfo) -> list[tuple[str, str]]:
    return [("runs", _described(run)) for run in found.runs]


def _described(run: Mapping[str, Any]) -> str:
    by = f" of {run['distribution']} {run['version']}" if run["distribution"] else ""
    return f"{run['kind']}: {run['what']} {run['name']}{by} ({_state(run)})"


def _state(run: Mapping[str, Any]) -> str:
    if run["allowed"]:
        return "allowed"
    if run["allow_with"]:
        return f"needs {run['allow_with']}"
    return "not installed" if run["kind"] == "code" else "known once its bytes are here"


def _digest(file: Any) -> str:
    if file.sha256:
        return f"sha256:{file.sha256}"
    if file.sha1:
        return f"sha1:{file.sha1}"
    return f"sha256:{file.sha256_prefix}... (weak digest)" if file.sha256_prefix else "no digest"


def _size(count: int | None) -> str:
    return "unknown" if count is None else bytes_text(count)
