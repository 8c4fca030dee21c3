"""Parameter files into Gluon blocks, and Gluon blocks into safetensors."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import safetensors.numpy

from zoo_core import InputError, LoadReport, ParameterError, listing, printable, write_parameters
from zoo_mxnet.arrays import DTYPES, FLOATS, agree, fill, is_initialized, shared
from zoo_mxnet.framework import mx
from zoo_mxnet.inspection import inspected
from zoo_mxnet.symbol import PROGRAM, Filling, SymbolBlock, float32_weights, prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from zoo_core import ParameterFile, StoredTensor

    Array = npt.NDArray[np.generic]

#: What Gluon's export calls a program.
SYMBOL_SUFFIX = "-symbol.json"
#: PyTorch counts the batches that a batch norm has seen. Gluon does not, and only a momentum of None would read the count.
_COUNTER = "num_batches_tracked"
#: What a parameter can be filled from; bfloat16 is widened.
_HELD = (*DTYPES, "bfloat16")


def structural_parameters(block: Any) -> dict[str, Any]:
    """A block's parameters by the attributes and indices that lead to them, such as ``layer1.0.conv1.weight``.

    A shared parameter stands under each of its names. Gluon's public names (``dense3_weight``) come from counters of the
    process and differ from run to run; these are the ones that its ``save_parameters`` writes. Only this private function
    knows them, and no release of MXNet follows the one we need.
    """
    named: dict[str, Any] = block._collect_params_with_prefix()
    return named


def holders(block: Any) -> dict[str, SymbolBlock]:
    """The SymbolBlocks in a block, and itself, by what their parameters' names begin with: ``""``, ``1.``, ``body.0.``."""
    found = {"": block} if isinstance(block, SymbolBlock) else {}
    for name, child in block._children.items():
        found |= {f"{name}.{inner}": holder for inner, holder in holders(child).items()}
    return found


def load(block: Any, file: ParameterFile, *, strict: bool, dtype: str | None, context: Any) -> LoadReport:
    """Fill a block, its empty SymbolBlocks first; it is unchanged where an error is raised.

    Args:
        block: Any Gluon block.
        file: What to fill it from; golden tensors are left aside.
        strict: Names and shapes must agree exactly; otherwise what is left out gets the values of a fresh network.
        dtype: What floating-point parameters become; None: what the file has, and float32 where that is bfloat16.
        context: The MXNet context that the parameters go to.

    Raises:
        ParameterError: Names or shapes differ (when strict), a program is none that a SymbolBlock may take, or MXNet cannot
            hold a tensor.
        InputError: MXNet does not compute with this dtype.
    """
    if dtype not in (None, *FLOATS):
        raise InputError(f"dtype {dtype!r}: MXNet computes with {', '.join(FLOATS)}; ask for one of these")
    tree = _tree(block, file)
    fit = _compare(tree, file)
    if strict and fit.missing and file.format == "mxnet-symbol" and set(file.tensors) == {PROGRAM}:
        raise _without_parameters(file, fit.missing)
    if strict and fit.report:
        raise fit.error(f"{file.name} does not fit {type(block).__name__}")
    _refuse_what_mxnet_cannot_hold(fit.sources.values(), file)
    for filling in tree.fillings:
        filling.apply()
    ends: dict[Any, int] = defaultdict(int)
    for name, tensor in sorted(fit.sources.items(), key=lambda item: item[1].offset):
        value = shared(tensor.numpy(), _dtype(tensor.dtype, dtype, normalised=tree.is_normalised(name)))
        # Two parameters over the same bytes would change together in training.
        fill(tree.parameters[name], value.copy() if tensor.offset < ends[tensor.source] else value, context)
        ends[tensor.source] = max(ends[tensor.source], tensor.offset + tensor.nbytes)
    _initialize((tree.parameters[name] for name in (*fit.missing, *fit.shapes) if name in tree.parameters), context)
    # Copies run in threads of MXNet; whoever called may overwrite what they read as soon as this returns.
    mx.nd.waitall()
    return fit.report


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """A block as it will be when its empty SymbolBlocks are filled.

    Attributes:
        parameters: All but the programs, by name.
        programs: The bytes of each program, by name; None where there is none.
        taken: The names among `programs` that the file has just given.
        symbolic: The names among `parameters` that are weights of programs, which mean nothing to us.
        float32: Those among them that MXNet wants in float32 beside float16.
        fillings: What fills the empty SymbolBlocks.
    """

    parameters: Mapping[str, Any]
    programs: Mapping[str, bytes | None]
    taken: frozenset[str] = frozenset()
    symbolic: frozenset[str] = frozenset()
    float32: frozenset[str] = frozenset()
    fillings: tuple[Filling, ...] = ()

    @property
    def batch_norms(self) -> set[str]:
        """What the names of layers with running statistics begin with; programs aside."""
        names = self.parameters.keys() - self.symbolic
        return {_layer(name) for name in names if name.rpartition(".")[2] == "running_mean"}

    def is_normalised(self, name: str) -> bool:
        """Whether a parameter belongs to a batch norm."""
        return name in self.float32 if name in self.symbolic else _layer(name) in self.batch_norms


def _tree(block: Any, file: ParameterFile | None = None) -> _Tree:
    """A block's parameters and programs, empty SymbolBlocks filled in thought from a file.

    Raises:
        ParameterError: The file's program for one is of another kind, or not one that may be loaded.
    """
    found = holders(block)
    fillings: dict[SymbolBlock, Filling] = {}
    taken = set()
    for prefix, holder in found.items():
        if file is not None and holder.program is None and holder not in fillings and f"{prefix}{PROGRAM}" in file.programs:
            fillings[holder] = _filling(prefix, holder, file)
            taken.add(f"{prefix}{PROGRAM}")
    parameters = structural_parameters(block)
    symbolic: set[str] = set()
    float32: set[str] = set()
    programs: dict[str, bytes | None] = {}
    for prefix, holder in found.items():
        held = fillings.get(holder) or holder.filled
        programs[f"{prefix}{PROGRAM}"] = held.content if held else None
        parameters.pop(f"{prefix}{PROGRAM}", None)
        if held:
            parameters |= {f"{prefix}{name}": weight for name, weight in held.weights.items()}
            symbolic |= {f"{prefix}{name}" for name in held.weights}
            float32 |= {f"{prefix}{name}" for name in float32_weights(held.graph)}
    return _Tree(
        parameters=parameters,
        programs=programs,
        taken=frozenset(taken),
        symbolic=frozenset(symbolic),
        float32=frozenset(float32),
        fillings=tuple(fillings.values()),
    )


def _filling(prefix: str, holder: SymbolBlock, file: ParameterFile) -> Filling:
    program = file.programs[f"{prefix}{PROGRAM}"]
    # A file that is data was let through as data, which no symbol is.
    if program.kind != SymbolBlock.kind or file.is_data:
        raise ParameterError(
            f"{file.name}: {printable(program.name)} is a program of kind {program.kind}; MXNet's SymbolBlock takes "
            f"{SymbolBlock.kind}",
            mismatched=(program.name,),
        )
    weights = {name.removeprefix(prefix) for name in file.state if name.startswith(prefix)} - {PROGRAM}
    return holder.filling(prepared(program.content, name=f"{file.name}: {printable(program.name)}", weights=weights))


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How the names and shapes of a block and a file agree.

    Attributes:
        sources: The stored tensor that fills each parameter, by one of the parameter's names.
        missing: Names of parameters that the file has under none of their names.
        unexpected: Names that the file has and the block lacks.
        shapes: Those that do not agree, by name: the block's and the file's.
    """

    sources: Mapping[str, StoredTensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, str]

    @property
    def report(self) -> LoadReport:
        mismatched = tuple(f"{name} {shapes}" for name, shapes in self.shapes.items())
        return LoadReport(missing=self.missing, unexpected=self.unexpected, mismatched=mismatched)

    def error(self, what: str) -> ParameterError:
        report = self.report
        kinds = {
            "missing in the file": report.missing,
            "unexpected in the file": report.unexpected,
            "different shapes": report.mismatched,
        }
        found = "; ".join(f"{kind}: {listing(names)}" for kind, names in kinds.items() if names)
        return ParameterError(
            f"{what}; {found}. strict=False (--not-strict) loads what fits",
            missing=self.missing,
            unexpected=self.unexpected,
            mismatched=tuple(self.shapes),
        )


def _without_parameters(file: ParameterFile, missing: tuple[str, ...]) -> ParameterError:
    name = printable(Path(file.name).name)
    if name.endswith(SYMBOL_SUFFIX):
        expected = f"{name.removesuffix(SYMBOL_SUFFIX)}-0000.params"
        remedy = f"expected {expected} (or another number), which Gluon's export writes beside it"
    else:
        remedy = f"give the path of NAME{SYMBOL_SUFFIX}, with NAME-0000.params beside it"
    return ParameterError(f"{file.name}: a symbol without its parameters {listing(missing)}; {remedy}", missing=missing)


def _compare(tree: _Tree, file: ParameterFile) -> _Fit:
    stored = file.state
    counted = {f"{layer}{_COUNTER}" for layer in tree.batch_norms}
    names_of = defaultdict(list)
    for name, parameter in tree.parameters.items():
        names_of[parameter].append(name)
    sources, missing, shapes = {}, [], {}
    for parameter, names in names_of.items():
        present = [name for name in names if name in stored]
        if not present:
            missing.append(names[0])
            continue
        found = present[0]
        file.check_tied(present)
        if agree(stored[found].shape, parameter.shape):
            sources[found] = stored[found]
        else:
            shapes[found] = f"{list(parameter.shape)} in the block, {list(stored[found].shape)} in the file"
    for name, content in tree.programs.items():
        if name not in file.programs:
            missing.append(name)
        elif name not in tree.taken and not _is_same_program(file, name, content):
            shapes[name] = "is another program in the file"
    known = tree.parameters.keys() | tree.programs.keys() | counted
    return _Fit(
        sources=sources, missing=tuple(missing), unexpected=tuple(name for name in stored if name not in known), shapes=shapes
    )


def _is_same_program(file: ParameterFile, name: str, content: bytes | None) -> bool:
    """Whether a file has the program that a block has, perhaps in MXNet's own spelling."""
    program = file.programs[name]
    if program.kind != SymbolBlock.kind or content is None:
        return False
    if program.content == content:
        return True
    weights = inspected(content).variables
    return prepared(program.content, weights=weights, inputs=inspected(content).inputs).text().encode() == content


def _refuse_what_mxnet_cannot_hold(tensors: Iterable[StoredTensor], file: ParameterFile) -> None:
    for tensor in tensors:
        name = tensor.name
        if tensor.dtype not in _HELD:
            raise ParameterError(
                f"{file.name}: {printable(name)} is {tensor.dtype}; MXNet holds {', '.join(_HELD)}", mismatched=(name,)
            )
        if not tensor.shape or 0 in tensor.shape:
            # Gluon reads both as "shape not known yet".
            raise ParameterError(
                f"{file.name}: {printable(name)} has the shape {tensor.shape}; MXNet's parameters have one or more axes, "
                "none of size 0",
                mismatched=(name,),
            )


def _layer(name: str) -> str:
    """What a parameter's name begins with up to its last dot."""
    return name[: name.rfind(".") + 1]


def _dtype(stored: str, asked: str | None, *, normalised: bool) -> str:
    if stored not in (*FLOATS, "bfloat16"):
        return stored
    wanted = asked or ("float32" if stored == "bfloat16" else stored)
    # MXNet's batch norm takes float16 pictures and float32 statistics, and refuses float16 statistics.
    return "float32" if normalised and wanted == "float16" else wanted


def _initialize(parameters: Iterable[Any], context: Any) -> None:
    for parameter in parameters:
        if not is_initialized(parameter):
            parameter.initialize(ctx=context)


def save(block: Any, target: Path | BinaryIO, header: Mapping[str, str], extra: Mapping[str, Array]) -> None:
    """Write a block's parameters, the programs in it and further tensors as safetensors.

    A batch norm whose parameters have PyTorch's names gets a counter of 0, without which PyTorch would not load it strictly.

    Args:
        block: Any Gluon block whose parameters have values.
        target: A path, written to as it is, or a stream.
        header: The entries of ``__metadata__``; ``zoo.aliases`` is added where parameters are shared or a program is held
            twice, ``zoo.programs`` where there are programs.
        extra: Further tensors by name.

    Raises:
        ParameterError: A parameter has no value yet, a SymbolBlock is empty, a name is reserved, or no attribute of a block
            leads to a parameter.
    """
    tree = _tree(block)
    _refuse_nameless(block, tree.parameters)
    names: dict[Any, str] = {}
    for name, held in (*tree.parameters.items(), *tree.programs.items()):
        names.setdefault(held, name)
    aliases = {name: names[held] for name, held in (*tree.parameters.items(), *tree.programs.items()) if names[held] != name}
    tensors = {name: _value(name, tree) for name in names.values()}
    tensors |= {
        f"{layer}{_COUNTER}": np.zeros((), np.int64)
        for layer in tree.batch_norms
        if f"{layer}running_mean" in tensors and f"{layer}gamma" not in tensors
    }
    write_parameters(
        target,
        tensors,
        header,
        serializer=safetensors.numpy,
        aliases=aliases,
        programs={name: content for name, content in tree.programs.items() if content is not None},
        extra={name: np.asarray(array, order="C") for name, array in extra.items()},
    )


def _refuse_nameless(block: Any, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that Gluon's own ``save_parameters`` would lose without a word."""
    held: dict[str, Any] = {}
    block.apply(lambda child: held.update(child.params.items()))
    nameless = [name for name, parameter in held.items() if parameter not in set(parameters.values())]
    if nameless:
        raise ParameterError(
            f"no attribute leads to {listing(nameless)}: assign each, as in self.scale = self.params.get('scale')",
            missing=nameless,
        )


def _value(name: str, tree: _Tree) -> Array:
    if name in tree.programs:
        content = tree.programs[name]
        if content is None:
            raise ParameterError(f"{name}: this SymbolBlock is empty, load its parameters first", missing=(name,))
        return np.frombuffer(content, np.uint8)
    try:
        value: Array = tree.parameters[name].list_data()[0].asnumpy()
    except RuntimeError as error:
        raise ParameterError(f"{name} has no value yet: load parameters, or initialize the block", missing=(name,)) from error
    return value
