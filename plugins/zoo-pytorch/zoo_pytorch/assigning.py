"""Tensors put where a block's own are: what ``load_state_dict(assign=True)`` does, where that has nothing else to do.

torch looks through all remaining names at each module and reads every tensor's description several times; for names and shapes
that are known to agree, that is most of the time of a load. Whatever a class or a hook wants to do is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_pytorch.weights import like

#: Batch norms add a counter that old files lack, which is nothing where the names agree.
_PLAIN = frozenset({nn.Module._load_from_state_dict, nn.BatchNorm2d._load_from_state_dict})


def assign_plainly(
    block: nn.Module, tensors: Mapping[str, Tensor], *, also_plain: Collection[Callable[..., Any]], others: Collection[str]
) -> bool:
    """Replace all parameters and saved buffers of a block.

    Args:
        block: It is unchanged where False is returned.
        tensors: By name, of the right shapes; one that is a parameter becomes the block's own parameter.
        also_plain: Further ``_load_from_state_dict`` that have nothing to do here.
        others: Names among `tensors` that are no parameters or buffers, which are left out.

    Returns:
        Whether it was done; False where only torch can do it, or names differ.
    """
    if type(block).load_state_dict is not nn.Module.load_state_dict or torch.__future__.get_swap_module_params_on_conversion():
        return False
    modules = list(block.named_modules(remove_duplicate=False))
    if not all(_is_plain(module, also_plain) for _, module in modules):
        return False
    places = list(_places(modules))
    if {name for name, _, _ in places} != tensors.keys() - set(others):
        return False
    for name, registry, key in places:
        held, tensor = registry[key], tensors[name]
        if isinstance(tensor, nn.Parameter):
            registry[key] = tensor.requires_grad_(held.requires_grad) if isinstance(held, nn.Parameter) else tensor
        else:
            registry[key] = like(held, tensor)
    return True


def _is_plain(module: nn.Module, also_plain: Collection[Callable[..., Any]]) -> bool:
    kind = type(module)
    return (
        (kind._load_from_state_dict in _PLAIN or kind._load_from_state_dict in also_plain)
        and kind.__setattr__ is nn.Module.__setattr__
        and not module._load_state_dict_pre_hooks
        and not module._load_state_dict_post_hooks
        and not isinstance(module, torch.jit.ScriptModule)
    )


def _places(modules: Collection[tuple[str, nn.Module]]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The name of each tensor in the state, the registry that holds it and its key there."""
    for path, module in modules:
        prefix = f"{path}." if path else ""
        registries: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for registry in registries:
            for key, value in registry.items():
                if value is not None and key not in module._non_persistent_buffers_set:
                    yield f"{prefix}{key}", registry, key
