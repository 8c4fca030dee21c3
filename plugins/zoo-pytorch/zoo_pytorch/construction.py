"""Networks built without allocating their parameters.

Only parameters go to the meta device. Everything else that a constructor makes (buffers, anchors in lists, values read with
``.item()``) is computed for real: ``torch.device("meta")`` around the whole constructor would leave it empty, and strict
loading does not notice what no parameter file holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy


class _Building(threading.local):
    """What one thread is building: each real parameter with the meta parameter that stands for it.

    The real ones are kept, so that no other object gets their identity meanwhile. None: this thread builds nothing.
    """

    stand_ins: dict[int, tuple[nn.Parameter, nn.Parameter]] | None = None


_building = _Building()


def _unchanged(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


class _Initialisers:
    """What constructors do to parameters; on the meta device it does nothing, and need take no time.

    torch would do nothing too, but for the random ones it first imports its compiler, which takes a second or two.
    """

    uniform_ = normal_ = fill_ = zero_ = _unchanged
    exponential_ = log_normal_ = cauchy_ = geometric_ = bernoulli_ = random_ = _unchanged


class _Unfilled(_Initialisers, torch.Tensor):
    """A stand-in's data, and what is computed from that: views of it are initialised just as well."""


class _StandIn(_Initialisers, nn.Parameter):
    """A parameter on the meta device."""

    @property
    def data(self) -> torch.Tensor:
        """As torch has it."""
        return _data(self).as_subclass(_Unfilled)

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]  # a descriptor, of which torch's types say the value

    def detach(self) -> torch.Tensor:
        """As torch has it."""
        return _data(self).as_subclass(_Unfilled)

    def __deepcopy__(self, memo: dict[int, Any]) -> _StandIn:
        if id(self) not in memo:
            memo[id(self)] = _stand_in_for(self)
        copied: _StandIn = memo[id(self)]
        return copied


def _data(tensor: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.Tensor.data.__get__(tensor)  # type: ignore[attr-defined]  # as above
    return found


def _stand_in_for(parameter: torch.Tensor) -> _StandIn:
    plain = _data(parameter).as_subclass(torch.Tensor)
    if plain.layout == torch.strided:
        # What is like a tensor on the meta device needs that compiler too.
        meta = torch.empty_strided(plain.shape, plain.stride(), dtype=plain.dtype, device="meta")
    else:
        meta = torch.empty_like(plain, device="meta")
    return _StandIn(meta, requires_grad=parameter.requires_grad)


def _to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter | None:
    stand_ins = _building.stand_ins
    if stand_ins is None or (parameter.is_meta and not isinstance(parameter, _Unfilled)) or is_lazy(parameter):
        return None
    if id(parameter) not in stand_ins:
        # One that is registered twice is tied: both names get one stand-in.
        stand_ins[id(parameter)] = (parameter, _stand_in_for(parameter))
    return stand_ins[id(parameter)][1]


# Once and for all threads, since the registry of hooks must not change while another thread walks it; a thread that builds
# nothing pays one attribute look-up a parameter.
register_module_parameter_registration_hook(_to_meta)  # type: ignore[arg-type]  # it may return a parameter, says its docstring


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    outer, _building.stand_ins = _building.stand_ins, {}
    try:
        yield
    finally:
        _building.stand_ins = outer


def build_on_meta(make: Callable[[], Any]) -> Any:
    """Call a function that builds a network, with its parameters on the meta device.

    A constructor that reads a parameter's values cannot run so; it is run again with everything real.
    """
    try:
        with _parameters_on_meta():
            return make()
    except (NotImplementedError, RuntimeError):
        return make()


def left_on_meta(block: nn.Module) -> list[str]:
    """The names of tensors that are still on the meta device, wherever a module holds them."""
    return [f"{path}.{name}" if path else name for path, module in block.named_modules() for name in _names_on_meta(module)]


def _names_on_meta(module: nn.Module) -> Iterator[str]:
    if isinstance(module, torch.jit.ScriptModule):
        # TorchScript holds its tensors itself.
        tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        yield from (name for name, tensor in tensors if tensor.is_meta)
        return
    for key, value in vars(module).items():
        if type(value) not in _PLAIN and key not in _REGISTRIES:
            yield from _meta_in(value, "" if key in _TENSORS else key, set())


#: What almost every attribute of a module is, and no tensor.
_PLAIN = frozenset({bool, int, float, str, type(None)})
#: Where a module keeps its own tensors under names that its users know.
_TENSORS = frozenset({"_parameters", "_buffers"})
#: What every module has for PyTorch's own use: hooks, and children that are looked at themselves.
_REGISTRIES = frozenset(vars(nn.Module())) - _TENSORS


def _meta_in(value: Any, name: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            yield name
    elif isinstance(value, dict | list | tuple | set | frozenset) and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if type(item) not in _PLAIN:
                yield from _meta_in(item, f"{name}.{key}" if name else str(key), seen)
