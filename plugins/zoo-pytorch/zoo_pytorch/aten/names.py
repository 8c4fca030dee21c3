"""Which names a program may use.

PyTorch generates Python source from a graph and runs it, and finds parameters as attributes of modules. So a name from a file
must be a plain identifier that hides nothing, and a path must not lead to what a module has for its own use.
"""

from __future__ import annotations

import keyword
import re
from functools import cache, lru_cache

from torch import fx, nn

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Paths are not deeper than this.
MAX_DEPTH = 32
#: What the generated code calls the network. Whatever else had this name would stand for the network, and its attributes, such
#: as the tensor that a view is of, for the network's own tensors.
_NETWORK = "self"
#: What the generated code refers to by these names.
_IN_GENERATED_CODE = frozenset({_NETWORK, "torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree", "getattr"})
_PREFIXES_IN_GENERATED_CODE = ("zoo_", "math_", "torch_")


def is_node_name(name: str) -> bool:
    """Whether a node may have this name; the generated code may give it another, as it does for builtins."""
    return (
        _IDENTIFIER.fullmatch(name) is not None
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and name != _NETWORK
    )


def is_input_name(name: str) -> bool:
    """Whether an input may have this name, which becomes a parameter of the generated function as it is."""
    return is_node_name(name) and name not in _IN_GENERATED_CODE and not name.startswith(_PREFIXES_IN_GENERATED_CODE)


def is_path(path: str) -> bool:
    """Whether a tensor may stand under this dotted path in a network."""
    segments = path.split(".", MAX_DEPTH)
    return len(segments) <= MAX_DEPTH and _is_segment(segments[0], is_root=True) and all(map(_is_segment, segments[1:]))


@lru_cache(4096)
def _is_segment(segment: str, *, is_root: bool = False) -> bool:
    return (
        _SEGMENT.fullmatch(segment) is not None
        and not keyword.iskeyword(segment)
        and not segment.startswith("__")
        and segment not in _taken(is_root=is_root)
    )


@cache
def _taken(*, is_root: bool) -> frozenset[str]:
    """The attributes that a module has by itself; ``_extra_state`` is where a block keeps its program."""
    module = fx.GraphModule(nn.Module(), fx.Graph()) if is_root else nn.Module()
    return frozenset({*dir(module), "_extra_state", _NETWORK})
