"""MXNetEngine: MXNet behind the interface that Zoo knows."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np

from zoo_core import Device, Engine, InputError, LoadReport, ParameterError, read_model_file
from zoo_mxnet import parameters
from zoo_mxnet.arrays import DTYPES, shared
from zoo_mxnet.framework import mx
from zoo_mxnet.symbol import PROGRAM, SymbolBlock

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from zoo_core import BlockFactory, Model, ParameterFile

    Array = npt.NDArray[np.generic]


class MXNetEngine(Engine):
    """Runs Gluon blocks with MXNet 1.9.1."""

    name: ClassVar[str] = "MXNet"
    program_kinds: ClassVar[tuple[str, ...]] = (SymbolBlock.kind,)
    options: ClassVar[Mapping[str, str]] = {
        "hybridize": "compile a HybridBlock at its first run (true, the default) or run it operator by operator (false)",
        "static_alloc": "with hybridize: keep memory between runs, which is faster and takes more of it (false, the default)",
    }

    def version(self) -> str:
        """The version of MXNet."""
        return str(mx.__version__)

    def devices(self) -> Sequence[str]:
        """``cpu``, and the GPUs that this build of MXNet can use."""
        return ("cpu", *(f"gpu:{index}" for index in range(mx.context.num_gpus())))

    def reads(self, path: Path) -> bool:
        """Whether the bytes are safetensors, ``.pth``, MXNet's ``.params`` or a symbol, without a program of another kind."""
        try:
            programs = read_model_file(path).programs
        except ParameterError:
            return False
        return all(program.kind in self.program_kinds for program in programs.values())

    def owns(self, block: object) -> bool:
        """Whether an object is a Gluon block."""
        return isinstance(block, mx.gluon.Block)

    def build(self, factory: BlockFactory, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """Let a factory build its block; Gluon allocates nothing before parameters are loaded or initialized."""
        return factory.new_block(model, model_path, arguments)

    def load_parameters(
        self,
        block: Any,
        source: ParameterFile | Path | bytes,
        *,
        strict: bool = True,
        dtype: str | None = None,
        device: Device | None = None,
    ) -> LoadReport:
        """Fill a Gluon block from a mapped parameter file, its empty SymbolBlocks from the programs inside.

        Args:
            block: Any Gluon block; its parameters have the structural names, such as ``0.weight``.
            source: A file, open or by its path, or its content; a symbol as a whole fills a bare SymbolBlock.
            strict: Names and shapes must agree exactly.
            dtype: ``float16``, ``float32`` or ``float64`` for floating-point parameters; None keeps the file's.
            device: Where the parameters go; None: the CPU.

        Raises:
            ParameterError: Names or shapes differ (when strict), the file is malformed, a program is none that a SymbolBlock
                may take, or MXNet cannot hold a tensor.
            InputError: There is no such device or dtype.
        """
        context = self._context(device or Device())
        return parameters.load(block, read_model_file(source), strict=strict, dtype=dtype, context=context)

    def save_parameters(
        self, block: Any, target: Path | BinaryIO, header: Mapping[str, str], extra: Mapping[str, Array] | None = None
    ) -> None:
        """Write a Gluon block's parameters, and the programs in it, as safetensors, under names that PyTorch shares.

        Raises:
            ParameterError: A parameter has no value yet, a SymbolBlock is empty, a name is reserved, or no attribute of a block
                leads to a parameter.
        """
        parameters.save(block, target, header, extra or {})

    def collect(self) -> None:
        """Let Python look for cycles: a Gluon block is in one with what gives its children their names."""
        gc.collect()

    def programs(self, block: Any) -> dict[str, str]:
        """The symbols that a Gluon block holds: the name of each among its parameters -> ``mxnet.symbol``."""
        found = parameters.holders(block)
        return {f"{prefix}{PROGRAM}": holder.kind for prefix, holder in found.items() if holder.program is not None}

    def forward(self, block: Any, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run a Gluon block in evaluation.

        Floating-point inputs get the dtype of the block's parameters, since MXNet never converts; inputs are copied.

        Raises:
            InputError: MXNet refuses the inputs' number, shapes or dtypes, or has no such operator.
        """
        context, dtype = _placement(block)
        with _refusals_explained(context, dtype), mx.autograd.pause(train_mode=False):
            inputs = [_input(name, array, dtype, context) for name, array in _in_order(block, arrays)]
            return {name: output.asnumpy() for name, output in _outputs(block(*inputs))}

    def prepare(self, block: Any, options: Mapping[str, str]) -> None:
        """Compile the block's hybrid parts, unless the option ``hybridize`` says no.

        Raises:
            InputError: An option is neither ``true`` nor ``false``.
        """
        if _switch(options, "hybridize", default=True):
            block.hybridize(static_alloc=_switch(options, "static_alloc", default=False))
        else:
            block.hybridize(active=False)

    def _context(self, device: Device) -> Any:
        if str(device) not in self.devices():
            raise InputError(f"device {device}: MXNet has {', '.join(self.devices())} here")
        return mx.cpu() if device.kind == "cpu" else mx.gpu(device.index)


def _placement(block: Any) -> tuple[Any, str | None]:
    """Where a block's parameters lie, and the dtype that its floating-point inputs must have; None: any."""
    named = parameters.structural_parameters(block)
    held = [parameter for name, parameter in named.items() if name.rpartition(".")[2] != PROGRAM]
    context = held[0].list_ctx()[0] if held else mx.cpu()
    dtypes = {np.dtype(parameter.dtype) for parameter in held}
    floats = [dtype for dtype in dtypes if np.issubdtype(dtype, np.floating)]
    # The smallest: beside float16, batch norms stay float32.
    return context, min(floats, key=lambda dtype: dtype.itemsize).name if floats else None


def _in_order(block: Any, arrays: Mapping[str, Array]) -> Iterable[tuple[str, Array | None]]:
    """Arrays in the order of a block's arguments where it has all their names, else as they are given."""
    names = _argument_names(block)
    # "input" alone is what a model calls an array that was given without a name.
    if list(arrays) == ["input"] or not arrays.keys() <= set(names):
        return arrays.items()
    # Gluon takes inputs by position only, so none before the last can be left out, unless the block gives it a default.
    last = max((names.index(name) for name in arrays), default=-1)
    optional = _optional_names(block)
    left_out = [name for name in names[: last + 1] if name not in arrays and name not in optional]
    if left_out:
        raise InputError(f"{type(block).__name__} needs the input {', '.join(left_out)} before {names[last]}")
    return [(name, arrays.get(name)) for name in names[: last + 1]]


def _argument_names(block: Any) -> list[str]:
    """What a block's author calls its inputs; a ``hybrid_forward`` has ``F`` before them and the parameters after."""
    if isinstance(block, SymbolBlock):
        return list(block.inputs)
    is_hybrid = _is_hybrid(block)
    signature = inspect.signature(block.hybrid_forward if is_hybrid else block.forward)
    names = [name for name, parameter in signature.parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return [name for name in names[1:] if name not in block._reg_params] if is_hybrid else names


def _optional_names(block: Any) -> set[str]:
    """The inputs that may be None."""
    signature = inspect.signature(block.hybrid_forward if _is_hybrid(block) else block.forward)
    return {name for name, parameter in signature.parameters.items() if parameter.default is None}


def _is_hybrid(block: Any) -> bool:
    """Whether a block's computation is in its ``hybrid_forward``."""
    return isinstance(block, mx.gluon.HybridBlock) and type(block).forward is mx.gluon.HybridBlock.forward


def _input(name: str, given: Array | None, dtype: str | None, context: Any) -> Any:
    if given is None:
        return None
    array = np.asarray(given)
    wanted = dtype if dtype and np.issubdtype(array.dtype, np.floating) else array.dtype.name
    if wanted not in DTYPES:
        raise InputError(f"input {name!r} is {array.dtype}: MXNet has arrays of {', '.join(DTYPES)}")
    if array.size == 0:
        raise InputError(f"input {name!r} has the shape {array.shape}: MXNet runs no empty batch")
    # Its own memory, since operators may write to it.
    return shared(np.array(array, wanted), wanted).as_in_context(context)


def _outputs(returned: Any, name: str = "output") -> Iterator[tuple[str, Any]]:
    if isinstance(returned, Mapping):
        yield from returned.items()
    elif isinstance(returned, list | tuple):
        fields = getattr(returned, "_fields", None)  # a named tuple's
        for index, item in enumerate(returned):
            yield from _outputs(item, fields[index] if fields else f"{name}_{index}")
    else:
        yield name, returned


@contextmanager
def _refusals_explained(context: Any, dtype: str | None) -> Iterator[None]:
    try:
        yield
    except mx.MXNetError as error:
        if dtype == "float16" and context.device_type == "cpu":
            raise InputError(
                "MXNet computes no float16 convolution or dense layer on the CPU: load with dtype='float32'"
            ) from error
        raise InputError(f"MXNet cannot run this: {str(error).strip().splitlines()[-1]}") from error


def _switch(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = str(options.get(name, default)).lower()
    if text not in ("true", "false"):
        raise InputError(f"option {name}={options[name]!r}: expected true or false")
    return text == "true"


def load_parameters(block: Any, path: str | os.PathLike[str]) -> LoadReport:
    """Fill a Gluon block on the CPU from any parameter file that Zoo reads; names and shapes must agree exactly.

    Empty SymbolBlocks in it are filled with the programs that the file has, which Gluon's own ``load_parameters`` cannot do.
    Each is inspected before MXNet sees it, yet may use any amount of memory and time: load them from where you trust them.

    Args:
        block: Any Gluon block.
        path: A ``.safetensors``, ``.pth`` or ``.params`` file; also a ``-symbol.json`` with a ``.params`` file beside it, which
            fills a bare SymbolBlock.

    Raises:
        ParameterError: Names or shapes differ, or the file is malformed.
    """
    return MXNetEngine().load_parameters(block, Path(path))
