"""The MXNet engine of Zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_mxnet.engine import load_parameters as load_parameters
    from zoo_mxnet.symbol import SymbolBlock as SymbolBlock

__version__ = "0.1.0"

#: Name -> the module that has it.
_HOMES = {"SymbolBlock": "symbol", "load_parameters": "engine"}

__all__ = ["SymbolBlock", "load_parameters"]


def __getattr__(name: str) -> Any:
    # Late, because importing MXNet costs more than a second, and reading this package's version must not.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"zoo_mxnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
