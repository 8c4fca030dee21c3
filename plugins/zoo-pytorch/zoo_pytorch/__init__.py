"""The PyTorch engine of Zoo.

Importing this package imports no PyTorch; its modules `engine`, `symbol` and `networks` do.
A factory imports its network when it builds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_pytorch.symbol import SymbolBlock as SymbolBlock
    from zoo_pytorch.symbol import check_conversion as check_conversion

__version__ = "0.1.0"

__all__ = ["SymbolBlock", "check_conversion"]


def __getattr__(name: str) -> Any:
    # Late, because importing PyTorch costs more than a second, and reading this package's version must not.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zoo_pytorch import symbol

    return getattr(symbol, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
