"""Golden outputs: what an author saw a model compute, kept so that any machine can show that it computes the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo_core.errors import ParameterError
from zoo_core.parameters import ParameterFile
from zoo_core.parameters.header import GOLDEN_ENTRY, GOLDEN_PREFIX

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

#: The key in a document, and the name in a folder, of the file that holds them where the parameter file is of another format.
GOLDEN_KEY = "golden"
GOLDEN_NAME = "golden.safetensors"

_INPUT, _OUTPUT = f"{GOLDEN_PREFIX}input.", f"{GOLDEN_PREFIX}output."


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Inputs and the outputs that their author saw.

    Attributes:
        file: Where the tensors lie.
        inputs: Name of an input -> name of the tensor.
        outputs: Name of an output -> name of the tensor.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
    """

    file: ParameterFile
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    rtol: float
    atol: float

    @classmethod
    def of(cls, file: ParameterFile) -> Golden | None:
        """What a file holds of them; None where it holds none.

        Raises:
            ParameterError: The header's tolerances are missing or malformed.
        """
        inputs = {name.removeprefix(_INPUT): name for name in file.tensors if name.startswith(_INPUT)}
        outputs = {name.removeprefix(_OUTPUT): name for name in file.tensors if name.startswith(_OUTPUT)}
        if not inputs or not outputs:
            return None
        rtol, atol = _tolerances(file)
        return cls(file=file, inputs=inputs, outputs=outputs, rtol=rtol, atol=atol)

    def input_arrays(self) -> dict[str, Array]:
        """The inputs, batch axis included; copies, since a block must not write to the file."""
        return {name: self.file[stored].copy() for name, stored in self.inputs.items()}


def _tolerances(file: ParameterFile) -> tuple[float, float]:
    try:
        document = json.loads(file.header.get(GOLDEN_ENTRY, "{}"))
        rtol, atol = float(document["rtol"]), float(document["atol"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ParameterError(
            f'{file.name}: header entry {GOLDEN_ENTRY} must be {{"rtol": ..., "atol": ...}}: {error}'
        ) from error
    if not are_tolerances(rtol, atol):
        raise ParameterError(f"{file.name}: header entry {GOLDEN_ENTRY} has the tolerances {rtol}, {atol}")
    return rtol, atol


def are_tolerances(rtol: float, atol: float) -> bool:
    """Whether a proof may allow these: a share of the value below 1, a finite difference.

    >>> are_tolerances(1e-5, 0), are_tolerances(-1e-5, 0), are_tolerances(0, float("nan"))
    (True, False, False)
    """
    # Written so that NaN fails too.
    return 0 <= rtol < 1 and 0 <= atol < float("inf")


def golden_tensors(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors that a parameter file keeps."""
    named = {f"{_INPUT}{name}": array for name, array in inputs.items()}
    return named | {f"{_OUTPUT}{name}": array for name, array in outputs.items()}


@dataclass(frozen=True, kw_only=True)
class OutputCheck:
    """How far one output is from the golden one.

    Attributes:
        name: Of the output.
        max_abs: The largest absolute difference; infinite where shapes or names differ, or one side alone is no number.
        max_rel: The largest difference relative to the golden value.
        ok: Whether every element is within the tolerances.
    """

    name: str
    max_abs: float
    max_rel: float
    ok: bool

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"name": self.name, "max_abs": self.max_abs, "max_rel": self.max_rel, "ok": self.ok}


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a model computes on its golden inputs, compared with the golden outputs.

    Attributes:
        engine: The engine that computed it.
        device: The device it ran on.
        outputs: One entry an output; empty where the model carries no golden outputs.
        rtol: The relative tolerance that the author gave.
        atol: The absolute tolerance.
    """

    engine: str
    device: str
    outputs: tuple[OutputCheck, ...] = ()
    rtol: float = 0.0
    atol: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all outputs agree; also true where there is nothing to compare."""
        return all(output.ok for output in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"engine": self.engine, "device": self.device, "outputs": [output.to_dict() for output in self.outputs]}


def compare(golden: Golden, found: Mapping[str, Array]) -> tuple[OutputCheck, ...]:
    """Compare what a model gave with its golden outputs, by name; by position where it names them otherwise."""
    names = list(golden.outputs)
    if set(names) != set(found) and len(names) == len(found):
        found = dict(zip(names, found.values(), strict=True))
    return tuple(_compared(name, golden, found.get(name)) for name in names)


def _compared(name: str, golden: Golden, found: Array | None) -> OutputCheck:
    import numpy as np

    expected = golden.file[golden.outputs[name]]
    if found is None or found.shape != expected.shape:
        return OutputCheck(name=name, max_abs=float("inf"), max_rel=float("inf"), ok=False)
    if expected.size == 0:
        return OutputCheck(name=name, max_abs=0.0, max_rel=0.0, ok=True)
    wide = np.complex128 if "c" in (expected.dtype.kind, found.dtype.kind) else np.float64
    one, other = expected.astype(wide), found.astype(wide)
    same = (expected == found) | (np.isnan(one) & np.isnan(other))
    with np.errstate(all="ignore"):
        differences = np.where(same, 0.0, np.abs(one - other))
        differences = np.where(np.isnan(differences), np.inf, differences)
        # Two integers may be one number in float64.
        differences = np.where(~same & (differences == 0), 1.0, differences)
        relative = np.where(differences == 0, 0.0, differences / np.abs(one))
        relative = np.where(np.isnan(relative), np.inf, relative)
        within = differences <= golden.atol + golden.rtol * np.where(np.isfinite(one), np.abs(one), 0.0)
    return OutputCheck(name=name, max_abs=float(differences.max()), max_rel=float(relative.max()), ok=bool(within.all()))
