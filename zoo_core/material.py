"""What a load starts from: a model's files, already on this machine, each opened and told for what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo_core.artifact import CODE_KEY, PARAMETER_KEYS, ArtifactFile
from zoo_core.bundle import Bundle, Folder, bundle_at, bundle_of
from zoo_core.carried import CODE_NAME, CarriedCode
from zoo_core.engines import Engines
from zoo_core.errors import InputError, MetadataError, ParameterError
from zoo_core.frozen import FrozenDict
from zoo_core.golden import GOLDEN_KEY, GOLDEN_NAME
from zoo_core.how import How
from zoo_core.metadata import DOCUMENT_NAME, Metadata
from zoo_core.parameters import ParameterFile, read_model_file
from zoo_core.parameters.header import ENGINES_ENTRY, FACTORY_ENTRY
from zoo_core.parameters.reading import read_parameters
from zoo_core.parameters.shards import INDEX_SUFFIX, read_shards
from zoo_core.parameters.source import Source as Bytes
from zoo_core.parameters.source import open_source
from zoo_core.parameters.whole import SYMBOL_SUFFIX, symbol_names
from zoo_core.record import ModelRecord, Source
from zoo_core.registered import over
from zoo_core.requirements import check_engine
from zoo_core.serving import MAX_SERVING, SERVING_NAME, Serving, read_serving
from zoo_core.wording import listing, printable

#: The key of the file that holds an MXNet network's program, as DJL's documents have it.
SYMBOL_KEY = "symbol"
_PARAMETER_SUFFIXES = (".safetensors", ".pth", ".pt", ".params", ".pt2")
#: The option by which DJL tells which of several parameter files in a folder is the model's.
MODEL_NAME = "modelName"
#: Folders in folders that are gone through: a whole repository of one model in an archive has some ten.
_DEEPEST = 32
#: Bytes of a document that is looked for in a folder; DJL's longest has some 60 kB.
_MAX_DOCUMENT = 1 << 20
#: The kind of a program -> the engine that runs it.
_PROGRAM_ENGINES = {
    "torch.aten": "PyTorch",
    "torch.export": "PyTorch",
    "torchscript": "PyTorch",
    "mxnet.symbol": "MXNet",
}


#: The format of a file -> the engine that writes it.
_FORMAT_ENGINES = {"pth": "PyTorch", "pth-legacy": "PyTorch", "params": "MXNet"}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a load starts from.

    Attributes:
        record: The artifact, or None for a file that the caller names.
        parameters: The parameter file, or the program that holds them; None where there is neither.
        golden: The file beside the parameters that holds the golden tensors, or None.
        code: The Python code that it carries, read and not run, or None.
        folder: What `BlockFactory.new_block` gets as ``model_path``.
        files: By their keys; those that came out of an archive by their names without suffix.
        arguments: For factory and translator, of the lower precedences: all but those of the call.
        carrier: The distribution that carries the artifact; it wins where a name is claimed twice.
    """

    name: str
    record: ModelRecord | None = None
    parameters: ParameterFile | None = None
    golden: Bytes | None = None
    code: CarriedCode | None = None
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=FrozenDict)
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)
    options: Mapping[str, str] = field(default_factory=FrozenDict)
    carrier: str | None = None

    @property
    def header(self) -> Mapping[str, str]:
        """What the parameter file says of itself."""
        return self.parameters.header if self.parameters is not None else {}

    @property
    def source(self) -> Source | None:
        """The repository; None where the caller handed over the files."""
        return self.record.source if self.record is not None else None

    def header_value(self, key: str, type_: type) -> Any:
        """An entry of the header as the JSON that it is.

        Raises:
            ParameterError: It is no JSON, or of another type.
        """
        try:
            value = json.loads(self.header[key])
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"{printable(self.name)}: header entry {key} is no JSON: {error}") from error
        if not isinstance(value, type_):
            raise ParameterError(
                f"{printable(self.name)}: header entry {key} is {type(value).__name__}, expected {type_.__name__}"
            )
        return value


def material_of(record: ModelRecord, files: Mapping[str, Path], how: How) -> Material:
    """What a load of an artifact starts from.

    Raises:
        ParameterError: Its parameter file is malformed.
        InputError: The archive that is to hold its parameter file has none, or several.
        MetadataError: A ``serving.properties`` in it is malformed.
    """
    unpacked = _unpacked(record, files)
    said = [*(unpacked.said if unpacked is not None else ()), *_listed_serving(record, files)]
    application = {"application": record.application} if record.application else {}
    arguments = over({}, *(item.arguments for item in said), application, record.arguments)
    options = {**{name: value for item in said for name, value in item.options.items()}, **record.artifact.options}
    bare = Material(
        name=options.get(MODEL_NAME) or record.name or record.artifact_id,
        record=record,
        golden=open_source(files[GOLDEN_KEY]) if GOLDEN_KEY in files else None,
        # Never what an archive carries: only the document can promise code.
        code=CarriedCode.read(files[CODE_KEY]) if CODE_KEY in files else None,
        files=FrozenDict(files),
        arguments=arguments,
        options=options,
        carrier=record.source.distribution or None,
    )
    if unpacked is not None:
        return _with_bundle(bare, unpacked.bundle, how, is_required=unpacked.is_required)
    return replace(bare, parameters=_read_artifact(record, files, how), folder=_folder(record, files))


def _folder(record: ModelRecord, files: Mapping[str, Path]) -> Path | None:
    """Where the parameter file lies; where there is none, any file tells where the artifact does."""
    described = _parameter_file(record)
    listed = [described, *record.files] if described is not None else record.files
    file = next((file for file in listed if file.key in files), None)
    if file is None:
        return None
    path = files[file.key]
    # An archive without a name is unpacked into the artifact's folder itself.
    return path if file.type == "dir" and not file.name and path.is_dir() else path.parent


def material_of_path(source: Path | bytes, how: How) -> Material:
    """What a load of a parameter file, of a folder or of an archive with one, or of the content of a file, starts from.

    Raises:
        InputError: There is no such file, or the folder or archive has none or several.
        ParameterError: It is malformed.
    """
    if isinstance(source, Path) and source.is_dir():
        return _material_of_bundle(Folder(source), how)
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source}: there is no such file")
    opened = open_source(source)
    bundle = bundle_of(opened)
    if bundle is not None:
        return _material_of_bundle(bundle, how)
    if isinstance(source, Path):
        return _material_of_file(source, how)
    return Material(name="model", parameters=read_model_file(opened))


def _material_of_file(path: Path, how: How) -> Material:
    file = _read_file(path, how)
    beside = path.with_name(GOLDEN_NAME)
    # A safetensors file has room for its own golden tensors, so one that lies beside it is another's.
    has_golden = file.format != "safetensors" and beside.is_file()
    return Material(
        name=_stem(path.name) or path.name,
        parameters=file,
        golden=open_source(beside) if has_golden else None,
        folder=path.absolute().parent,
    )


def _read_file(path: Path, how: How) -> ParameterFile:
    if path.name.endswith(".params") and not how.decides_block({}):
        symbol = next((found for name in symbol_names(path.name) if (found := path.with_name(name)).is_file()), None)
        if symbol is not None:
            return read_model_file(symbol, parameters=path)
    return read_model_file(path)


def _material_of_bundle(bundle: Bundle, how: How) -> Material:
    code = bundle.open(CODE_NAME) if CODE_NAME in bundle.names else None
    found, said = _descended(bundle)
    bare = Material(
        name="",
        code=CarriedCode.of(code.name, bytes(code.data)) if code is not None else None,
        arguments=over({}, *(item.arguments for item in said)),
        options={name: value for item in said for name, value in item.options.items()},
    )
    return _with_bundle(bare, found, how, is_required=True)


def _with_bundle(bare: Material, bundle: Bundle, how: How, *, is_required: bool) -> Material:
    """A material with what a folder or an archive has: its parameter file, its golden tensors, its other files."""
    name = _only_parameter_file(bundle, bare.options.get(MODEL_NAME) or bare.name, is_required=is_required)
    golden = bundle.open(GOLDEN_NAME) if bare.golden is None and GOLDEN_NAME in bundle.names else bare.golden
    decides = how.decides_block(bare.arguments)
    return replace(
        bare,
        name=bare.name or _stem(name),
        parameters=_read_member(bundle, name, decides_block=decides) if name else None,
        golden=golden,
        folder=bundle.folder,
        files=FrozenDict({**_by_stem(bundle), **bare.files}),
    )


def _by_stem(bundle: Bundle) -> dict[str, Path]:
    """The files of a folder as documents label them: ``synset.txt`` is ``synset``; of two, the first."""
    found: dict[str, Path] = {}
    for name in bundle.names:
        path = bundle.folder / name if bundle.folder is not None else None
        # What an archive carries is neither promised code nor another's golden tensors.
        if path is not None and name not in (CODE_NAME, GOLDEN_NAME):
            found.setdefault(_stem(name) or name, path)
    found.pop(CODE_KEY, None)
    return found


@dataclass(frozen=True, kw_only=True)
class _Unpacked:
    """An archive of an artifact, or the folder that it became, that has its parameter file.

    Attributes:
        bundle: The files beside the parameter file.
        said: What else is said in it, of rising precedence.
        is_required: The document itself says that the parameter file is there.
    """

    bundle: Bundle
    said: Sequence[Serving]
    is_required: bool


def _unpacked(record: ModelRecord, files: Mapping[str, Path]) -> _Unpacked | None:
    """The first of an artifact's archives that has a parameter file; None where its parameters are a file by itself."""
    folders = _folders(record)
    is_required = bool(folders) and folders[0] == _parameter_file(record)
    for file in folders[:1] if is_required else folders:
        # What was not unpacked yet is looked into as it is.
        top = bundle_at(files[file.key]) if file.key in files else None
        if top is None:
            continue
        bundle, said = _descended(top if file.name else top.without(_own_names(record)))
        if is_required or _parameter_names(bundle):
            return _Unpacked(bundle=bundle, said=said, is_required=is_required)
    return None


def _folders(record: ModelRecord) -> list[ArtifactFile]:
    """The archives of an artifact that its parameters are in; none where they are a file that its document names."""
    described = _parameter_file(record)
    if described is not None and described.type == "file":
        return []
    if described is None and _symbol_file(record) is not None:
        return []
    archives = [file for file in record.files if file.type == "dir"]
    return sorted(archives, key=lambda file: file != described)


def _own_names(record: ModelRecord) -> frozenset[str]:
    """Names of the files that have a key of their own, and are read by it alone."""
    return frozenset(file.name for file in record.files if file.type == "file")


def _listed_serving(record: ModelRecord, files: Mapping[str, Path]) -> Iterable[Serving]:
    """The ``serving.properties`` that the document lists as a file."""
    for file in record.files:
        if file.name == SERVING_NAME and file.type == "file" and file.key in files:
            yield _read_serving(open_source(files[file.key]))


def _read_serving(source: Bytes) -> Serving:
    return read_serving(bytes(source.data[: MAX_SERVING + 1]), source.name)


def _descended(bundle: Bundle) -> tuple[Bundle, list[Serving]]:
    """The folder with the parameter file, as deep as there is one way only, and what is said on the way to it."""
    said = _said(bundle)
    for _ in range(_DEEPEST):
        if len(bundle.folders) != 1 or _parameter_names(bundle):
            break
        bundle = bundle.inside(bundle.folders[0])
        said += _said(bundle)
    return bundle, said


def _said(bundle: Bundle) -> list[Serving]:
    """What a folder says of its model: its ``serving.properties``, and over it its document where that has one artifact."""
    found = [_read_serving(bundle.open(SERVING_NAME))] if SERVING_NAME in bundle.names else []
    if DOCUMENT_NAME in bundle.names:
        source = bundle.open(DOCUMENT_NAME)
        document = _document(source) if len(source.data) <= _MAX_DOCUMENT else None
        artifacts = document.artifacts if document is not None else ()
        found += [Serving(arguments=item.arguments, options=item.options) for item in artifacts if len(artifacts) == 1]
    return found


def _document(source: Bytes) -> Metadata | None:
    """A document of the format; None where a file only has its name."""
    try:
        return Metadata.from_json(bytes(source.data), f"file:///{DOCUMENT_NAME}")
    except MetadataError:
        return None


def _stem(name: str) -> str:
    for suffix in (INDEX_SUFFIX, SYMBOL_SUFFIX):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name.rpartition(".")[0]


def _read_member(bundle: Bundle, name: str, *, decides_block: bool) -> ParameterFile:
    if name.endswith(INDEX_SUFFIX):
        return read_shards(bundle.open(name), lambda part: _part(bundle, part))
    symbol = next((found for found in symbol_names(name) if found in bundle.names), None)
    if symbol is not None and name.endswith(".params") and not decides_block:
        return read_model_file(bundle.open(symbol), parameters=bundle.open(name))
    return read_model_file(bundle.open(name))


def _part(bundle: Bundle, name: str) -> Bytes:
    if name not in bundle.names:
        raise ParameterError(f"{printable(bundle.name)} has no file {printable(name)}, which its index names")
    return bundle.open(name)


def _only_parameter_file(bundle: Bundle, model_name: str, *, is_required: bool) -> str:
    """The parameter file, of several the one that has the model's name; "" where there may be none and is none."""
    found = _parameter_names(bundle)
    if len(found) > 1:
        # MXNet's have the number of an epoch behind the name.
        found = [name for name in found if model_name in (_stem(name), re.sub(r"-\d{4}$", "", _stem(name)))] or found
    if len(found) == 1:
        return found[0]
    if not found and not is_required:
        return ""
    raise InputError(f"{printable(bundle.name)} holds {listing(map(printable, found)) or 'no parameter file'}; name one file")


def _parameter_names(bundle: Bundle) -> list[str]:
    """The files in a folder that may hold the parameters: an index stands for its parts, a symbol alone for a network."""
    for suffixes in ((INDEX_SUFFIX,), _PARAMETER_SUFFIXES, (SYMBOL_SUFFIX,)):
        found = [name for name in bundle.names if name.endswith(suffixes) and name != GOLDEN_NAME]
        if found:
            return found
    return []


def _read_artifact(record: ModelRecord, files: Mapping[str, Path], how: How) -> ParameterFile | None:
    """The parameters of an artifact, from the files that its document lists and from none that only lies beside them."""
    names = [file.name for file in model_files(record, how) if file.type == "file"]
    places = {file.name: files[file.key] for file in record.files if file.name in names and file.key in files}
    if not names or names[0] not in places:
        return None
    first = open_source(places[names[0]])
    if names[0].endswith(INDEX_SUFFIX):
        return read_shards(first, lambda part: _listed(record, places, part))
    return read_model_file(first, parameters=next((places[name] for name in names[1:] if name in places), None))


def _listed(record: ModelRecord, places: Mapping[str, Path], part: str) -> Bytes:
    if part not in places:
        raise ParameterError(f"{printable(record.reference)} lists no file {printable(part)}, which its index names")
    return open_source(places[part])


def model_files(record: ModelRecord, how: How) -> tuple[ArtifactFile, ...]:
    """Those files of an artifact that a load reads as its program and its parameters; the first tells of the others.

    What an archive holds is known when it is here; until then any of them may have them.
    """
    folders = _folders(record)
    if folders:
        return tuple(folders)
    parameters = _parameter_file(record)
    symbol = None if how.decides_block(record.arguments) else _symbol_file(record)
    if parameters is not None and parameters.name.endswith(INDEX_SUFFIX):
        parts = (file for file in record.files if file.name.endswith(".safetensors") and file.key != GOLDEN_KEY)
        return (parameters, *parts)
    return tuple(dict.fromkeys(file for file in (symbol, parameters) if file is not None))


def _parameter_file(record: ModelRecord) -> ArtifactFile | None:
    named = record.artifact.file(*PARAMETER_KEYS)
    if named is not None:
        return named
    # The index of several parts stands for them.
    for suffixes in ((INDEX_SUFFIX,), _PARAMETER_SUFFIXES):
        for file in record.files:
            if file.key != GOLDEN_KEY and file.name.endswith(suffixes):
                return file
    return None


def _symbol_file(record: ModelRecord) -> ArtifactFile | None:
    named = record.artifact.file(SYMBOL_KEY)
    return named or next((file for file in record.files if file.name.endswith(SYMBOL_SUFFIX)), None)


def golden_file(material: Material) -> ParameterFile | None:
    """The file that holds the golden tensors: the one beside the parameters, else the parameter file itself."""
    return read_parameters(material.golden) if material.golden is not None else material.parameters


def engines_of_file(material: Material, asked: str | None, engines: Engines, how: How) -> Iterable[str]:
    """The engines to try for a file: the one asked for, else those that its programs or its header name, else all.

    Raises:
        ParameterError: The header's names of engines are malformed.
    """
    if asked is not None:
        return [asked]
    own = list(engines_of_header(material)) or _named_engine(material)
    if own or how.decides_block(material.arguments):
        return own or engines.names
    return _likely(material, engines.names)


def _named_engine(material: Material) -> list[str]:
    """The engine that comes with a folder, in the spelling of its ``serving.properties``."""
    named = material.arguments.get("engine")
    if not named:
        return []
    try:
        return [check_engine(str(named))]
    except ValueError as error:
        raise ParameterError(f"{printable(material.name)}: engine {printable(repr(named))}: {error}") from error


def _likely(material: Material, names: Sequence[str]) -> list[str]:
    """All engines, first the one whose own format a file has."""
    likely = _FORMAT_ENGINES.get(material.parameters.format) if material.parameters is not None else None
    return sorted(names, key=lambda name: name != likely)


def engines_of_header(material: Material) -> Iterable[str]:
    """The engines that a file's programs or its header name."""
    programs = material.parameters.programs.values() if material.parameters is not None else ()
    runners = dict.fromkeys(_PROGRAM_ENGINES[item.kind] for item in programs if item.kind in _PROGRAM_ENGINES)
    if runners:
        return runners
    if ENGINES_ENTRY in material.header:
        entry, named = ENGINES_ENTRY, material.header_value(ENGINES_ENTRY, list)
    elif FACTORY_ENTRY in material.header:
        engine = material.header_value(FACTORY_ENTRY, dict).get("engine")
        entry, named = FACTORY_ENTRY, [engine] if engine is not None else []
    else:
        return []
    try:
        # What is foreign here ends up in the name of a package to install.
        return [check_engine(name) for name in named]
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{printable(material.name)}: header entry {entry}: {error}") from error
