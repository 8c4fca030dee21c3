"""The translator: a colour to an array, logits to names with probabilities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import zoo_core as zoo


@dataclass(frozen=True, kw_only=True)
class ToyColour(zoo.Translator):
    """Turns a colour into ``float32[3]`` and logits into `Classifications`.

    A colour is a text such as ``#ff8800``, three numbers from 0 to 1, or the path of a text file that holds ``#ff8800``.

    Attributes:
        names: Of the classes, in the order of the network's outputs.
    """

    names: tuple[str, ...]

    def process_input(self, context: zoo.TranslatorContext, x: Any) -> tuple[np.ndarray[Any, Any], ...]:
        """The colour as ``float32[3]``: red, green and blue from 0 to 1.

        Raises:
            zoo_core.InputError: It is no colour.
        """
        return (np.asarray(_from_text(x) if isinstance(x, str | Path) else _from_numbers(x), dtype=np.float32),)

    def process_output(self, context: zoo.TranslatorContext, arrays: tuple[np.ndarray[Any, Any], ...]) -> zoo.Classifications:
        """The names of one colour, best first."""
        logits = arrays[0].astype(np.float64)
        weights = np.exp(logits - logits.max())
        probabilities = weights / weights.sum()
        pairs = zip(self.names, probabilities, strict=True)
        return zoo.Classifications(zoo.Classification(index, name, float(p)) for index, (name, p) in enumerate(pairs))


def _from_text(x: str | Path) -> list[float]:
    text = x if isinstance(x, str) and x.startswith("#") else _content(Path(x))
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise zoo.InputError(f"{text[:20]!r} is no colour; expected one such as #ff8800")
    return [byte / 255 for byte in bytes.fromhex(text[1:])]


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise zoo.InputError(f"{path}: the colour cannot be read: {error}") from error


def _from_numbers(x: Any) -> Sequence[float]:
    values = [float(value) for value in x]
    if len(values) != 3 or not all(0 <= value <= 1 for value in values):
        raise zoo.InputError(f"{values} is no colour; expected three numbers from 0 to 1")
    return values
