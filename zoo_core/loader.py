"""From an artifact's files to a model, one line a step; ModelLoader does it for the artifacts of one MRL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from warnings import warn

from zoo_core import application as applications
from zoo_core.artifact import CODE_KEY, MRL, PARAMETER_KEYS
from zoo_core.block import BlockFactory, factory_class, factory_from_dict
from zoo_core.criteria import Criteria
from zoo_core.device import Device
from zoo_core.engine import Engine, LoadReport
from zoo_core.engines import Engines
from zoo_core.entry_points import BLOCK_FACTORIES, InstalledEntryPoints, guarded
from zoo_core.errors import InputError, ParameterError, PluginError, UntrustedCodeError, ZooError, ZooWarning
from zoo_core.frozen import FrozenDict
from zoo_core.model import Model, signature_of
from zoo_core.parameters import ParameterFile, kind_of, read_parameters
from zoo_core.plugin import Hooks
from zoo_core.record import ModelRecord
from zoo_core.registered import build_from_arguments, entry_point_of, field_names, snake_case
from zoo_core.selection import choose
from zoo_core.translator import Translator, translator_class, translator_from_dict
from zoo_core.wording import did_you_mean, listing, printable

if TYPE_CHECKING:
    from zoo_core.cache import Progress
    from zoo_core.zoo import ModelZoo

Thing = TypeVar("Thing")

#: Arguments that the loader itself reads.
_OWN_ARGUMENTS = frozenset(
    {"application", "block_factory", "engine", "input_type", "model_name", "output_type", "translator_factory"}
)
_EXAMPLES = {"device": "gpu:0", "dtype": "float16"}
#: DJL's classes that one of our translators replaces.
_DJL_TRANSLATORS = {"ai.djl.modality.cv.translator.ImageClassificationTranslatorFactory": "image_classification"}
#: Names that only programs have; the others show what they are by their bytes.
PROGRAM_SUFFIXES = ("-symbol.json", ".pt2")
#: A safetensors file without tensors.
_NO_PARAMETERS = (2).to_bytes(8, "little") + b"{}"
_PARAMETER_SUFFIXES = (".safetensors", ".pth", ".pt", ".params", ".pt2")


@dataclass(frozen=True, kw_only=True)
class How:
    """How to load: the keywords of `load_model` that do not say what."""

    block: Any = None
    block_factory: BlockFactory | str | None = None
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)
    options: Mapping[str, str] = field(default_factory=FrozenDict)
    translator: Translator | str | None = None
    device: str | None = None
    dtype: str | None = None
    strict: bool = True
    trust_programs: bool = False
    trust_code: str | Sequence[str] = ()
    progress: Progress | bool | None = None

    def __post_init__(self) -> None:
        # A lone text would be taken apart into letters, each of them a trust.
        trusted = (self.trust_code,) if isinstance(self.trust_code, str) else tuple(self.trust_code)
        object.__setattr__(self, "trust_code", trusted)
        for name in ("arguments", "options"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"{name}: expected a mapping, not {getattr(self, name)!r}")
        for name in ("device", "dtype"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name}: expected text such as {_EXAMPLES[name]!r}, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a load starts from, with its files already on this machine.

    Attributes:
        parameters: The parameter file, open, after its bytes have shown that it is data; None where the artifact has none.
        folder: What `BlockFactory.new_block` gets as ``model_path``.
        carrier: The distribution that carries the artifact; it wins where a name is claimed twice.
    """

    name: str
    record: ModelRecord | None = None
    parameters: ParameterFile | None = None
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=FrozenDict)
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)
    options: Mapping[str, str] = field(default_factory=FrozenDict)
    carrier: str | None = None

    @property
    def header(self) -> Mapping[str, str]:
        """What the parameter file says of itself."""
        return self.parameters.header if self.parameters is not None else {}


def refuse_programs(record: ModelRecord) -> None:
    """Refuse, before anything is downloaded, what shows by its name that it could not be loaded.

    Raises:
        UntrustedCodeError: The artifact is a program, or only the Python code that it carries could build its block.
    """
    for file in record.files:
        if file.name.lower().endswith(PROGRAM_SUFFIXES):
            raise UntrustedCodeError(
                f"{printable(record.reference)} is a program ({printable(file.name)}), and this version of Zoo loads data only"
            )


def material_of(record: ModelRecord, files: Mapping[str, Path]) -> Material:
    """What a load of an artifact starts from.

    Raises:
        UntrustedCodeError: The parameter file holds a program.
        ParameterError: It is malformed.
    """
    path = _parameter_file(record, files)
    # Where there is no parameter file, any file tells where the artifact lies.
    place = path or next(iter(files.values()), None)
    return Material(
        name=record.name or record.artifact_id,
        record=record,
        parameters=_data(path, printable(record.reference)) if path else None,
        folder=place.parent if place else None,
        files=FrozenDict(files),
        arguments={"application": record.application, **record.arguments},
        options=record.artifact.options,
        carrier=record.source.distribution or None,
    )


def material_of_path(source: Path | bytes) -> Material:
    """What a load of a parameter file, or of a folder with one, starts from.

    Raises:
        InputError: There is no such file, or the folder has none or several.
        UntrustedCodeError: It holds a program.
        ParameterError: It is malformed.
    """
    if isinstance(source, bytes):
        return Material(name="model", parameters=_data(source, "the bytes given"))
    path = _only_parameter_file(source) if source.is_dir() else source
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return Material(name=path.stem, parameters=_data(path, str(path)), folder=path.parent)


def load(material: Material, engine: Engine, how: How, installed: InstalledEntryPoints, hooks: Hooks) -> Model:
    """Build a block, fill it and make a model of it.

    Raises:
        ParameterError: The parameters do not fit the block.
        PluginError: The factory or the translator cannot be had.
        InputError: An argument, an option, the device or the dtype cannot be used.
    """
    arguments = FrozenDict({**material.arguments, **how.arguments})
    factory = None if how.block is not None else _factory(material, engine, how, arguments, installed)
    translator = _translator(material, how, arguments, installed, factory)
    _check_arguments(material, how, factory, translator)
    options = _options(material, how, engine)
    hooks.observe("zoo_loading", record=material.record, engine=engine.name)
    model = _empty_model(material, engine, how, factory, translator, arguments)
    model.block = how.block if how.block is not None else _built(engine, factory, model, material, arguments)
    _fill(model.block, engine, material, how)
    engine.prepare(model.block, options)
    hooks.observe("zoo_loaded", model=model)
    return model


def _empty_model(
    material: Material,
    engine: Engine,
    how: How,
    factory: BlockFactory | None,
    translator: Translator | None,
    arguments: Mapping[str, Any],
) -> Model:
    model = Model(None, factory=factory, engine=engine, name=material.name, translator=translator, arguments=arguments)
    model.record = material.record
    model.device = str(Device.parse(how.device or "cpu"))
    model.dtype = how.dtype
    model.files = material.files
    model.inputs, model.outputs = signature_of(material.header.get("zoo.signature"))
    return model


def _built(engine: Engine, factory: BlockFactory | None, model: Model, material: Material, arguments: Mapping[str, Any]) -> Any:
    if factory is None:
        raise PluginError(
            f"{printable(material.name)} names no block factory, and its parameters alone cannot say what they belong to: "
            "give one with block_factory= (--factory), or a block with block="
        )
    # A factory is foreign code: whatever it raises names it.
    kind = type(factory)
    with guarded(f"{kind.__module__}.{kind.__qualname__}.new_block raised", ZooError):
        block = engine.build(factory, model, material.folder, arguments)
    if not engine.owns(block):
        raise PluginError(f"{type(factory).__name__}.new_block gave {type(block).__name__}, which is no block of {engine.name}")
    return block


def _fill(block: Any, engine: Engine, material: Material, how: How) -> None:
    device = Device.parse(how.device or "cpu")
    # An artifact without a parameter file is whole if its block has no parameters; the engine tells by the empty one.
    parameters = material.parameters if material.parameters is not None else read_parameters(_NO_PARAMETERS)
    report = engine.load_parameters(block, parameters, strict=how.strict, dtype=how.dtype, device=device)
    if report:
        warn(f"{material.name}: {_left_out(report)}", ZooWarning, stacklevel=2)


def _left_out(report: LoadReport) -> str:
    parts = [
        f"{what} {listing(names, limit=5)}"
        for what, names in (("missing", report.missing), ("unexpected", report.unexpected), ("other shapes", report.mismatched))
        if names
    ]
    return "loaded what fits; " + "; ".join(parts)


def _factory(
    material: Material, engine: Engine, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> BlockFactory | None:
    """Where the factory comes from; the first match wins."""
    if isinstance(how.block_factory, BlockFactory):
        return how.block_factory
    name = how.block_factory or arguments.get("blockFactory") or arguments.get("block_factory")
    if name is not None:
        found = factory_class(str(name), installed, engine=engine.name, carrier=material.carrier)
        beside = _translator_class(material, how, arguments, installed)
        return build_from_arguments(found, arguments, what=f"factory {str(name)!r}", beside=beside)
    if "zoo.factory" in material.header:
        document = _header_value(material, "zoo.factory", dict)
        # Arguments of the call change fields of the factory that the file names.
        named = factory_from_dict(document, installed, engine=engine.name)
        return _with_arguments(named, how.arguments, what=f"factory {type(named).__name__}")
    if CODE_KEY in material.files:
        raise UntrustedCodeError(
            f"{printable(material.name)} carries Python code ({material.files[CODE_KEY]}), "
            "and this version of Zoo never runs carried code"
        )
    return None


def _with_arguments(thing: Thing, arguments: Mapping[str, Any], *, what: str) -> Thing:
    fields = {name: getattr(thing, name) for name in field_names(type(thing))}
    changed = {snake_case(name): value for name, value in arguments.items() if snake_case(name) in fields}
    return build_from_arguments(type(thing), {**fields, **changed}, what=what) if changed else thing


def _translator(
    material: Material,
    how: How,
    arguments: Mapping[str, Any],
    installed: InstalledEntryPoints,
    factory: BlockFactory | None,
) -> Translator | None:
    """Where the translator comes from; the first match wins. Without one, predictions take and give arrays."""
    if isinstance(how.translator, Translator):
        return how.translator
    found = _translator_class(material, how, arguments, installed)
    if found is not None:
        beside = type(factory) if factory is not None else None
        translator = build_from_arguments(found, arguments, what=f"translator {found.__name__}", beside=beside)
    elif "zoo.translator" in material.header:
        # Arguments of the call change fields of the translator that the file names.
        named = translator_from_dict(_header_value(material, "zoo.translator", dict), installed)
        translator = _with_arguments(named, how.arguments, what=f"translator {type(named).__name__}")
    else:
        return None
    return translator.with_files(material.files)


def _translator_class(
    material: Material, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> type[Translator] | None:
    """The class of the translator that the call or the arguments name."""
    if isinstance(how.translator, Translator):
        return type(how.translator)
    name = how.translator or arguments.get("translatorFactory") or arguments.get("translator_factory")
    if name is None:
        return None
    return translator_class(_DJL_TRANSLATORS.get(str(name), str(name)), installed, carrier=material.carrier)


def _check_arguments(material: Material, how: How, factory: BlockFactory | None, translator: Translator | None) -> None:
    """An argument that nobody takes is the user's error, or a warning where a document gives it."""
    taken = set(_OWN_ARGUMENTS)
    for thing in (factory, translator):
        if thing is not None:
            taken |= {*field_names(type(thing)), *(snake_case(name) for name in thing.extra_arguments)}
    for name in how.arguments:
        if snake_case(name) not in taken:
            known = taken - _OWN_ARGUMENTS
            raise InputError(
                f"nobody takes the argument {name!r}{did_you_mean(name, known)}. Taken: {listing(known, limit=20) or 'none'}"
            )
    # With a block of the caller's own, what the document says for a factory is for nobody.
    for name in material.arguments if how.block is None else ():
        if snake_case(name) not in taken:
            warn(
                f"{material.name}: nobody takes the argument {name!r} of its document{did_you_mean(name, taken)}",
                ZooWarning,
                stacklevel=2,
            )


def _options(material: Material, how: How, engine: Engine) -> dict[str, str]:
    known = engine.options
    for name in how.options:
        if name not in known:
            raise InputError(
                f"engine {engine.name} has no option {name!r}{did_you_mean(name, known)}. Options: {listing(known) or 'none'}"
            )
    for name in material.options:
        if name not in known:
            warn(f"{material.name}: engine {engine.name} has no option {name!r}", ZooWarning, stacklevel=2)
    return {name: value for name, value in {**material.options, **how.options}.items() if name in known}


def _data(source: Path | bytes, what: str) -> ParameterFile:
    """A parameter file whose bytes have shown that it is data; what was inspected is what the engine gets.

    Raises:
        UntrustedCodeError: It is a program, or holds one.
        ParameterError: It is malformed.
    """
    try:
        file = read_parameters(source)
    except ParameterError:
        _refuse_program(source, what)
        raise
    _refuse_program(file, what)
    return file


def _refuse_program(source: Path | bytes | ParameterFile, what: str) -> None:
    kind = kind_of(source)
    if kind.trust == "program":
        raise UntrustedCodeError(f"{what}: the file holds a program ({kind.format}), and this version of Zoo loads data only")


def _header_value(material: Material, key: str, type_: type) -> Any:
    try:
        value = json.loads(material.header[key])
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{printable(material.name)}: header entry {key} is no JSON: {error}") from error
    if not isinstance(value, type_):
        raise ParameterError(
            f"{printable(material.name)}: header entry {key} is {type(value).__name__}, expected {type_.__name__}"
        )
    return value


def _parameter_file(record: ModelRecord, files: Mapping[str, Path]) -> Path | None:
    file = record.artifact.file(*PARAMETER_KEYS)
    if file is not None:
        return files[file.key]
    return next((path for path in files.values() if path.name.endswith(_PARAMETER_SUFFIXES)), None)


def _only_parameter_file(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.name.endswith(_PARAMETER_SUFFIXES) and path.is_file())
    if len(found) != 1:
        names = listing(path.name for path in found)
        raise InputError(f"{folder} holds {names or 'no parameter file'}; name one file")
    return found[0]


def engines_of_file(material: Material, asked: str | None, engines: Engines) -> Iterable[str]:
    """The engines to try for a file: the one asked for, else those that its header names, else all that are installed."""
    if asked is not None:
        return [asked]
    if "zoo.engines" not in material.header:
        return engines.names
    named: list[str] = _header_value(material, "zoo.engines", list)
    if not all(isinstance(name, str) for name in named):
        raise ParameterError(f"{printable(material.name)}: header entry zoo.engines: expected names, found {named!r}")
    return named or engines.names


def implied_engine(how: How, engines: Engines, installed: InstalledEntryPoints) -> str | None:
    """The engine that a block or a factory given to the load is for; None where it leaves the choice."""
    if how.block is not None:
        owner = engines.owner_of(how.block)
        if owner is None:
            raise InputError(f"block: no installed engine knows a {type(how.block).__name__}")
        return owner.name
    if how.block_factory is None:
        return None
    if isinstance(how.block_factory, str):
        name = how.block_factory.rpartition(":")[2]
    else:
        try:
            name = entry_point_of(type(how.block_factory), BLOCK_FACTORIES, installed).name
        except PluginError:
            # A class that is registered nowhere can still build; it only cannot be found again.
            return None
    prefix = name.partition(".")[0]
    return next((engine for engine in engines.names if engine.lower() == prefix), None)


@dataclass(frozen=True)
class ModelLoader:
    """Loads the artifacts of one MRL."""

    mrl: MRL
    zoo: ModelZoo = field(repr=False)

    def records(self) -> list[ModelRecord]:
        """Its artifacts in order, all versions."""
        return self._found(Criteria())

    def match(self, criteria: Criteria) -> ModelRecord | None:
        """The artifact that a load with these criteria would take, or None."""
        accepted = self._found(criteria)
        return choose(accepted) if accepted else None

    def load(self, criteria: Criteria, **how: Any) -> Model:
        """Load the artifact that matches.

        Raises:
            ModelNotFoundError: None does.
        """
        return self.zoo.load_model(self._criteria(criteria), **how)

    def _found(self, criteria: Criteria) -> list[ModelRecord]:
        return [record for record in self.zoo.search(self._criteria(criteria)) if record.mrl == self.mrl]

    def _criteria(self, criteria: Criteria) -> Criteria:
        mine = criteria.replace(type=self.mrl.type, group_id=self.mrl.group_id, artifact_id=self.mrl.artifact_id)
        known = applications.canonical(self.mrl.application)
        # One group may have one id in two applications; a document's own may be unknown to us.
        return mine.replace(application=known) if known and mine.application is None else mine
