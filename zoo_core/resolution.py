"""Where a model's factory, translator and options come from: the first match wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from warnings import warn

from zoo_core.artifact import CODE_KEY
from zoo_core.block import BlockFactory, factory_class, factory_from_dict
from zoo_core.carried import CarriedCode
from zoo_core.engine import Engine
from zoo_core.engines import Engines
from zoo_core.entry_points import BLOCK_FACTORIES, InstalledEntryPoints, normalised
from zoo_core.errors import InputError, IntegrityError, PackageNotInstalledError, ParameterError, PluginError, ZooWarning
from zoo_core.how import How, named_factory, named_translator
from zoo_core.material import MODEL_NAME, Material
from zoo_core.model import FORMAT
from zoo_core.parameters.header import FACTORY_ENTRY, FORMAT_ENTRY, REQUIRES_ENTRY, TRANSLATOR_ENTRY, WRITTEN_WITH_ENTRY
from zoo_core.parameters.program import PROGRAM_TENSOR
from zoo_core.registered import build, build_from_arguments, entry_point_of, field_names, fields_of, own_arguments, snake_case
from zoo_core.requirements import check_requirement, distribution_of, install_line, missing_requirements
from zoo_core.translator import Translator, translator_class, translator_from_dict
from zoo_core.trust import is_code_trusted, untrusted_code
from zoo_core.wording import did_you_mean, listing, printable

Thing = TypeVar("Thing")

#: Arguments that the loader itself reads.
_OWN_ARGUMENTS = frozenset(
    {"application", "block_factory", "engine", "input_type", "model_name", "output_type", "translator_factory"}
)
#: DJL's classes that one of our translators replaces.
_DJL_TRANSLATORS = {"ai.djl.modality.cv.translator.ImageClassificationTranslatorFactory": "image_classification"}
#: What ``"normalize": true`` means to DJL: the mean and the deviation of ImageNet's pictures.
_NORMALIZE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
#: How the names of DJL's own classes begin; those that a document may name and that have no counterpart here.
_DJL = "ai.djl."
#: What every engine with a SymbolBlock registers: the factory of a network that is one program.
SYMBOL_FACTORY = "symbol"


def check_format(material: Material) -> None:
    """Refuse a file whose header a later version wrote: what it says may mean something else.

    Raises:
        ParameterError: It is of another format.
    """
    found = material.header.get(FORMAT_ENTRY, FORMAT)
    if found != FORMAT:
        raise ParameterError(
            f"{printable(material.name)} is of the format {printable(found)!r}, and this version reads {FORMAT!r}: "
            f"{install_line(['zoo-core'])} --upgrade"
        )


def check_requires(material: Material) -> None:
    """Look for what the file says a load needs beside its factory, before anything of it is imported.

    Raises:
        PackageNotInstalledError: Something is not installed; the message ends in the ``pip install`` line.
        ParameterError: The header's entry is malformed.
    """
    if REQUIRES_ENTRY not in material.header:
        return
    requires = material.header_value(REQUIRES_ENTRY, list)
    try:
        missing = missing_requirements(check_requirement(item) for item in requires)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{printable(material.name)}: header entry zoo.requires: {error}") from error
    if missing:
        raise PackageNotInstalledError(
            f"{printable(material.name)} needs packages that are not installed: {install_line(missing)}", missing
        )


def factory_for(
    material: Material, engine: Engine, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> BlockFactory | None:
    """What builds the block, where the caller gave none; None where nothing says.

    In this order: a factory object given; a factory named in arguments; the one in the parameter file's header; Python code
    that the artifact carries; for a file that is one program, the engine's factory of an empty SymbolBlock.

    Raises:
        PluginError: It cannot be had.
        InputError: A field has a wrong type, or a value out of range.
        UntrustedCodeError: Only carried code could build the block, and the user does not trust it.
    """
    if isinstance(how.block_factory, BlockFactory):
        return how.block_factory
    name = how.block_factory or named_factory(arguments)
    if name is not None:
        found = factory_class(name, installed, engine=engine.name, carrier=material.carrier)
        beside = _translator_beside(material, how, arguments, installed)
        return build_from_arguments(found, arguments, what=f"factory {name!r}", beside=beside)
    if FACTORY_ENTRY in material.header:
        named = _factory_of_header(material, engine, installed)
        # Arguments of the call and of the address change fields of the factory that the file names.
        beside = _translator_beside(material, how, arguments, installed)
        return _with_arguments(named, _users(material, how), what=f"factory {type(named).__name__}", beside=beside)
    if material.code is not None:
        return _carried_factory(material, material.code, how, arguments, installed)
    if material.parameters is not None and PROGRAM_TENSOR in material.parameters.programs:
        found = factory_class(SYMBOL_FACTORY, installed, engine=engine.name, carrier=material.carrier)
        return build(found, {}, what=f"factory {SYMBOL_FACTORY!r}")
    return None


def _factory_of_header(material: Material, engine: Engine, installed: InstalledEntryPoints) -> BlockFactory:
    document = material.header_value(FACTORY_ENTRY, dict)
    try:
        return factory_from_dict(document, installed, engine=engine.name, carrier=material.carrier)
    except PackageNotInstalledError as error:
        raise PackageNotInstalledError(f"{_authorship(material, error.missing)}{error}", error.missing) from error


def _authorship(material: Material, missing: Iterable[str]) -> str:
    """Who wrote a file whose factory is not here, as the beginning of a message."""
    if WRITTEN_WITH_ENTRY not in material.header:
        return f"{printable(material.name)}: "
    versions = material.header_value(WRITTEN_WITH_ENTRY, dict)
    names = {normalised(distribution_of(text)) for text in missing}
    writers = [f"{name} {version}" for name, version in versions.items() if normalised(name) in names]
    return f"{printable(material.name)} was written with {listing(map(printable, writers))}: " if writers else ""


def _carried_factory(
    material: Material, code: CarriedCode, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> BlockFactory:
    promised = material.record.artifact.file(CODE_KEY) if material.record is not None else None
    # The bytes that are hashed here are those that run, at every load.
    if promised is not None and promised.sha256 != code.sha256:
        raise IntegrityError(
            f"{printable(code.place)} is not the code that its document promises; it must give its whole sha256",
            expected=f"sha256:{promised.sha256 or ''}",
            found=f"sha256:{code.sha256}",
        )
    if not is_code_trusted(code.sha256, material.source, how.trust_code):
        raise untrusted_code(printable(material.name), code.place, code.sha256)
    found = code.factory_class()
    beside = _translator_beside(material, how, arguments, installed)
    return build_from_arguments(found, arguments, what=f"factory {found.__name__}", beside=beside)


def _users(material: Material, how: How) -> dict[str, Any]:
    """The arguments that the user gives: in the query of the repository's address, and over it in the call."""
    return how.merged(material.source.arguments if material.source is not None else {})


def _with_arguments(thing: Thing, arguments: Mapping[str, Any], *, what: str, beside: type | None) -> Thing:
    changed = own_arguments(type(thing), arguments, beside=beside)
    return build(type(thing), {**fields_of(thing), **changed}, what=what) if changed else thing


def translator_for(
    material: Material,
    how: How,
    arguments: Mapping[str, Any],
    installed: InstalledEntryPoints,
    factory: BlockFactory | None,
) -> Translator | None:
    """Where the translator comes from; the first match wins. Without one, predictions take and give arrays.

    Raises:
        PluginError: It cannot be had.
        InputError: A field has a wrong type, or a value out of range.
    """
    if isinstance(how.translator, Translator):
        return how.translator
    found = _translator_class(material, how, arguments, installed)
    beside = type(factory) if factory is not None else None
    if found is not None:
        translator = build_from_arguments(
            found, _normalizing(found, arguments), what=f"translator {found.__name__}", beside=beside
        )
    elif TRANSLATOR_ENTRY in material.header:
        # Those of the call and of the address change fields of the translator that the file names.
        named = translator_from_dict(material.header_value(TRANSLATOR_ENTRY, dict), installed, carrier=material.carrier)
        translator = _with_arguments(named, _users(material, how), what=f"translator {type(named).__name__}", beside=beside)
    else:
        _tell_of_djls(material, how, arguments)
        return None
    return translator.with_files(material.files)


def _normalizing(found: type[Translator], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments with what DJL's ``normalize`` says of a picture's channels, unless they say it themselves.

    Source: ``BaseImageTranslator`` of DJL: true, or six numbers with commas between, the means first.
    """
    said = str(arguments.get("normalize", "false")).lower()
    if said == "false" or "normalize" not in found.extra_arguments or {"mean", "std"} & set(arguments):
        return arguments
    if said == "true":
        return {**arguments, **_NORMALIZE}
    try:
        numbers = [float(text) for text in said.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InputError(f"normalize={printable(said)!r}: expected true, false, or six numbers with commas between")
    return {**arguments, "mean": numbers[:3], "std": numbers[3:]}


def _tell_of_djls(material: Material, how: How, arguments: Mapping[str, Any]) -> None:
    """Without its translator a model still runs, on arrays."""
    name = named_translator(arguments)
    if name is not None and _is_djls_alone(name, how):
        warn(
            f"{material.name}: there is no translator here for DJL's {name}, so it takes and gives arrays; "
            "to use another: translator= (--translator)",
            ZooWarning,
            stacklevel=3,
        )


def _translator_class(
    material: Material, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> type[Translator] | None:
    """The class of the translator that the call or the arguments name."""
    if isinstance(how.translator, Translator):
        return type(how.translator)
    name = how.translator or named_translator(arguments)
    if name is None or _is_djls_alone(name, how):
        return None
    return translator_class(_DJL_TRANSLATORS.get(name, name), installed, carrier=material.carrier)


def _is_djls_alone(name: str, how: How) -> bool:
    """Whether a document names a class of DJL for which there is nothing here; who names one in a call is told so."""
    is_asked = how.translator is not None or named_translator(how.arguments) is not None
    return name.startswith(_DJL) and name not in _DJL_TRANSLATORS and not is_asked


def _translator_beside(
    material: Material, how: How, arguments: Mapping[str, Any], installed: InstalledEntryPoints
) -> type[Translator] | None:
    """The class of the translator that is built from the same arguments as the factory, wherever it is named."""
    found = _translator_class(material, how, arguments, installed)
    if found is not None or TRANSLATOR_ENTRY not in material.header:
        return found
    name = material.header_value(TRANSLATOR_ENTRY, dict).get("name")
    return translator_class(name, installed, carrier=material.carrier) if isinstance(name, str) else None


def check_arguments(material: Material, how: How, factory: BlockFactory | None, translator: Translator | None) -> None:
    """Tell of an argument that nobody takes: a warning where a document or an address gives it.

    Raises:
        InputError: The user gave it.
    """
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
    given = material.arguments if how.block is None else ()
    left = [name for name in given if snake_case(name) not in taken]
    said = material.source.arguments if material.source is not None else {}
    _tell_of_left([name for name in left if name not in said], "its document", material, taken)
    _tell_of_left([name for name in left if name in said], "the address", material, taken)


def _tell_of_left(left: Sequence[str], whose: str, material: Material, taken: Iterable[str]) -> None:
    if left:
        listed, meant = ", ".join(map(repr, left)), "".join(dict.fromkeys(did_you_mean(name, taken) for name in left))
        several = "s" if len(left) > 1 else ""
        text = f"{material.name}: nobody takes the argument{several} {listed} of {whose}{meant}"
        warn(text, ZooWarning, stacklevel=3)


def engine_options(material: Material, how: How, engine: Engine) -> dict[str, str]:
    """The options that the engine heeds; one that it lacks is a warning where a document gives it.

    Raises:
        InputError: The user gave it.
    """
    known = engine.options
    for name in how.options:
        if name not in known:
            raise InputError(
                f"engine {engine.name} has no option {name!r}{did_you_mean(name, known)}. Options: {listing(known) or 'none'}"
            )
    for name in material.options:
        if name not in known and name != MODEL_NAME:
            warn(f"{material.name}: engine {engine.name} has no option {name!r}", ZooWarning, stacklevel=2)
    return {name: value for name, value in {**material.options, **how.options}.items() if name in known}


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
