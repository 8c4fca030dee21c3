"""The engine PyTorch. PyTorch is imported from here down, nowhere above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import torch
from torch import Tensor, nn

from zoo_core import BlockFactory, Device, Engine, InputError, LoadReport, Model, ParameterFile, kind_of
from zoo_pytorch.construction import build_on_meta
from zoo_pytorch.parameters import load_parameters, save_parameters

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[np.generic]]

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


class PyTorchEngine(Engine):
    """PyTorch 2; blocks are ``torch.nn.Module``."""

    name: ClassVar[str] = "PyTorch"
    options: ClassVar[Mapping[str, str]] = {"mapLocation": "DJL's; parameters always go to the device that was asked for"}

    def version(self) -> str:
        """The version of PyTorch."""
        return str(torch.__version__)

    def devices(self) -> list[str]:
        """``cpu``, then the GPUs that PyTorch can use."""
        return ["cpu", *(f"gpu:{index}" for index in range(_gpu_count()))]

    def reads(self, path: Path) -> bool:
        """Whether the bytes are a parameter file that holds data."""
        return kind_of(path).trust == "data"

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
        inputs = [_as_input(array, next(block.parameters(), None)) for array in arrays.values()]
        with torch.inference_mode(), _evaluating(block):
            try:
                outputs = block(*inputs)
            except (RuntimeError, TypeError, IndexError, ValueError) as error:
                shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())
                raise InputError(f"{type(block).__name__} cannot run on {shapes}: {error}") from error
        return {name: _as_array(name, value) for name, value in _named(outputs).items()}

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


@contextmanager
def _evaluating(block: nn.Module) -> Iterator[None]:
    """Evaluation mode for those modules that are not in it, and back."""
    training = [module for module in block.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _named(outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        names = getattr(outputs, "_fields", None) or [f"output_{number}" for number in range(len(outputs))]
        return dict(zip(names, outputs, strict=True)) if len(outputs) != 1 else {"output": outputs[0]}
    return {"output": outputs}


def _as_array(name: str, value: Any) -> npt.NDArray[np.generic]:
    if not isinstance(value, Tensor):
        raise InputError(f"{name} of the block is {type(value).__name__}; expected a tensor")
    on_cpu = value.detach().cpu()
    # NumPy has no bfloat16; float32 holds every value of it.
    found: npt.NDArray[np.generic] = (on_cpu.float() if on_cpu.dtype == torch.bfloat16 else on_cpu).numpy()
    return found
