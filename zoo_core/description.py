"""ModelInfo: what a model or a file is, what a load of it costs, and what it would run; no engine is imported to tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_core.artifact import CODE_KEY, PARAMETER_KEYS, ArtifactFile
from zoo_core.cache import ALLOWING, is_verifiable
from zoo_core.entry_points import BLOCK_FACTORIES, TRANSLATORS, EntryPoint, InstalledEntryPoints
from zoo_core.errors import ZooError
from zoo_core.how import How, named_factory, named_translator
from zoo_core.loader import PROGRAM_SUFFIXES
from zoo_core.material import Material, material_of, model_files
from zoo_core.parameters import ParameterFile, StoredProgram
from zoo_core.parameters.header import FACTORY_ENTRY, GOLDEN_PREFIX, REQUIRES_ENTRY, TRANSLATOR_ENTRY
from zoo_core.parameters.program import ATEN, is_program_name
from zoo_core.record import ModelRecord
from zoo_core.requirements import check_requirement, missing_requirements
from zoo_core.trust import is_code_trusted, may_run_programs


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What there is to know of a model without loading it.

    Attributes:
        record: The artifact; None for a file.
        name: What messages call it.
        others: The names of the other artifacts of its version that match too.
        format: Of the parameter file: ``safetensors``, ``torchscript``, ...; "" while it is not on this machine.
        header: The parameter file's own header, where the file is on this machine.
        parameters: Name -> dtype, shape and bytes, likewise; programs and golden tensors are left out.
        files: Its files, as the document describes them.
        cost: ``download_bytes``, ``disk_bytes``, ``memory_bytes`` (None where unknown) and the packages ``missing``.
        runs: What a load would execute, an entry each: ``kind`` (data, program, code, unknown), ``what``, ``name``,
            ``distribution``, ``version``, ``sha256``, ``allowed``, ``allow_with``.
    """

    record: ModelRecord | None = None
    name: str = ""
    others: tuple[str, ...] = ()
    format: str = ""
    header: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: tuple[ArtifactFile, ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "record": self.record.to_dict() if self.record is not None else None,
            "name": self.name,
            "others": list(self.others),
            "format": self.format,
            "header": dict(self.header),
            "parameters": {name: dict(value) for name, value in self.parameters.items()},
            "files": [file.to_dict() for file in self.files],
            "cost": dict(self.cost),
            "runs": [dict(run) for run in self.runs],
        }


def describe(
    record: ModelRecord,
    local: Mapping[str, Path],
    engine: str | None,
    installed: InstalledEntryPoints,
    how: How,
    *,
    engine_of: Callable[[Material], str | None] = lambda _: None,
) -> ModelInfo:
    """Collect what there is to know of an artifact.

    Args:
        local: The files that are on this machine, by key.
        engine: The engine that a load would use, if one is installed.
        how: What the user trusts.
        engine_of: Tells the engine by the files, where the document leaves it to them.
    """
    material = _opened(record, local, how)
    file = material.parameters
    parameters = _parameters(file)
    if engine is None:
        # A header that is malformed is what a load says.
        with suppress(ZooError):
            engine = engine_of(material)
    return ModelInfo(
        record=record,
        name=record.reference,
        format=file.format if file is not None else "",
        header=material.header,
        parameters=parameters,
        files=record.files,
        cost=_cost(record, local, parameters),
        runs=tuple(_runs(material, engine, installed, how)),
    )


def describe_file(material: Material, engine: str | None, installed: InstalledEntryPoints, how: How) -> ModelInfo:
    """Collect what there is to know of a file, a folder or an archive that the caller names."""
    parameters = _parameters(material.parameters)
    size = _bytes_of(material.parameters)
    return ModelInfo(
        name=material.name,
        format=material.parameters.format if material.parameters is not None else "",
        header=material.header,
        parameters=parameters,
        cost={
            "download_bytes": 0,
            "disk_bytes": size,
            "memory_bytes": _memory(parameters) or size,
            "missing": list(missing_requirements(_required(material))),
        },
        runs=tuple(_runs(material, engine, installed, how)),
    )


def _bytes_of(file: ParameterFile | None) -> int | None:
    """The size of a file, or of its parts; None where it has no tensor to tell of it."""
    sources = {id(tensor.source): tensor.source for tensor in (file.tensors if file is not None else {}).values()}
    return sum(len(source.data) for source in sources.values()) or None


def _required(material: Material) -> Iterable[str]:
    """What the header says must be installed; what is no requirement must not end up in a line to be pasted into a shell."""
    own, factory = _header(material, REQUIRES_ENTRY, list), _header(material, FACTORY_ENTRY, dict).get("requires")
    for item in [*own, *(factory if isinstance(factory, list) else ())]:
        with suppress(ValueError, TypeError):
            yield check_requirement(item)


def _opened(record: ModelRecord, local: Mapping[str, Path], how: How) -> Material:
    """The material of an artifact, as far as its files are here and can be read."""
    bare = Material(
        name=record.name or record.artifact_id,
        record=record,
        arguments=record.arguments,
        carrier=record.source.distribution or None,
    )
    try:
        return material_of(record, local, how) if local else bare
    # A malformed file, or one of a format that nothing here reads, has no tree of parameters to show.
    except ZooError:
        return bare


def _parameters(file: ParameterFile | None) -> dict[str, dict[str, Any]]:
    tensors = file.tensors if file is not None else {}
    return {
        name: {"dtype": item.dtype, "shape": list(item.shape), "bytes": item.nbytes}
        for name, item in tensors.items()
        if not name.startswith(GOLDEN_PREFIX) and not is_program_name(name)
    }


def _cost(record: ModelRecord, local: Mapping[str, Path], parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    wanted = [file.size for file in record.files if file.key not in local]
    parameter_file = record.artifact.file(*PARAMETER_KEYS)
    return {
        "download_bytes": None if None in wanted else sum(size or 0 for size in wanted),
        "disk_bytes": record.size,
        "memory_bytes": _memory(parameters) or (parameter_file.size if parameter_file else None),
        "missing": list(record.missing),
    }


def _memory(parameters: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(int(value["bytes"]) for value in parameters.values())


def _runs(material: Material, engine: str | None, installed: InstalledEntryPoints, how: How) -> list[dict[str, Any]]:
    runs = []
    for what, group, name in _named(material):
        entry = _entry(group, name, engine, material.carrier, installed)
        runs.append(_installed_code(what, name, entry))
    runs += _parameter_runs(material, how)
    runs += _unverified(material, how)
    programs = material.parameters.programs.values() if material.parameters is not None else ()
    runs += [_program(program, material, how) for program in programs]
    return [*runs, *_carried(material, how)]


def _carried(material: Material, how: How) -> Iterable[dict[str, Any]]:
    promised = material.record.artifact.file(CODE_KEY) if material.record is not None else None
    if material.code is not None:
        place, sha256 = material.code.place, material.code.sha256
    elif promised is not None:
        place, sha256 = promised.name, promised.sha256 or ""
    else:
        return
    # Trust in an address is none in bytes that its document does not promise.
    is_promised = material.record is None or (promised is not None and promised.sha256 == sha256 != "")
    trusted = is_promised and is_code_trusted(sha256, material.source, how.trust_code)
    allow_with = None if trusted or not is_promised else f"--trust-code sha256:{sha256}"
    yield _run("code", "carried code", place, sha256=sha256 or None, allowed=trusted, allow_with=allow_with)


def _named(material: Material) -> Iterable[tuple[str, str, str]]:
    """The factory and the translator that arguments or the file name: what, entry-point group, name."""
    for what, group, named, header in (
        ("factory", BLOCK_FACTORIES, named_factory, (FACTORY_ENTRY, "factory")),
        ("translator", TRANSLATORS, named_translator, (TRANSLATOR_ENTRY, "name")),
    ):
        name = named(material.arguments) or _header(material, header[0], dict).get(header[1])
        if isinstance(name, str):
            yield what, group, name


def _header(material: Material, key: str, type_: type) -> Any:
    """An entry of the header; empty where it is missing or malformed, which a load would say."""
    try:
        value = json.loads(material.header.get(key, "null"))
    except (ValueError, RecursionError):
        return type_()
    return value if isinstance(value, type_) else type_()


def _entry(
    group: str, name: str, engine: str | None, carrier: str | None, installed: InstalledEntryPoints
) -> EntryPoint | None:
    plain = name.rpartition(":")[2]
    if group == BLOCK_FACTORIES and engine and not plain.startswith(f"{engine.lower()}."):
        name = name[: len(name) - len(plain)] + f"{engine.lower()}.{plain}"
    provider = installed.provider(engine) if engine else None
    try:
        return installed.find(group, name, owners=(carrier, provider.distribution if provider else None))
    except ZooError:
        return None


def _installed_code(what: str, name: str, entry: EntryPoint | None) -> dict[str, Any]:
    if entry is None:
        return _run("code", what, name)
    return _run("code", what, entry.name, distribution=entry.distribution, version=entry.version, allowed=True)


def _parameter_runs(material: Material, how: How) -> list[dict[str, Any]]:
    """The parameter file itself: its bytes tell of what kind it is, or else a name that only programs have."""
    file, record = material.parameters, material.record
    items = model_files(record, how) if record is not None else ()
    if file is None and not items:
        return []
    name, sha256 = (items[0].title, items[0].sha256) if items else (material.name, None)
    allow_with = ALLOWING if record is not None and not all(is_verifiable(record, item) for item in items) else None
    if file is not None and file.is_data:
        return [_run("data", "parameters", name, sha256=sha256, allowed=allow_with is None, allow_with=allow_with)]
    if file is None and not name.endswith(PROGRAM_SUFFIXES):
        return [_run("unknown", "parameters", name, sha256=sha256, allow_with=allow_with)]
    return [_program_run("parameters", name, sha256, material, how)]


def _unverified(material: Material, how: How) -> list[dict[str, Any]]:
    """The other files of an artifact that no load takes, since nobody promises what they hold."""
    record = material.record
    if record is None:
        return []
    items = model_files(record, how)
    others = [item for item in record.files if item not in items and not is_verifiable(record, item)]
    return [_run("data", "file", item.title, allow_with=ALLOWING) for item in others]


def _program(program: StoredProgram, material: Material, how: How) -> dict[str, Any]:
    if program.kind == ATEN:
        return _run("data", program.kind, program.name, sha256=program.sha256, allowed=True)
    sha256 = program.sha256 if program.kind != "unknown" else None
    return _program_run(program.kind, program.name, sha256, material, how)


def _program_run(what: str, name: str, sha256: str | None, material: Material, how: How) -> dict[str, Any]:
    # Nothing allows bytes that nobody promised.
    items = model_files(material.record, how) if material.record is not None else ()
    is_promised = all(item.has_full_digest for item in items)
    trusted = may_run_programs(material.source, trusted=how.trust_programs)
    allowed, allow_with = trusted and is_promised, None if trusted or not is_promised else "--trust-programs"
    return _run("program", what, name, sha256=sha256, allowed=allowed, allow_with=allow_with)


def _run(
    kind: str,
    what: str,
    name: str,
    *,
    distribution: str | None = None,
    version: str | None = None,
    sha256: str | None = None,
    allowed: bool = False,
    allow_with: str | None = None,
) -> dict[str, Any]:
    return {
        "kind": kind, "what": what, "name": name, "distribution": distribution, "version": version,
        "sha256": sha256, "allowed": allowed, "allow_with": allow_with,
    }  # fmt: skip
