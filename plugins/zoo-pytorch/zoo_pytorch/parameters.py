"""Parameter files to and from blocks."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from zoo_core import LoadReport, ParameterError, ParameterFile, listing, printable, read_model_file, write_parameters
from zoo_pytorch.assigning import assign_plainly
from zoo_pytorch.construction import left_on_meta
from zoo_pytorch.holders import STATE, Filled, empty_programs, fill, programs_of, unchanged_programs
from zoo_pytorch.programs import as_bytes, is_same, only_data
from zoo_pytorch.symbol import SymbolBlock
from zoo_pytorch.weights import like, place, tensors_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from zoo_core import StoredTensor


def load_parameters(
    block: nn.Module, source: ParameterFile | Path | bytes, *, strict: bool, dtype: torch.dtype | None, device: torch.device
) -> LoadReport:
    """Fill a block from a parameter file; it is unchanged where an error is raised and ``strict`` was asked.

    Its SymbolBlocks take the file's programs first. A weight that such a program shares with another tensor is tied to it.

    Parameters on the meta device are replaced by the mapped tensors of the file, which keep the file's dtype; those of a block
    that already has values are written into, so that an optimizer made earlier keeps them.

    Raises:
        ParameterError: Names or shapes differ (when strict), two names of one parameter have different values in the file, or
            a tensor has no value afterwards.
    """
    file = read_model_file(source)
    with only_data(file.is_data), unchanged_programs(block):
        filled = fill(block, file)
        if set(filled.holders) == set(file.tensors) == {STATE} and len(filled.values) == len(filled.weights):
            # The whole file was the program, which has its weights; what TorchScript would say of its state takes long.
            block.to(device=device, dtype=dtype)
            return LoadReport()
        return _filled_from(block, file, filled, strict=strict, dtype=dtype, device=device)


def _filled_from(
    block: nn.Module, file: ParameterFile, filled: Filled, *, strict: bool, dtype: torch.dtype | None, device: torch.device
) -> LoadReport:
    """Load the weights of a block whose SymbolBlocks have their programs."""
    own = block.state_dict(keep_vars=True)
    tensors, ties = _tensors(file, own, filled)
    mismatched = {name: tensor for name, tensor in tensors.items() if name in own and not _fits(own[name], tensor)}
    others = [value for name, value in own.items() if name not in filled.weights and name not in filled.holders]
    # What no program brought decides; of a program alone, nobody can hold a parameter yet.
    is_empty = any(isinstance(value, Tensor) and value.is_meta for value in others) or not others
    # Where names differ, only PyTorch knows whether a module renames old ones, and it compares while it writes.
    may_fail = bool(mismatched) or own.keys() != tensors.keys() or not all(isinstance(value, Tensor) for value in own.values())
    for name in mismatched:
        del tensors[name]
    with _unchanged_on_failure(block, copies=strict and may_fail and not is_empty):
        if not is_empty:
            _assign_new(block, tensors, own, filled, ties)
        if not strict:
            _initialise(block, [name for name in own if name not in tensors and name not in filled.weights])
        missing, unexpected = _load(block, tensors, file.name, assign=is_empty, programs=filled.holders.keys())
        missing += [name for name in empty_programs(block) if name not in missing]
        report = LoadReport(
            missing=tuple(name for name in missing if name not in mismatched),
            unexpected=tuple(unexpected),
            mismatched=tuple(
                f"{name} {_described(own[name])} in the block, {_described(tensor)} in the file"
                for name, tensor in mismatched.items()
            ),
        )
        if strict and report:
            raise _misfit(file, report, mismatched)
        _check_filled(block, file, own)
        if dtype is not None or device.type != "cpu" or not is_empty:
            block.to(device=device, dtype=dtype)
    return report


def save_parameters(
    block: nn.Module, target: Path | BinaryIO, header: Mapping[str, str], extra: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    """Write a block's state as safetensors; a tied tensor is written once, its other names into ``zoo.aliases``.

    Raises:
        ParameterError: A name is reserved, or a part of the state is no tensor or has no value.
    """
    state = block.state_dict()
    _refuse_unwritable(state)
    found = programs_of(block)
    if empty := empty_programs(block):
        raise ParameterError(f"without a program yet: {listing(empty)}. Load parameters first", missing=empty)
    tensors, aliases = _untied(state | _once({name: state[name] for name in found}))
    write_parameters(
        target,
        tensors,
        header,
        serializer=safetensors.torch,
        aliases=aliases,
        programs={name: as_bytes(state[name]) for name in found},
        extra={name: torch.from_numpy(array.copy()) for name, array in extra.items()},
    )


def _tensors(file: ParameterFile, own: Mapping[str, Any], filled: Filled) -> tuple[dict[str, Tensor], list[list[str]]]:
    """The file's tensors by all their names, those that are tied as one object; and which names are tied."""
    tensors = {name: _tensor(file, stored) for name, stored in file.state.items()}
    tensors |= {name: value for name, value in filled.values.items() if name not in tensors}
    ties = _tied_names(file, tensors, own, filled)
    _share_tied(file, tensors, own, ties)
    # A program is what its holder made of it, so that the holder sees that it has it.
    programs = {name: program for name, program in filled.programs.items() if name in own}
    _separate_untied({name: tensor for name, tensor in tensors.items() if name not in programs}, tensors)
    return tensors | programs, ties


def _tensor(file: ParameterFile, stored: StoredTensor) -> Tensor:
    """A tensor over the mapped file."""
    dtype = getattr(torch, stored.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ParameterError(f"{file.name}: tensor {stored.name!r} has the dtype {stored.dtype}, which this PyTorch lacks")
    return torch.from_numpy(stored.raw()).view(dtype)


def _tied_names(file: ParameterFile, tensors: Mapping[str, Tensor], own: Mapping[str, Any], filled: Filled) -> list[list[str]]:
    """The names of each tensor that has several: those that the block ties, and those that the file ties to a new program's.

    A structure with an empty holder in it cannot say that a weight of the program is tied to another, so the file does.
    """
    group_of: dict[str, list[str]] = {}
    by_object: dict[int, list[str]] = {}
    for name, value in own.items():
        if isinstance(value, Tensor):
            group_of[name] = by_object.setdefault(id(value), [])
            group_of[name].append(name)
    for name, stored in file.aliases.items():
        if name in group_of and stored in group_of and not filled.weights.isdisjoint((name, stored)):
            one, other = group_of[stored], group_of[name]
            if one is not other and all(_stands_for(own[one[0]], own[each], tensors[stored]) for each in (*one, *other)):
                one.extend(other)
                group_of.update(dict.fromkeys(other, one))
    return [names for names in {id(group): group for group in group_of.values()}.values() if len(names) > 1]


def _stands_for(own: Tensor, other: Tensor, tensor: Tensor) -> bool:
    return isinstance(own, nn.Parameter) == isinstance(other, nn.Parameter) and _fits(other, tensor)


def _share_tied(file: ParameterFile, tensors: dict[str, Tensor], own: Mapping[str, Any], ties: Iterable[list[str]]) -> None:
    """Give all names of one parameter the same object, so that assigning does not untie them."""
    for names in ties:
        present = [name for name in names if name in tensors]
        if not present:
            continue
        file.check_tied([name for name in present if name in file.tensors or name in file.aliases])
        shared, held = tensors[present[0]], own[names[0]]
        if isinstance(held, nn.Parameter) and _fits(held, shared):
            shared = nn.Parameter(shared, requires_grad=held.requires_grad)
        tensors.update(dict.fromkeys(names, shared))


def _separate_untied(given: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Give each parameter memory of its own: two over the same bytes of the file would change together in training."""
    first: dict[int, Tensor] = {}
    for name, tensor in given.items():
        if (
            not isinstance(tensor, nn.Parameter)
            and tensor.numel()
            and first.setdefault(tensor.data_ptr(), tensor) is not tensor
        ):
            tensors[name] = tensor.clone()


def _assign_new(
    block: nn.Module, tensors: dict[str, Tensor], own: Mapping[str, Any], filled: Filled, ties: Iterable[list[str]]
) -> None:
    """Put the weights of new programs where they belong, in a block whose other parameters are to be written into.

    They become the tensors of the file, or the block's own parameter that they are tied to.
    """
    group_of = {name: names for names in ties for name in names}
    for name in filled.weights:
        if name in tensors:
            kept = [own[other] for other in group_of.get(name, ()) if other not in filled.weights]
            tensor = kept[0] if kept else tensors[name]
            place(block, name, tensor if isinstance(tensor, nn.Parameter) else like(own[name], tensor))
    placed = block.state_dict(keep_vars=True)
    # Copying a tensor to itself does nothing.
    tensors.update({name: placed[name] for name in filled.weights if name in tensors})


@contextmanager
def _unchanged_on_failure(block: nn.Module, *, copies: bool) -> Iterator[None]:
    """Put back what a block holds where loading it fails.

    Args:
        copies: Values may be overwritten before it fails, so they are kept too; else it is enough to know the tensors.
    """
    scripts = [module for module in block.modules() if isinstance(module, torch.jit.ScriptModule)]
    registries: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (registry, dict(registry))
        for module in block.modules()
        if not isinstance(module, torch.jit.ScriptModule)
        for registry in (module._parameters, module._buffers)
    ]
    # Those of TorchScript are no dictionaries, only look like some.
    compiled = [(module, name, tensor) for module in scripts for name, tensor in tensors_of(module, recurse=False).items()]
    tensors = [*(tensor for _, own in registries for tensor in own.values()), *(tensor for _, _, tensor in compiled)]
    held = {id(tensor): tensor for tensor in tensors if tensor is not None and not is_lazy(tensor)}
    values = [(tensor, tensor.data, tensor.detach().clone() if copies else None) for tensor in held.values()]
    try:
        yield
    except BaseException:
        for registry, own in registries:
            registry.clear()
            registry.update(own)
        for module, name, tensor in compiled:
            place(module, name, tensor)
        for tensor, data, copy in values:
            tensor.data = data
            if copy is not None:
                data.copy_(copy)
        raise


def _load(
    block: nn.Module, tensors: Mapping[str, Tensor], file: str, *, assign: bool, programs: Collection[str]
) -> tuple[list[str], list[str]]:
    """Fill a block with what fits; the names that are missing and those that are unexpected."""
    try:
        # The holders have their programs already.
        if assign and assign_plainly(block, tensors, also_plain={SymbolBlock._load_from_state_dict}, others=programs):
            return [], []
        left = block.load_state_dict(tensors, strict=False, assign=assign)
    except RuntimeError as error:
        raise ParameterError(f"{file} does not fit the block: {printable(' '.join(str(error).split()))}") from error
    return left.missing_keys, left.unexpected_keys


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


def _check_filled(block: nn.Module, file: ParameterFile, own: Container[str]) -> None:
    empty = left_on_meta(block)
    lacking = [name for name in empty if name in own]
    if lacking:
        raise ParameterError(
            f"{listing(lacking)} of {type(block).__name__} got no value: {file.name} lacks it, or has it in another shape, and "
            "no fresh network has a value for it",
            missing=lacking,
        )
    if empty:
        raise ParameterError(
            f"{listing(empty)} of {type(block).__name__} got no value: it was computed from a parameter while the network was "
            "built, and no parameter file holds it; register it as a buffer or parameter",
            missing=empty,
        )


def _misfit(file: ParameterFile, report: LoadReport, mismatched: Iterable[str]) -> ParameterError:
    parts = [
        f"{what}: {listing(names)}"
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
        mismatched=tuple(mismatched),
    )


def _refuse_unwritable(state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ParameterError(f"{name!r} of the block is {type(value).__name__}, and only tensors can be saved")
    empty = [name for name, value in state.items() if is_lazy(value) or value.is_meta]
    if empty:
        raise ParameterError(f"without a value yet: {listing(empty)}. Load parameters first", missing=empty)


def _once(programs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same programs, equal ones as one tensor, which is stored once."""
    first: list[Tensor] = []
    for program in programs.values():
        if not any(is_same(program, other) for other in first):
            first.append(program)
    return {name: next(other for other in first if is_same(program, other)) for name, program in programs.items()}


def _untied(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A state whose tensors share no memory, with the names that were left out."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    storages: set[tuple[torch.device, int]] = set()
    for name, value in state.items():
        # An address means something on its device only.
        place = (value.device, value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else (name,)
        if place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        storage = (value.device, value.untyped_storage().data_ptr())
        # A view of a part of another tensor is saved as a tensor of its own.
        tensors[name] = value.detach().clone().contiguous() if storage in storages else value.detach().contiguous()
        storages.add(storage)
    return tensors, aliases
