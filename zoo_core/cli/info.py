"""``zoo info``: what a model or a file is, what a load costs and what it would run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from zoo_core.cli.load import engine_of, file_of, minding_folder
from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options, selection, zoo_of
from zoo_core.cli.tree import drawn
from zoo_core.description import ModelInfo
from zoo_core.parameters.header import (
    ALIASES_ENTRY,
    ENGINES_ENTRY,
    FACTORY_ENTRY,
    FORMAT_ENTRY,
    GOLDEN_ENTRY,
    PROGRAMS_ENTRY,
    REQUIRES_ENTRY,
    SIGNATURE_ENTRY,
    TRANSLATOR_ENTRY,
    WRITTEN_WITH_ENTRY,
)
from zoo_core.record import ModelRecord
from zoo_core.requirements import install_line
from zoo_core.wording import bytes_text, printable, shown_url

#: How many lines of the tree of parameters are shown without -v.
TREE_LINES = 40
#: What a program of each kind makes of the mode of the network around it.
MODES = {
    "torch.aten": "train() and eval() switch its batch norm and dropout",
    "torch.export": "keeps the mode that it was exported in",
    "torchscript": "traced: keeps the mode that it was traced in; scripted: obeys train() and eval()",
    "mxnet.symbol": "follows autograd's training mode",
}


@click.command("info")
@click.argument("model", required=False, metavar="[MODEL|FILE]")
@select_options
@click.pass_obj
def command(output: Output, /, model: str | None, **options: Any) -> None:
    """Show what a model or a file is, what a load of it costs and would run; nothing is downloaded, no engine imported."""
    path = file_of(model, options)
    if path is not None:
        found = zoo_of(output).info(model_path=path, **engine_of(options))
    else:
        asked = selection(model, options)
        with minding_folder(model):
            found = zoo_of(output).info(asked.model, model_urls=asked.repositories, **asked.fields)
    if output.is_json:
        output.document(found.to_dict())
        return
    described = _what(found, found.record) if found.record is not None else [("file", str(path)), ("format", found.format)]
    for name, value in [*described, *_header(found), *_cost(found), *_runs(found)]:
        # What is foreign must not begin a line that looks like one of ours.
        output.line(f"{printable(name):<12} {printable(value)}".rstrip())
    if found.record is None or output.is_verbose:
        for line in drawn(found.parameters, lines=None if output.is_verbose else TREE_LINES):
            output.line(printable(line))


def _what(found: ModelInfo, record: ModelRecord) -> list[tuple[str, str]]:
    return [
        ("model", record.reference),
        ("name", record.metadata.name or record.name),
        *([("variant", _variant(found, record))] if found.others or record.name not in ("", record.artifact_id) else []),
        *([("about", record.description)] if record.description else []),
        ("task", record.application or "-"),
        ("engines", ", ".join(record.engines) or "-"),
        ("licence", ", ".join(item.name or item.id for item in record.licenses) or "none stated"),
        ("from", shown_url(record.repository)),
        *(("property", f"{key}={value}") for key, value in record.properties.items()),
        *(("file", f"{file.title}  {_size(file.size)}  {_digest(file)}") for file in found.files),
    ]


def _variant(found: ModelInfo, record: ModelRecord) -> str:
    own = record.name or "unnamed"
    if not found.others:
        return own
    others = _short(", ".join(name or "unnamed" for name in found.others), limit=200)
    return f"{own}, first of {len(found.others) + 1} (others: {others}; --artifact-name chooses)"


#: Entry of the header -> what it is called, and how its JSON is shown.
_ENTRIES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    FACTORY_ENTRY: ("factory", lambda value: f"{value['factory']}({_fields(value['fields'])})"),
    ENGINES_ENTRY: ("engines", lambda value: _names(value)),
    TRANSLATOR_ENTRY: ("translator", lambda value: f"{value['name']}({_fields(value['arguments'])})"),
    GOLDEN_ENTRY: ("golden", lambda value: f"outputs to check, within rtol {value['rtol']:g}, atol {value['atol']:g}"),
    REQUIRES_ENTRY: ("requires", lambda value: _names(value)),
    WRITTEN_WITH_ENTRY: ("written with", lambda value: ", ".join(f"{name} {version}" for name, version in value.items())),
}
#: What the rest of the text shows.
_SHOWN_ELSEWHERE = (FORMAT_ENTRY, PROGRAMS_ENTRY, ALIASES_ENTRY)


def _header(found: ModelInfo) -> Iterator[tuple[str, str]]:
    """The header's entries in words; one that is malformed, or that nobody here knows, as it stands."""
    order = [*(key for key in _ENTRIES if key in found.header), *(key for key in found.header if key not in _ENTRIES)]
    for key in order:
        if key in _SHOWN_ELSEWHERE or (key == ENGINES_ENTRY and found.record is not None):
            continue
        text = found.header[key]
        try:
            if key == SIGNATURE_ENTRY:
                yield from _signature(json.loads(text))
            elif key in _ENTRIES:
                name, worded = _ENTRIES[key]
                yield name, worded(json.loads(text))
            else:
                yield key, _short(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            yield key, _short(text)


def _signature(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from (("input", _spec(item)) for item in value["inputs"])
    yield from (("output", _spec(item)) for item in value["outputs"])


def _names(value: Any) -> str:
    # A text or an object would be joined too.
    if not isinstance(value, list):
        raise TypeError("no list of names")
    return _short(", ".join(value), limit=200)


def _fields(fields: Mapping[str, Any]) -> str:
    # A thousand class names would fill the screen.
    return ", ".join(f"{name}={_short(json.dumps(value, ensure_ascii=False))}" for name, value in fields.items())


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _spec(item: Mapping[str, Any]) -> str:
    return f"{item['name']}  {item['dtype']}[{', '.join('*' if size is None else str(size) for size in item['shape'])}]"


def _cost(found: ModelInfo) -> list[tuple[str, str]]:
    cost = found.cost
    missing = cost["missing"]
    return [
        *([("to fetch", _size(cost["download_bytes"]))] if found.record is not None else []),
        ("on disk", _size(cost["disk_bytes"])),
        ("in memory", _size(cost["memory_bytes"])),
        ("parameters", _count(found)),
        *([("missing", install_line(missing))] if missing else []),
    ]


def _count(found: ModelInfo) -> str:
    if not found.parameters:
        return "seen when the file is here" if not found.format else "none beside the program"
    values = sum(math.prod(item["shape"]) for item in found.parameters.values())
    return f"{len(found.parameters)} tensors, {values:,} values"


def _runs(found: ModelInfo) -> list[tuple[str, str]]:
    return [("runs", _described(run)) for run in found.runs]


def _described(run: Mapping[str, Any]) -> str:
    by = f" of {run['distribution']} {run['version']}" if run["distribution"] else ""
    mode = f"; {MODES[run['what']]}" if run["what"] in MODES else ""
    return f"{run['kind']}: {run['what']} {run['name']}{by} ({_state(run)}){mode}"


def _state(run: Mapping[str, Any]) -> str:
    if run["allowed"]:
        return "allowed"
    if run["allow_with"]:
        return f"needs {run['allow_with']}"
    if run["kind"] == "unknown":
        return "known once its bytes are here"
    promised = run["kind"] == "program" or run["what"] == "carried code"
    return "never: its document does not promise these bytes" if promised else "not installed"


def _digest(file: Any) -> str:
    if file.sha256:
        return f"sha256:{file.sha256}"
    if file.sha1:
        return f"sha1:{file.sha1}"
    return f"sha256:{file.sha256_prefix}... (weak digest)" if file.sha256_prefix else "no digest"


def _size(count: int | None) -> str:
    return "unknown" if count is None else bytes_text(count)
