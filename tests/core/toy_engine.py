"""A very small engine, for what core does with any: its block multiplies by a vector of weights.

Core knows no engine, so here, and only here, a made-up one shows what core asks of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from tests import parameter_files
from tests.core.toys import Size
from zoo_core import BlockFactory, Engine, LoadReport, ParameterError, ParameterFile, Translator, read_parameters
from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, TRANSLATORS


@dataclass
class Scale:
    """The block: ``output = input * weight``."""

    width: int = 3
    weight: Any = None
    prepared: dict[str, str] | None = None
    device: str = ""
    dtype: str | None = None
    zoo_factory: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class ScaleFactory(BlockFactory):
    """Builds a `Scale`."""

    extra_arguments = ("noteworthy",)

    width: int = 3

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        assert model.block is None
        return Scale(self.width, zoo_factory=self)


@dataclass
class Held:
    """A block that is programs: what an engine's SymbolBlock becomes."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    zoo_factory: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Symbol(BlockFactory):
    """Builds an empty `Held`, as the factory `symbol` of every engine with a SymbolBlock does."""

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return Held(zoo_factory=self)


@dataclass(frozen=True, kw_only=True)
class Labelled(BlockFactory):
    """Has a field whose name a translator has too, and one that is an object."""

    classes: int = 2
    size: Size | None = None

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return Scale(self.classes, zoo_factory=self)


@dataclass(frozen=True, kw_only=True)
class Labels(Translator):
    """Gives the label of the largest output."""

    classes: tuple[str, ...] = ()

    def process_input(self, context: Any, x: Any) -> Any:
        return (x,)

    def process_output(self, context: Any, arrays: Any) -> str:
        return self.classes[int(arrays[0].argmax())]


@dataclass(frozen=True, kw_only=True)
class Wrong(BlockFactory):
    """Builds what is no block of the engine."""

    def new_block(self, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return "a text"


@dataclass(frozen=True, kw_only=True)
class Numbers(Translator):
    """Turns numbers separated by spaces into an array, and an array into their sum."""

    offset: float = 0.0

    def process_input(self, context: Any, x: str) -> Any:
        import numpy as np

        return (np.array([float(part) for part in x.split()]) + self.offset,)

    def process_output(self, context: Any, arrays: Any) -> float:
        return float(arrays[0].sum())


class ToyEngine(Engine):
    """The engine."""

    name = "Toy"
    options: ClassVar[Mapping[str, str]] = {"speed": "how fast to be"}

    def version(self) -> str:
        return "1.0"

    def devices(self) -> Sequence[str]:
        return ("cpu",)

    def reads(self, path: Path) -> bool:
        return True

    def owns(self, block: object) -> bool:
        return isinstance(block, Scale | Held)

    def build(self, factory: BlockFactory, model: Any, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        return factory.new_block(model, model_path, arguments)

    def load_parameters(
        self, block: Any, source: Any, *, strict: bool = True, dtype: str | None = None, device: Any = None
    ) -> LoadReport:
        file = source if isinstance(source, ParameterFile) else read_parameters(source)
        if isinstance(block, Held):
            block.kinds = {name: program.kind for name, program in file.programs.items()}
            return LoadReport()
        names = {name for name in file if not name.startswith("zoo.golden.")}
        missing, unexpected = tuple({"weight"} - names), tuple(sorted(names - {"weight"}))
        if strict and (missing or unexpected):
            raise ParameterError(f"missing {missing}, unexpected {unexpected}", missing=missing, unexpected=unexpected)
        if "weight" in names:
            block.weight = file.tensors["weight"].shape if block.width == 0 else file["weight"]
        block.device, block.dtype = str(device), dtype
        return LoadReport(missing=missing, unexpected=unexpected)

    def save_parameters(
        self, block: Any, target: Path | BinaryIO, header: Mapping[str, str], extra: Mapping[str, Any] | None = None
    ) -> None:
        content = stored({"weight": block.weight, **(extra or {})}, header)
        if isinstance(target, Path):
            target.write_bytes(content)
        else:
            target.write(content)

    def programs(self, block: Any) -> Mapping[str, str]:
        return block.kinds if isinstance(block, Held) else {}

    def forward(self, block: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {f"output_{number}": array * block.weight for number, array in enumerate(arrays.values())}

    def prepare(self, block: Any, options: Mapping[str, str]) -> None:
        if isinstance(block, Scale):
            block.prepared = dict(options)


def stored(tensors: Mapping[str, Any], header: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of float32 tensors."""
    import numpy as np

    entries: dict[str, Any] = {"__metadata__": dict(header)} if header else {}
    data = b""
    for name, tensor in tensors.items():
        content = np.ascontiguousarray(tensor, np.float32).tobytes()
        entries[name] = parameter_files.entry("F32", list(np.shape(tensor)), len(data), len(data) + len(content))
        data += content
    return parameter_files.safetensors(entries, data)


#: The entry points of the distribution zoo-toy-engine.
ENTRY_POINTS = {
    ENGINES: {"Toy": f"{__name__}:ToyEngine"},
    BLOCK_FACTORIES: {
        "toy.scale": f"{__name__}:ScaleFactory",
        "toy.labelled": f"{__name__}:Labelled",
        "toy.symbol": f"{__name__}:Symbol",
        "toy.wrong": f"{__name__}:Wrong",
    },
    TRANSLATORS: {"toy_numbers": f"{__name__}:Numbers", "toy_classes": f"{__name__}:Labels"},
}
