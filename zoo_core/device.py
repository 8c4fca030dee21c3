"""Devices by engine-neutral names: ``cpu``, ``gpu``, ``gpu:1``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zoo_core.errors import InputError

_DEVICE = re.compile(r"(cpu|gpu|cuda)(?::([0-9]{1,4}))?")


@dataclass(frozen=True)
class Device:
    """Where parameters lie and a block runs.

    Attributes:
        kind: ``cpu`` or ``gpu``.
        index: The number of the device.
    """

    kind: str = "cpu"
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read a device; ``cuda:1`` is understood as ``gpu:1``.

        >>> str(Device.parse("cuda"))
        'gpu:0'

        Raises:
            InputError: The text names no device.
        """
        found = _DEVICE.fullmatch(text.strip().lower())
        if found is None:
            raise InputError(f"device {text!r}: expected cpu, gpu or gpu:1")
        return cls("cpu" if found[1] == "cpu" else "gpu", int(found[2] or 0))
