"""The files of ``tools/``, which are no package, as modules."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def script(name: str) -> ModuleType:
    """A file of ``tools/`` by its name without suffix; it is loaded once."""
    known = f"zoo_tools_{name}"
    if known not in sys.modules:
        spec = spec_from_file_location(known, TOOLS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        # Where its dataclasses look for the meaning of their annotations.
        sys.modules[known] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]
