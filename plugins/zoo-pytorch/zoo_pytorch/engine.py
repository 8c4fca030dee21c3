"""The engine PyTorch. PyTorch is imported from here down, nowhere above."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import torch
from torch import Tensor, nn

from zoo_core import (
    BlockFactory,
    Device,
    Engine,
    InputError,
    LoadReport,
    Model,
    ParameterFile,
    kind_of,
    printable,
    read_model_file,
)
from zoo_pytorch.construction import build_on_meta
from zoo_pytorch.holders import programs_of
from zoo_pytorch.parameters import load_parameters, save_parameters
from zoo_pytorch.programs import KINDS
from zoo_pytorch.symbol import SymbolBlock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[np.generic]]

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
#: Arguments of ``forward`` that can be given by name.
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
#: How the errors of TorchScript begin.
INTERPRETER = "The following operation failed in the TorchScript interpreter"
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b")
#: Characters of an error of PyTorch that a user sees; the whole one is its cause.
MAX_REASON = 400


class PyTorchEngine(Engine):
    """PyTorch 2; blocks are ``torch.nn.Module``."""

    name: ClassVar[str] = "PyTorch"
    program_kinds: ClassVar[tuple[str, ...]] = KINDS
    options: ClassVar[Mapping[str, str]] = {"mapLocation": "DJL's; parameters always go to the device that was asked for"}

    def version(self) -> str:
        """The version of PyTorch."""
        return str(torch.__version__)

    def devices(self) -> list[str]:
        """``cpu``, then the GPUs that PyTorch can use."""
        return ["cpu", *(f"gpu:{index}" for index in range(_gpu_count()))]

    def reads(self, path: Path) -> bool:
        """Whether the bytes are a parameter file, or a program, whose programs are all of this engine."""
        if kind_of(path).trust == "unknown":
            return False
        return all(program.kind in self.program_kinds for program in read_model_file(path).programs.values())

    def owns(self, block: object) -> bool:
        """Whether it is a ``torch.nn.Module``."""
        return isinstance(block, nn.Module)

    def build(self, factory: BlockFactory, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
        """Let a factory build its network with the parameters on the meta device, where they take no memory."""
        network: nn.Module = build_on_meta(lambda: factory.new_block(model, model_path, arguments))
        return network

    def load_parameters(
        self,
        block: nn.Module,
        source: ParameterFile | Path | bytes,
        *,
        strict: bool = True,
        dtype: str | None = None,
        device: Device | None = None,
    ) -> LoadReport:
        """Fill a module; its parameters become the mapped tensors of the file where they have no values yet."""
        return load_parameters(block, source, strict=strict, dtype=_dtype(dtype), device=self._device(device or Device()))

    def save_parameters(
        self, block: nn.Module, target: Path | BinaryIO, header: Mapping[str, str], extra: Arrays | None = None
    ) -> None:
        """Write a module's state as safetensors; tied tensors are written once."""
        save_parameters(block, target, header, extra or {})

    def forward(self, block: nn.Module, arrays: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Run a module in evaluation and inference mode.

        Raises:
            InputError: The module cannot take the arrays, or gives something else than tensors.
        """
        like = next(block.parameters(), None)
        inputs = {name: _as_input(array, like) for name, array in arrays.items()}
        with torch.inference_mode(), _evaluating(block):
            try:
                args, keywords = _arguments(block, inputs)
                outputs = block(*args, **keywords)
            except (RuntimeError, TypeError, IndexError, ValueError, AssertionError) as error:
                shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())
                raise InputError(f"{type(block).__name__} cannot run on {shapes}: {_reason(error)}") from error
            return {name: _as_array(name, value) for name, value in _named(outputs).items()}

    def programs(self, block: nn.Module) -> Mapping[str, str]:
        """The programs that a module's SymbolBlocks hold."""
        return programs_of(block)

    def prepare(self, block: nn.Module, options: Mapping[str, str]) -> None:
        """Put a module into evaluation mode."""
        block.eval()

    def _device(self, device: Device) -> torch.device:
        if device.kind == "cpu":
            return torch.device("cpu")
        if device.index >= _gpu_count():
            raise InputError(f"device {device} is not there; PyTorch {torch.__version__} sees: {', '.join(self.devices())}")
        return torch.device(_gpu_type(), device.index)


def _gpu_type() -> str:
    return "cuda" if torch.cuda.is_available() or not torch.backends.mps.is_available() else "mps"


def _gpu_count() -> int:
    return torch.cuda.device_count() if _gpu_type() == "cuda" else 1


def _dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    if name not in DTYPES:
        raise InputError(f"dtype {name!r}: PyTorch converts parameters to {', '.join(sorted(DTYPES))}")
    return DTYPES[name]


def _as_input(array: npt.NDArray[np.generic], like: Tensor | None) -> Tensor:
    """A copy of an array where a module's parameters are, and in their precision: a module may write to its input."""
    try:
        tensor = torch.tensor(array)
    except TypeError as error:
        raise InputError(f"PyTorch has no tensors of {array.dtype}") from error
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() and like.is_floating_point() else None)


def _arguments(block: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Inputs as the arguments of a module's ``forward``: by name where it has all the names, else in their order."""
    in_order = tuple(inputs.values()), dict[str, Tensor]()
    # "input" alone is what a model calls an array that was given without a name.
    if list(inputs) == ["input"]:
        return in_order
    try:
        signature = block.signature if isinstance(block, SymbolBlock) else inspect.signature(block.forward)
    except (TypeError, ValueError):  # a compiled method may have none
        return in_order
    if not inputs.keys() <= {name for name, parameter in signature.parameters.items() if parameter.kind in NAMED}:
        return in_order
    # Positional where that is possible, since hooks that a user registered may see only such arguments.
    bound = signature.bind(**inputs)
    return bound.args, bound.kwargs


class _Borrowed:
    """Modules in training mode that are in evaluation mode while predictions run, with the number of these predictions.

    The mode is a flag of the module, which all threads share: the first prediction clears it, the last one sets it again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[nn.Module, int] = {}

    def take(self, block: nn.Module) -> list[nn.Module]:
        """Put a block's modules into evaluation mode; those to give back."""
        with self._lock:
            found = [module for module in block.modules() if module.training or (self._runs and module in self._runs)]
            for module in found:
                self._runs[module] = self._runs.get(module, 0) + 1
                module.training = False
        return found

    def give_back(self, modules: list[nn.Module]) -> None:
        """Put modules that no prediction uses any more back into training mode."""
        with self._lock:
            for module in modules:
                self._runs[module] -= 1
                if not self._runs[module]:
                    del self._runs[module]
                    module.training = True


# Of the process and not of an engine: the flags are the module's, and each model may have an engine object of its own.
_borrowed = _Borrowed()


@contextmanager
def _evaluating(block: nn.Module) -> Iterator[None]:
    """Evaluation mode for those modules that are not in it, and back."""
    modules = _borrowed.take(block)
    try:
        yield
    finally:
        if modules:
            _borrowed.give_back(modules)


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith(INTERPRETER):
        # It tells first where it happened, over many lines, and then what.
        starts = [number for number, line in enumerate(lines) if _EXCEPTION.match(line)]
        lines = lines[starts[-1] if starts else -1 :]
    text = printable(" ".join(lines))
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def _named(outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        numbered = [f"output_{number}" for number in range(len(outputs))] if len(outputs) != 1 else ["output"]
        return dict(zip(getattr(outputs, "_fields", numbered), outputs, strict=True))
    return {"output": outputs}


def _as_array(name: str, value: Any) -> npt.NDArray[np.generic]:
    if not isinstance(value, Tensor):
        raise InputError(f"{name} of the block is {type(value).__name__}; expected a tensor")
    # Always a copy, made where the output leaves its device anyway: a block may return its own parameter, buffer or cache, and
    # nothing tells a cached tensor from a fresh one. NumPy has no bfloat16; float32 holds every value of it.
    dtype = torch.float32 if value.dtype == torch.bfloat16 else value.dtype
    found: npt.NDArray[np.generic] = value.detach().to("cpu", dtype, copy=True).numpy()
    return found
