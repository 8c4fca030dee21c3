"""Model: a loaded block with its properties; Predictor: runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from warnings import warn

from zoo_core.__about__ import __version__
from zoo_core.atomic import atomic_path
from zoo_core.block import BlockFactory, requirement_of
from zoo_core.device import Device
from zoo_core.engines import Engines
from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, TRANSLATORS, EntryPoint, InstalledEntryPoints, guarded, normalised
from zoo_core.errors import InputError, ParameterError, PluginError, ZooError, ZooWarning
from zoo_core.frozen import FrozenDict
from zoo_core.golden import Check, Golden, are_tolerances, compare, golden_tensors
from zoo_core.parameters.header import (
    ENGINES_ENTRY,
    FACTORY_ENTRY,
    FORMAT_ENTRY,
    GOLDEN_ENTRY,
    REQUIRES_ENTRY,
    SIGNATURE_ENTRY,
    TRANSLATOR_ENTRY,
    WRITTEN_WITH_ENTRY,
)
from zoo_core.registered import build_from_arguments, entry_point_of
from zoo_core.translator import Translator, TranslatorContext, translator_class
from zoo_core.wording import did_you_mean, listing

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from zoo_core.engine import Engine
    from zoo_core.parameters import ParameterFile
    from zoo_core.record import ModelRecord

    Array = npt.NDArray[np.generic]

FORMAT = "1"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a block.

    Attributes:
        name: What `Predictor.run` calls it.
        dtype: ``float32``, ``int64``, ...
        shape: Batch axis included; None where a dimension is free.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @classmethod
    def from_dict(cls, item: Mapping[str, Any]) -> TensorSpec:
        """Read one entry of a signature.

        Raises:
            ValueError, KeyError, TypeError: It is none.
        """
        name, dtype, shape = item["name"], item["dtype"], item["shape"]
        # bool is a subclass of int, and no size.
        is_shape = isinstance(shape, list) and all(size is None or (type(size) is int and size >= 0) for size in shape)
        if not (isinstance(name, str) and isinstance(dtype, str) and is_shape):
            raise ValueError('expected {"name": TEXT, "dtype": TEXT, "shape": [SIZE or null, ...]}')
        return cls(name=name, dtype=dtype, shape=tuple(shape))

    def to_dict(self) -> dict[str, Any]:
        """One entry of a signature."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


class Model:
    """A block with what is needed to use it; a context manager, safe to use from several threads.

    Args:
        block: The engine's own network object. A model that the zoo loads has it in evaluation mode, with parameters that
            require gradients; one that is given is not changed.
        factory: What recovers the block's structure; None: the one that the block itself knows.
        engine: None: found from the block's type.
        name: What to call it.
        translator: A translator or the registered name of one, which is built from ``arguments``.
        arguments: For the translator and the factory.

    Attributes:
        block: The block; None after `close` and while a factory builds it.
        factory: What recovers it, or None.
        translator: Turns user input to arrays and back, or None.
        record: The artifact it was loaded from, or None.
        device: Where its parameters are: ``cpu`` or ``gpu:0``.
        dtype: What its parameters were converted to, or None.
        arguments: All arguments of the artifact and of the call.
        inputs: What the block takes, if a signature says so.
        outputs: What it gives.
        golden_file: The file that may hold golden inputs and outputs, or None.
    """

    def __init__(
        self,
        block: Any,
        *,
        factory: BlockFactory | None = None,
        engine: Engine | str | None = None,
        name: str = "",
        translator: Translator | str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.block = block
        self.name = name
        self.arguments: Mapping[str, Any] = FrozenDict(arguments or {})
        self.factory = factory if factory is not None else _known_factory(block)
        self.record: ModelRecord | None = None
        self.device = str(Device())
        self.dtype: str | None = None
        self.files: Mapping[str, Path] = FrozenDict()
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.golden_file: ParameterFile | None = None
        self._engine = _engine(block, engine)
        self.translator = _translator(translator, self.arguments, self.factory)

    @property
    def engine(self) -> str:
        """The name of its engine."""
        return self._engine.name

    def new_predictor(self, translator: Translator | None = None) -> Predictor:
        """A predictor, for one thread.

        Args:
            translator: Used instead of the model's own.
        """
        return Predictor(self, translator or self.translator)

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self.block is None:
            raise InputError(f"model {self.name or self.engine} is closed")
        found = self._engine.forward(self.block, self._ordered(arrays))
        if len(self.outputs) == len(found):
            return dict(zip((spec.name for spec in self.outputs), found.values(), strict=True))
        return found

    def save(
        self, target: str | os.PathLike[str] | BinaryIO, *, golden: Any = None, rtol: float = 1e-5, atol: float = 1e-6
    ) -> None:
        """Write one safetensors file from which a factory recovers the model.

        Args:
            target: A path, where the file appears whole or not at all, or a binary stream.
            golden: An input (an array, a tuple or a dict of arrays, batch axis included) to run now; it is stored with the
                outputs as the proof that another machine computes the same.
            rtol: The relative tolerance that the proof allows. Sums in another order, as another engine or a GPU makes them,
                differ more than the default: for these take 1e-4.
            atol: The absolute tolerance; likewise, 1e-4 for outputs of a few units.

        Raises:
            InputError: The model cannot run on ``golden``, or a tolerance is none.
            PluginError: The factory or the translator is registered by no installed package.
            ParameterError: A parameter's name begins with ``zoo.golden.``, or a tensor cannot be written.
        """
        if self.block is None:
            raise InputError(f"model {self.name or self.engine} is closed")
        if self.factory is None:
            warn("the model has no factory, so its file can be loaded into a given block only", ZooWarning, stacklevel=2)
        if not are_tolerances(rtol, atol):
            raise InputError(f"rtol={rtol}, atol={atol}: expected 0 <= rtol < 1 and a finite atol that is not negative")
        header, extra = self._header(), {}
        if golden is not None:
            inputs = _named(golden, self.inputs)
            outputs = self._run(inputs)
            extra = golden_tensors(inputs, outputs)
            header[GOLDEN_ENTRY] = json.dumps({"rtol": rtol, "atol": atol})
            # A signature that is known may leave dimensions free that one input cannot tell of.
            header.setdefault(SIGNATURE_ENTRY, json.dumps(_signature(inputs, outputs)))
        if not isinstance(target, str | os.PathLike):
            self._engine.save_parameters(self.block, target, header, extra)
            return
        path = Path(target)
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path.absolute().parent}: there is no such folder")
        try:
            with atomic_path(path) as partial:
                self._engine.save_parameters(self.block, partial, header, extra)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error

    def check(self) -> Check:
        """Run the model on its golden inputs and compare with the outputs that its author saw.

        Returns:
            How far each output is off; no outputs where the model carries none.

        Raises:
            InputError: The model cannot run on its golden inputs.
            ParameterError: The golden tensors are malformed.
        """
        golden = Golden.of(self.golden_file) if self.golden_file is not None else None
        if golden is None:
            return Check(engine=self.engine, device=self.device)
        outputs = compare(golden, self._run(golden.input_arrays()))
        return Check(engine=self.engine, device=self.device, outputs=outputs, rtol=golden.rtol, atol=golden.atol)

    def close(self) -> None:
        """Drop the references to the block and to the parameter file, and free their memory.

        A block that was taken out stays usable, and keeps its memory.
        """
        was_open = self.block is not None
        self.block = self.golden_file = None
        if was_open:
            self._engine.collect()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Model({self.name or type(self.block).__name__!r}, engine={self.engine!r}, device={self.device!r})"

    def _ordered(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if not self.inputs:
            return dict(arrays)
        known = [spec.name for spec in self.inputs]
        for name in arrays:
            if name not in known:
                raise InputError(
                    f"model {self.name} has no input {name!r}{did_you_mean(name, known)}. Inputs: {listing(known)}"
                )
        missing = [name for name in known if name not in arrays]
        if missing:
            raise InputError(f"model {self.name} needs the input {listing(missing)}; given: {listing(arrays) or 'nothing'}")
        return {name: arrays[name] for name in known}

    def _header(self) -> dict[str, str]:
        installed = InstalledEntryPoints.scan()
        header: dict[str, Any] = {ENGINES_ENTRY: [self.engine]}
        writers = [installed.provider(self.engine)]
        if self.factory is not None:
            entry = entry_point_of(type(self.factory), BLOCK_FACTORIES, installed)
            writers.append(entry)
            header[FACTORY_ENTRY] = self.factory.to_dict(installed)
            # A program runs in one engine; without one, a neutral model is built by whichever engine loads it.
            if self.factory.engines and not self._engine.programs(self.block):
                header[ENGINES_ENTRY] = list(self.factory.engines)
                header[FACTORY_ENTRY] = _neutral(header[FACTORY_ENTRY], entry, installed)
        if self.translator is not None:
            entry = entry_point_of(type(self.translator), TRANSLATORS, installed)
            writers.append(entry)
            header[TRANSLATOR_ENTRY] = self.translator.to_dict(installed)
            header[REQUIRES_ENTRY] = [requirement_of(entry)]
        if self.inputs:
            header[SIGNATURE_ENTRY] = {
                "inputs": [spec.to_dict() for spec in self.inputs], "outputs": [spec.to_dict() for spec in self.outputs]
            }  # fmt: skip
        header[WRITTEN_WITH_ENTRY] = {
            "zoo-core": __version__,
            **{writer.distribution: writer.version for writer in writers if writer is not None},
        }
        return {FORMAT_ENTRY: FORMAT, **{key: json.dumps(value) for key, value in header.items()}}


def _neutral(document: dict[str, Any], entry: EntryPoint, installed: InstalledEntryPoints) -> dict[str, Any]:
    """A factory's serialized form without what only the engine that wrote it needs."""
    own = {normalised(engine.distribution) for engine in installed.group(ENGINES)}
    # The plugin of an engine is asked for by the engine's name; any other distribution brings the factory for all engines.
    left_out = ("engine", "requires") if normalised(entry.distribution) in own else ("engine",)
    return {key: value for key, value in document.items() if key not in left_out}


class Predictor:
    """Runs a model; belongs to one thread; a context manager.

    Args:
        model: The model, which stays open when the predictor is closed.
        translator: None: `predict` takes and gives arrays as the block does, batch axis included.
    """

    def __init__(self, model: Model, translator: Translator | None = None) -> None:
        self.model = model
        self.translator = translator
        self._context = TranslatorContext(model=model, arguments=model.arguments, files=model.files)

    def predict(self, x: Any) -> Any:
        """The prediction for one input.

        Raises:
            InputError: The input cannot be used.
        """
        if self.translator is None:
            return _single(self.model._run(_named(x, self.model.inputs)))
        return self.predict_batch([x])[0]

    def predict_batch(self, xs: Sequence[Any]) -> list[Any]:
        """The predictions for several inputs, from one run of the block.

        Raises:
            InputError: An input cannot be used, or they have different shapes.
        """
        import numpy as np

        if not xs:
            return []
        if self.translator is None:
            return [self.predict(x) for x in xs]
        if isinstance(xs, str | bytes):
            raise InputError(f"expected several inputs, not one {type(xs).__name__}; predict() takes one")
        contexts = [replace(self._context, attachments={}) for _ in xs]
        items = [self._named_item(self._translated("process_input", c, x)) for c, x in zip(contexts, xs, strict=True)]
        try:
            inputs = {name: np.stack([item[name] for item in items]) for name in items[0]}
        except (ValueError, KeyError) as error:
            raise InputError(f"the inputs of a batch do not go together: {error}") from error
        outputs = self.model._run(inputs)
        for name, array in outputs.items():
            if array.ndim == 0 or len(array) != len(xs):
                raise InputError(f"output {name} has shape {array.shape}: no batch of {len(xs)}, so it cannot be translated")
        return [
            self._translated("process_output", context, tuple(array[number] for array in outputs.values()))
            for number, context in enumerate(contexts)
        ]

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run the block on arrays by name, batch axis included, any batch size; the inputs are never written to.

        Raises:
            InputError: The names are not those of the model's signature.
        """
        return self.model._run(arrays)

    def _translated(self, step: str, context: TranslatorContext, value: Any) -> Any:
        """One step of the translator, which is foreign code: what it raises names it."""
        kind = type(self.translator)
        with guarded(f"{kind.__module__}.{kind.__qualname__}.{step} raised", ZooError):
            return getattr(self.translator, step)(context, value)

    def _named_item(self, arrays: Any) -> dict[str, Array]:
        return _named(arrays if isinstance(arrays, Mapping | tuple) else (arrays,), self.model.inputs)

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        return None


def _known_factory(block: Any) -> BlockFactory | None:
    found = getattr(block, "zoo_factory", None)
    return found if isinstance(found, BlockFactory) else None


def _engine(block: Any, engine: Engine | str | None) -> Engine:
    if engine is not None and not isinstance(engine, str):
        return engine
    engines = Engines(InstalledEntryPoints.scan())
    found = engines.get(engine) if engine else engines.owner_of(block)
    if found is None:
        raise PluginError(
            f"no installed engine knows a block of type {type(block).__module__}.{type(block).__qualname__}. "
            f"Engines: {listing(engines.names) or 'none'}"
        )
    return found


def _translator(
    translator: Translator | str | None, arguments: Mapping[str, Any], factory: BlockFactory | None
) -> Translator | None:
    if not isinstance(translator, str):
        return translator
    found = translator_class(translator, InstalledEntryPoints.scan())
    return build_from_arguments(found, arguments, what=f"translator {translator!r}", beside=type(factory) if factory else None)


def _named(x: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Arrays by the names of a signature; a single array or a tuple goes by position."""
    if isinstance(x, Mapping):
        return {str(name): _array(item) for name, item in x.items()}
    arrays = [_array(item) for item in (x if isinstance(x, tuple) else (x,))]
    if specs and len(specs) != len(arrays):
        raise InputError(
            f"the model has {len(specs)} inputs ({listing(spec.name for spec in specs)}), and {len(arrays)} were given"
        )
    names = [spec.name for spec in specs] or (["input"] if len(arrays) == 1 else [f"input_{n}" for n in range(len(arrays))])
    return dict(zip(names, arrays, strict=True))


def _array(x: Any) -> Array:
    """What a user gave, as an array of numbers."""
    import numpy as np

    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"expected an array, a tuple or a dict of arrays, not a ragged {type(x).__name__}") from error
    # Texts, dates and objects are arrays to NumPy and inputs to nobody.
    if array.dtype.kind in "OSUMm":
        raise InputError(f"expected an array, a tuple or a dict of arrays, not {type(x).__name__}")
    return array


def _single(outputs: dict[str, Array]) -> Any:
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs


def _signature(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Any]:
    def specs(arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
        return [
            TensorSpec(name=name, dtype=str(array.dtype), shape=(None, *array.shape[1:]) if array.ndim else ()).to_dict()
            for name, array in arrays.items()
        ]

    return {"inputs": specs(inputs), "outputs": specs(outputs)}


def signature_of(text: str | None) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The inputs and outputs that a header's ``zoo.signature`` says.

    Raises:
        ParameterError: It is malformed.
    """
    if text is None:
        return (), ()
    try:
        document = json.loads(text)
        inputs, outputs = (tuple(map(TensorSpec.from_dict, document[side])) for side in ("inputs", "outputs"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ParameterError(f"header entry zoo.signature is malformed: {error}") from error
    if any(len({spec.name for spec in specs}) != len(specs) for specs in (inputs, outputs)):
        raise ParameterError("header entry zoo.signature is malformed: a name stands twice")
    return inputs, outputs
