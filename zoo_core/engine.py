"""Engine: what the plugin of a deep-learning framework implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from zoo_core.block import BlockFactory
    from zoo_core.device import Device
    from zoo_core.model import Model
    from zoo_core.parameters import ParameterFile

    Arrays = Mapping[str, npt.NDArray[np.generic]]


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a load that was not strict left out.

    Attributes:
        missing: Names that the block has and the file lacks; they keep the values of a fresh network.
        unexpected: Names that the file has and the block lacks.
        mismatched: Names whose shapes differ, with both shapes.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)


class Engine(ABC):
    """A deep-learning framework behind a small interface; constructed without arguments.

    Blocks and tensors stay the framework's own: an engine wraps neither. Register the class:

        [project.entry-points."zoo_core.engines"]
        PyTorch = "zoo_pytorch.engine:PyTorchEngine"
    """

    #: The engine's name, as its entry point says it.
    name: ClassVar[str]
    #: The kinds of program that a SymbolBlock of this engine can hold.
    program_kinds: ClassVar[tuple[str, ...]] = ()
    #: The options that `prepare` understands, with what they do.
    options: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def version(self) -> str:
        """The version of the framework."""

    @abstractmethod
    def devices(self) -> Sequence[str]:
        """The devices of this machine: ``cpu``, ``gpu:0``, ..."""

    @abstractmethod
    def reads(self, path: Path) -> bool:
        """Whether this engine can fill a block from a parameter file, told by the file's bytes."""

    @abstractmethod
    def owns(self, block: object) -> bool:
        """Whether an object is a block of this engine."""

    @abstractmethod
    def build(self, factory: BlockFactory, model: Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """Let a factory build its block without allocating parameters where the framework allows it."""

    @abstractmethod
    def load_parameters(
        self,
        block: Any,
        source: ParameterFile | Path | bytes,
        *,
        strict: bool = True,
        dtype: str | None = None,
        device: Device | None = None,
    ) -> LoadReport:
        """Fill a block from a parameter file; golden tensors and header entries of Zoo are left aside.

        Empty SymbolBlocks inside are filled with the file's programs first. Of a file that is data (`ParameterFile.is_data`)
        they take no program but such as are data themselves; each is inspected before the framework sees it.

        A strict load that fails leaves the block as it was: names and shapes are compared before anything is written, or what
        was overwritten is put back. Whether a file may be loaded is not asked here: whoever passes a path, the content or an
        open file has inspected it (`zoo_core.kind_of` tells data from programs).

        Args:
            source: A file, open or by its path, mapped where the framework allows it, or its content; inspected by the caller.
            strict: Names and shapes must agree exactly.
            dtype: Convert floating-point parameters to ``float32``, ``float16``, ``bfloat16`` or ``float64``.
            device: Where the parameters go; None: the CPU.

        Raises:
            ParameterError: Names or shapes differ (when strict), names that the block ties have different values in the file,
                or the file is malformed.
            InputError: There is no such device or dtype.
        """

    @abstractmethod
    def save_parameters(
        self, block: Any, target: Path | BinaryIO, header: Mapping[str, str], extra: Arrays | None = None
    ) -> None:
        """Write a block's parameters and buffers as safetensors.

        Args:
            target: A path, written to as it is (the caller makes it appear atomically), or a stream.
            header: The entries of ``__metadata__``; the engine adds ``zoo.aliases`` where tensors are tied and
                ``zoo.programs`` where the block holds programs.
            extra: Further tensors, such as golden inputs and outputs.

        Raises:
            ParameterError: A parameter has no value yet, or its name begins with ``zoo.golden.``.
        """

    @abstractmethod
    def forward(self, block: Any, arrays: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Run a block in evaluation, without gradients.

        Args:
            arrays: The inputs, batch axis included; they are never written to. Where each name is one of the arguments that
                the block's author gave its ``forward``, they go by name, else in their order; so does one called ``input``.

        Returns:
            The outputs by name: the block's own names where it returns a mapping, else ``output`` or ``output_0``, ... They
            share no memory with the block, so writing to them never changes it.
        """

    def programs(self, block: Any) -> Mapping[str, str]:
        """The programs that a block holds: the name of each in the block's state -> its kind; by default none."""
        return {}

    def prepare(self, block: Any, options: Mapping[str, str]) -> None:
        """Make a loaded block ready to predict (evaluation mode, compilation), following `options`; by default it is ready."""
        return

    def collect(self) -> None:
        """Free what a closed model leaves behind; called after its block was dropped. By default nothing is left.

        Python frees what nobody refers to at once, but blocks that refer to themselves only when it looks for such cycles.
        """
        return
