"""The MXNet engine of Zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_mxnet.engine import load_parameters as load_parameters

__version__ = "0.1.0"

__all__ = ["load_parameters"]


def __getattr__(name: str) -> Any:
    # Late, because importing MXNet costs more than a second, and reading this package's version must not.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zoo_mxnet import engine

    return getattr(engine, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
