"""From an artifact's files to a model, one line a step; ModelLoader does it for the artifacts of one MRL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from warnings import warn

from zoo_core import application as applications
from zoo_core.artifact import MRL
from zoo_core.block import BlockFactory
from zoo_core.criteria import Criteria
from zoo_core.device import Device
from zoo_core.engine import Engine, LoadReport
from zoo_core.entry_points import InstalledEntryPoints, guarded
from zoo_core.errors import PluginError, UntrustedCodeError, ZooError, ZooWarning
from zoo_core.frozen import FrozenDict
from zoo_core.how import How
from zoo_core.material import Material, engines_of_header, golden_file, model_files
from zoo_core.model import Model, signature_of
from zoo_core.parameters import read_parameters
from zoo_core.parameters.header import SIGNATURE_ENTRY
from zoo_core.plugin import Hooks
from zoo_core.record import ModelRecord
from zoo_core.resolution import check_arguments, check_format, check_requires, engine_options, factory_for, translator_for
from zoo_core.selection import choose
from zoo_core.translator import Translator
from zoo_core.trust import may_run_programs, refuse_untrusted_program, untrusted_program
from zoo_core.wording import listing, printable

if TYPE_CHECKING:
    from zoo_core.zoo import ModelZoo

#: Names that only programs have; the others show what they are by their bytes.
PROGRAM_SUFFIXES = ("-symbol.json", ".pt2")
#: A safetensors file without tensors.
_NO_PARAMETERS = (2).to_bytes(8, "little") + b"{}"


def refuse_named_program(record: ModelRecord, how: How) -> None:
    """Refuse, before anything is downloaded, what shows by its name that it could not be loaded.

    Raises:
        UntrustedCodeError: The artifact is a program from an address that nothing configured.
    """
    if may_run_programs(record.source, trusted=how.trust_programs):
        return
    for file in model_files(record, how):
        if file.name.endswith(PROGRAM_SUFFIXES):
            raise untrusted_program(printable(record.reference), [printable(file.name)], record.source)


def refuse_unsafe_program(material: Material, how: How) -> None:
    """Refuse a program, told by its bytes, that comes from where none are trusted, or whose bytes nobody promised.

    Raises:
        UntrustedCodeError: It is one.
    """
    file, record = material.parameters, material.record
    if file is None or file.is_data:
        return
    what = printable(record.reference if record is not None else file.name)
    refuse_untrusted_program(file, what, material.source, trusted=how.trust_programs)
    for item in model_files(record, how) if record is not None else ():
        if not item.has_full_digest:
            raise UntrustedCodeError(
                f"{what}: {printable(item.title)} belongs to a program, and its document promises no full digest of it. "
                "Programs run only where the whole sha256 is given; an address gives it at its end, as #sha256=<hex>"
            )


def load(material: Material, engine: Engine, how: How, installed: InstalledEntryPoints, hooks: Hooks) -> Model:
    """Build a block, fill it and make a model of it.

    Raises:
        UntrustedCodeError: That would run a program or code which nobody trusted.
        ParameterError: The parameters do not fit the block.
        PluginError: The factory or the translator cannot be had.
        InputError: An argument, an option, the device or the dtype cannot be used.
    """
    check_format(material)
    refuse_unsafe_program(material, how)
    check_requires(material)
    arguments = FrozenDict(how.merged(material.arguments))
    factory = None if how.block is not None else factory_for(material, engine, how, arguments, installed)
    translator = translator_for(material, how, arguments, installed, factory)
    check_arguments(material, how, factory, translator)
    options = engine_options(material, how, engine)
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
    model.inputs, model.outputs = signature_of(material.header.get(SIGNATURE_ENTRY))
    model.golden_file = golden_file(material)
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
        own = " and ".join(engines_of_header(material)) or "the one that it is for"
        raise PluginError(
            f"{type(factory).__name__}.new_block gave {type(block).__name__}, which is no block of {engine.name}; "
            f"load it with the engine {own}: engine= (--engine)"
        )
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
