"""ModelInfo: what an artifact is, what a load of it costs, and what it would run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_core.artifact import CODE_KEY, PARAMETER_KEYS, ArtifactFile
from zoo_core.entry_points import BLOCK_FACTORIES, TRANSLATORS, EntryPoint, InstalledEntryPoints
from zoo_core.errors import ZooError
from zoo_core.loader import PROGRAM_SUFFIXES
from zoo_core.parameters import kind_of, read_parameters
from zoo_core.record import ModelRecord


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What there is to know of an artifact without loading it.

    Attributes:
        record: The artifact.
        header: The parameter file's own header, where the file is on this machine.
        parameters: Name -> dtype and shape, likewise.
        files: Its files, as the document describes them.
        cost: ``download_bytes``, ``disk_bytes``, ``memory_bytes`` (None where unknown) and the packages ``missing``.
        runs: What a load would execute, an entry each: ``kind`` (data, program, code, unknown), ``what``, ``name``,
            ``distribution``, ``version``, ``sha256``, ``allowed``, ``allow_with``.
    """

    record: ModelRecord
    header: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: tuple[ArtifactFile, ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "record": self.record.to_dict(),
            "header": dict(self.header),
            "parameters": {name: dict(value) for name, value in self.parameters.items()},
            "files": [file.to_dict() for file in self.files],
            "cost": dict(self.cost),
            "runs": [dict(run) for run in self.runs],
        }


def describe(record: ModelRecord, local: Mapping[str, Path], engine: str | None, installed: InstalledEntryPoints) -> ModelInfo:
    """Collect what there is to know of an artifact.

    Args:
        local: The files that are on this machine, by key.
        engine: The engine that a load would use, if one is installed.
    """
    file = record.artifact.file(*PARAMETER_KEYS)
    path = local.get(file.key) if file else None
    header, parameters = _opened(path) if path else ({}, {})
    return ModelInfo(
        record=record,
        header=header,
        parameters=parameters,
        files=record.files,
        cost=_cost(record, local, parameters),
        runs=tuple(_runs(record, file, path, engine, installed)),
    )


def _opened(path: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    try:
        file = read_parameters(path)
    except ZooError:
        # A program, or a format that only its engine reads, has no tree of parameters to show.
        return {}, {}
    tensors = {
        name: {"dtype": item.dtype, "shape": list(item.shape), "bytes": item.nbytes} for name, item in file.tensors.items()
    }
    return dict(file.header), tensors


def _cost(record: ModelRecord, local: Mapping[str, Path], parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    wanted = [file.size for file in record.files if file.key not in local]
    memory = sum(int(value["bytes"]) for value in parameters.values())
    parameter_file = record.artifact.file(*PARAMETER_KEYS)
    return {
        "download_bytes": None if None in wanted else sum(size or 0 for size in wanted),
        "disk_bytes": record.size,
        "memory_bytes": memory or (parameter_file.size if parameter_file else None),
        "missing": list(record.missing),
    }


def _runs(
    record: ModelRecord, file: ArtifactFile | None, path: Path | None, engine: str | None, installed: InstalledEntryPoints
) -> list[dict[str, Any]]:
    runs = []
    for what, group, key in (("factory", BLOCK_FACTORIES, "blockFactory"), ("translator", TRANSLATORS, "translatorFactory")):
        name = record.arguments.get(key)
        if isinstance(name, str):
            entry = _entry(group, name, engine, record.source.distribution, installed)
            runs.append(_installed_code(what, name, entry))
    if file is not None:
        runs.append(_parameters(file, path))
    code = record.artifact.file(CODE_KEY)
    if code is not None:
        runs.append(_run("code", "carried code", code.name, sha256=code.sha256, allow_with="--trust-code"))
    return runs


def _entry(group: str, name: str, engine: str | None, carrier: str, installed: InstalledEntryPoints) -> EntryPoint | None:
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


def _parameters(file: ArtifactFile, path: Path | None) -> dict[str, Any]:
    kind = kind_of(path).trust if path is not None else "program" if file.name.endswith(PROGRAM_SUFFIXES) else "unknown"
    allow_with = "--trust-programs" if kind == "program" else None
    return _run(kind, "parameters", file.name, sha256=file.sha256, allowed=kind == "data", allow_with=allow_with)


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
