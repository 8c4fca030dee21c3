"""Parameter files to and from blocks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from zoo_core import LoadReport, ParameterError, ParameterFile, read_parameters
from zoo_pytorch.construction import left_on_meta

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Tensors under this prefix are not parameters: an author's golden inputs and outputs.
RESERVED = "zoo."
#: How many names an error lists.
SHOWN = 8


def load_parameters(
    block: nn.Module, source: ParameterFile | Path | bytes, *, strict: bool, dtype: torch.dtype | None, device: torch.device
) -> LoadReport:
    """Fill a block from a parameter file.

    Parameters on the meta device are replaced by the mapped tensors of the file, which keep the file's dtype; those of a block
    that already has values are written into, so that an optimizer made earlier keeps them.

    Raises:
        ParameterError: Names or shapes differ (when strict), or a tensor has no value afterwards.
    """
    file = read_parameters(source)
    tensors = {name: _tensor(file, name) for name in file.tensors if not name.startswith(RESERVED)}
    own = block.state_dict(keep_vars=True)
    is_empty = any(isinstance(value, Tensor) and value.is_meta for value in own.values())
    _share_tied(tensors, own, _aliases(file))
    mismatched = {name: tensor for name, tensor in tensors.items() if name in own and not _fits(own[name], tensor)}
    for name in mismatched:
        del tensors[name]
    if not strict:
        _initialise(block, [name for name in own if name not in tensors])
    # The names are compared by PyTorch itself, since a module may rename old ones while it loads.
    left = block.load_state_dict(tensors, strict=False, assign=is_empty)
    report = LoadReport(
        missing=tuple(name for name in left.missing_keys if name not in mismatched),
        unexpected=tuple(left.unexpected_keys),
        mismatched=tuple(
            f"{name} {_described(own[name])} in the block, {_described(mismatched[name])} in the file" for name in mismatched
        ),
    )
    if strict and report:
        raise _misfit(file, report)
    _check_filled(block)
    if dtype is not None or device.type != "cpu" or not is_empty:
        block.to(device=device, dtype=dtype)
    return report


def save_parameters(
    block: nn.Module, target: Path | BinaryIO, header: Mapping[str, str], extra: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    """Write a block's state as safetensors; a tied tensor is written once, its other names into ``zoo.aliases``.

    Raises:
        ParameterError: A name is reserved, or a part of the state is no tensor.
    """
    tensors, aliases = _untied(block.state_dict())
    for name in tensors:
        if name.startswith(RESERVED):
            raise ParameterError(f"parameter {name!r}: names that begin with {RESERVED!r} are reserved")
    tensors |= {name: torch.from_numpy(array.copy()) for name, array in extra.items()}
    metadata = dict(header) | ({"zoo.aliases": json.dumps(aliases)} if aliases else {})
    if isinstance(target, Path):
        safetensors.torch.save_file(tensors, target, metadata)
    else:
        target.write(safetensors.torch.save(tensors, metadata))


def _tensor(file: ParameterFile, name: str) -> Tensor:
    """A tensor over the mapped file."""
    stored = file.tensors[name]
    dtype = getattr(torch, stored.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ParameterError(f"{file.name}: tensor {name!r} has the dtype {stored.dtype}, which this PyTorch lacks")
    return torch.from_numpy(stored.raw()).view(dtype)


def _aliases(file: ParameterFile) -> dict[str, str]:
    try:
        aliases = json.loads(file.header.get("zoo.aliases", "{}"))
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{file.name}: header entry zoo.aliases is no JSON: {error}") from error
    if not isinstance(aliases, dict) or not all(isinstance(name, str) for name in aliases.values()):
        raise ParameterError(f"{file.name}: header entry zoo.aliases: expected an object of names")
    return aliases


def _share_tied(tensors: dict[str, Tensor], own: Mapping[str, Any], aliases: Mapping[str, str]) -> None:
    """Give all names of one parameter the same object, so that assigning does not untie them."""
    for name, original in aliases.items():
        if name not in tensors and original in tensors:
            tensors[name] = tensors[original]
    names_of: dict[int, list[str]] = {}
    for name, value in own.items():
        names_of.setdefault(id(value), []).append(name)
    for names in names_of.values():
        present = [name for name in names if name in tensors]
        if len(names) > 1 and present and isinstance(own[names[0]], nn.Parameter):
            shared = nn.Parameter(tensors[present[0]], requires_grad=own[names[0]].requires_grad)
            tensors.update(dict.fromkeys(names, shared))


def _fits(own: Any, tensor: Tensor) -> bool:
    """Whether a tensor can stand for a block's own: the same shape, and a number of the same kind."""
    if not isinstance(own, Tensor) or is_lazy(own):
        return True
    return own.shape == tensor.shape and own.is_floating_point() == tensor.is_floating_point()


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}[{', '.join(map(str, tensor.shape))}]"


def _initialise(block: nn.Module, names: Iterable[str]) -> None:
    """Give parameters that the file lacks the values of a fresh network, where their module knows how."""
    for path in {name.rpartition(".")[0] for name in names}:
        module = block.get_submodule(path)
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)) and hasattr(module, "reset_parameters"):
            module.to_empty(device="cpu", recurse=False)
            module.reset_parameters()  # type: ignore[operator]  # a convention of modules, not part of their type


def _check_filled(block: nn.Module) -> None:
    empty = left_on_meta(block)
    if empty:
        raise ParameterError(
            f"{_listed(empty)} of {type(block).__name__} got no value: it was computed from a parameter while the network was "
            "built, and no parameter file holds it; register it as a buffer or parameter",
            missing=empty,
        )


def _misfit(file: ParameterFile, report: LoadReport) -> ParameterError:
    parts = [
        f"{what}: {_listed(names)}"
        for what, names in (
            ("missing in the file", report.missing),
            ("unexpected in the file", report.unexpected),
            ("different shapes", report.mismatched),
        )
        if names
    ]
    return ParameterError(
        f"{file.name} does not fit the block; {'; '.join(parts)}. strict=False (--not-strict) loads what fits",
        missing=report.missing,
        unexpected=report.unexpected,
        mismatched=[name.partition(" ")[0] for name in report.mismatched],
    )


def _listed(names: Iterable[str]) -> str:
    texts = list(names)
    return ", ".join(texts[:SHOWN]) + (f", and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def _untied(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A state whose tensors share no memory, with the names that were left out."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    storages: set[int] = set()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ParameterError(f"{name!r} of the block is {type(value).__name__}, and only tensors can be saved")
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else (name,)
        if place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        storage = value.untyped_storage().data_ptr()
        # A view of a part of another tensor is saved as a tensor of its own.
        tensors[name] = value.detach().clone().contiguous() if storage in storages else value.detach().contiguous()
        storages.add(storage)
    return tensors, aliases
