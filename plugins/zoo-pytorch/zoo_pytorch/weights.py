"""The tensors of a network by name, whether Python or TorchScript holds them, and each exchanged for another."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def tensors_of(network: nn.Module, *, recurse: bool = True) -> dict[str, Tensor]:
    """All parameters and buffers by all their names, also such as no state dict has.

    Args:
        network: A module of Python or TorchScript.
        recurse: Also those of its children.
    """
    return {
        **dict(network.named_parameters(recurse=recurse, remove_duplicate=False)),
        **dict(network.named_buffers(recurse=recurse, remove_duplicate=False)),
    }


def place(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a network holds a parameter or buffer of this name; the object itself is held then."""
    path, _, leaf = name.rpartition(".")
    holder = module_at(network, path)
    if isinstance(holder, torch.jit.ScriptModule):
        setattr(holder, leaf, tensor)
    else:
        registry = holder._parameters if leaf in holder._parameters else holder._buffers
        registry[leaf] = tensor  # type: ignore[assignment]  # a parameter where one was


def module_at(network: nn.Module, path: str) -> nn.Module:
    """The module at a path, "" for the network itself.

    Raises:
        KeyError: None is there.
    """
    # TorchScript's modules have no `get_submodule`.
    found = network
    for part in path.split(".") if path else ():
        found = found._modules[part]  # type: ignore[assignment]  # a module where a path leads
    return found


def tensor_at(network: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of this name."""
    path, _, leaf = name.rpartition(".")
    found: Tensor = getattr(module_at(network, path), leaf)
    return found


def empty(network: nn.Module, names: set[str]) -> None:
    """Put the named tensors on the meta device, where they take no memory; tied ones stay tied."""
    emptied: dict[int, Tensor] = {}
    for name, tensor in tensors_of(network).items():
        if name in names:
            if id(tensor) not in emptied:
                emptied[id(tensor)] = like(tensor, torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))
            place(network, name, emptied[id(tensor)])


def like(held: Tensor, tensor: Tensor) -> Tensor:
    """A tensor as what stands in its place: a parameter for a parameter."""
    return nn.Parameter(tensor, requires_grad=held.requires_grad) if isinstance(held, nn.Parameter) else tensor
