"""Programs of ``torch.export``: an exported graph in a ``.pt2`` archive, for what ``torch.aten`` cannot express.

It keeps the mode it was exported in: `train` and `eval` change nothing in it. What is written has no weights, no sample inputs
and no paths of the machine it was exported on.
"""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from zoo_core import ParameterError
from zoo_pytorch import cutting
from zoo_pytorch.archives import written
from zoo_pytorch.inspection import CONSTANTS, DTYPES, FIXED, MODEL, SAMPLES, WEIGHTS, ExportedArchive, Payload, inspect_exported
from zoo_pytorch.weights import place, tensors_of

CODES: Mapping[str, int] = {name: code for code, (name, _) in DTYPES.items()}
STRIDED = 7


def write_exported(program: ExportedProgram) -> bytes:
    """The archive of a program without its weights; equal for equal programs.

    Raises:
        ParameterError: The program holds what no file may hold, such as objects of classes of its own.
    """
    bare = copy.copy(program)
    # What the two properties of an ExportedProgram give; only the second can be set.
    bare._state_dict = {name: _on_meta(tensor) for name, tensor in program.state_dict.items()}
    bare.example_inputs = None
    stream = io.BytesIO()
    try:
        torch.export.save(bare, stream)
    except Exception as error:  # whatever an operator's serializer raises
        raise ParameterError(f"the exported program cannot be saved: {error}") from error
    archive = inspect_exported(memoryview(stream.getvalue()))
    # On meta all of them lie at one address.
    return _written(archive, {name: id(tensor) for name, tensor in program.state_dict.items()})


def read_exported(content: memoryview) -> tuple[nn.Module, bytes, bool]:
    """The network of an archive, the archive without weights, and whether the weights were inside.

    Its weights are on the meta device where the archive has none, else views of the archive.

    Raises:
        ParameterError: It is damaged, holds what could run when it is loaded, or torch cannot build its graph.
    """
    archive = inspect_exported(content)
    _check_samples(archive.samples)
    bare = _written(archive, {name: payload.place for name, payload in archive.weights.items()})
    network = network_of(_loaded(bare))
    _tie(network, archive.weights)
    is_complete = not any(payload.is_empty for payload in archive.weights.values())
    if is_complete:
        _fill(network, archive.weights)
    return network, bare, is_complete


def is_training(program: ExportedProgram) -> bool:
    """Whether a network was exported in training mode: one of its batch norms or dropouts is told to train."""
    for node in program.graph.nodes:
        for argument, value in zip(getattr(getattr(node.target, "_schema", None), "arguments", ()), node.args, strict=False):
            if argument.name in ("training", "train") and value is True:
                return True
    return False


def read_whole(content: memoryview, tensors: Mapping[str, Tensor]) -> ExportedProgram:
    """The exported program of an archive without weights, with these; the archive must have passed the inspection."""
    program = _loaded(bytes(content))
    for name in program.state_dict:
        program.state_dict[name] = tensors.get(name, program.state_dict[name])
    return program


def output_names(content: memoryview) -> tuple[str, ...]:
    """The names at which a program can be cut, in the order in which they are computed."""
    return cutting.output_names(inspect_exported(content))


def cut_exported(content: memoryview, name: str | None) -> bytes:
    """A program without weights that ends at a node; None: before the last operator."""
    archive = inspect_exported(content)
    ending = cutting.cut_at(archive, cutting.before_last_layer(archive) if name is None else name)
    return _written(ending, {weight: payload.place for weight, payload in ending.weights.items()})


def network_of(program: ExportedProgram) -> fx.GraphModule:
    """A program as a module: its parameters are the program's own, its constants are moved and converted with it."""
    # torch would detach them as well, and warn of each; warnings are hushed for all threads or none.
    bare = copy.copy(program)
    bare._constants = _detached(program.constants)
    # Guards are Python text that torch would compile; the ranges of the inputs' shapes are checked without.
    network = bare.module(check_guards=False)
    # They raise; the mode of the graph is fixed, and a parent's mode must be free.
    del network.train, network.eval
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                delattr(module, name)
                module.register_buffer(name, value, persistent=False)
    return network


def _detached(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Constants without gradients, those that are one tensor as one tensor."""
    made = {id(value): value.detach() for value in constants.values() if isinstance(value, Tensor) and value.requires_grad}
    return {name: made.get(id(value), value) for name, value in constants.items()}


def _on_meta(tensor: Tensor) -> Tensor:
    meta = torch.empty_like(tensor, device="meta", memory_format=torch.contiguous_format)
    return nn.Parameter(meta, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else meta


def _written(archive: ExportedArchive, places: Mapping[str, Hashable]) -> bytes:
    """An archive of the same graph, its weights empty; those of one place, which are tied, stand in one storage."""
    order = {place: number for number, place in enumerate(dict.fromkeys(places[name] for name in sorted(places)))}
    storages = {name: f"weight_{order[places[name]]}" for name in sorted(places)}
    weights = {name: _described(archive.weights[name], storages[name], "meta") for name in storages}
    constants = {name: _described(payload, payload.entry, "cpu") for name, payload in archive.constants.items()}
    return written(
        dict(FIXED)
        | {".data/version": b"6"}
        | {f"data/weights/{entry}": b"" for entry in storages.values()}
        | {f"data/constants/{payload.entry}": payload.storage for payload in archive.constants.values()}
        | {WEIGHTS: _as_json({"config": weights}), CONSTANTS: _as_json({"config": constants})}
        | {MODEL: _as_json(archive.document), SAMPLES: b""}
    )


def _as_json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _described(payload: Payload, entry: str, device: str) -> dict[str, Any]:
    """A tensor as the schema has it; an empty one is contiguous."""
    steps = payload.strides if device == "cpu" else torch.empty(payload.shape, device="meta").stride()
    meta = {
        "dtype": CODES[payload.dtype],
        "sizes": [{"as_int": size} for size in payload.shape],
        "requires_grad": payload.requires_grad,
        "device": {"type": device, "index": None},
        "strides": [{"as_int": step} for step in steps],
        "storage_offset": {"as_int": payload.offset if device == "cpu" else 0},
        "layout": STRIDED,
    }
    return {"path_name": entry, "is_param": payload.is_parameter, "use_pickle": False, "tensor_meta": meta}


def _loaded(content: bytes) -> ExportedProgram:
    try:
        from torch.export.pt2_archive._package import load_pt2
    except ImportError as error:
        raise ParameterError(f"exported programs (.pt2) need PyTorch 2.8 or later; this is {torch.__version__}") from error
    try:
        # `torch.export.load` would try the layout of older releases next, which is pickled.
        return load_pt2(io.BytesIO(content)).exported_programs["model"]
    except Exception as error:  # a graph that is none fails anywhere in torch
        reason = " ".join(str(error).split())[-300:]
        raise ParameterError(f"PyTorch {torch.__version__} cannot build the exported program (.pt2): {reason}") from error


def _check_samples(samples: memoryview) -> None:
    if not samples:
        return
    try:
        torch.load(io.BytesIO(samples), weights_only=True)
    except Exception as error:  # whatever a pickle that is none raises
        raise ParameterError(
            "the exported program (.pt2) is not loaded: its sample inputs are no tensors; unpickling them could run anything"
        ) from error


def _tie(network: nn.Module, weights: Mapping[str, Payload]) -> None:
    """Make weights that stand for one tensor one object again; torch reads each by itself."""
    held = tensors_of(network)
    first: dict[Hashable, Tensor] = {}
    for name, payload in weights.items():
        if name in held:
            place(network, name, first.setdefault(payload.place, held[name]))


def _fill(network: nn.Module, weights: Mapping[str, Payload]) -> None:
    filled: dict[int, Tensor] = {}
    held = tensors_of(network)
    for name, payload in weights.items():
        if name not in held:
            continue
        own = held[name]
        if id(own) not in filled:
            tensor = _tensor(payload)
            filled[id(own)] = nn.Parameter(tensor, own.requires_grad) if isinstance(own, nn.Parameter) else tensor
        place(network, name, filled[id(own)])


def _tensor(payload: Payload) -> Tensor:
    """A payload over the bytes of the archive."""
    dtype: torch.dtype = getattr(torch, payload.dtype)
    if not math.prod(payload.shape):
        return torch.empty(payload.shape, dtype=dtype)
    whole = len(payload.storage) // dtype.itemsize * dtype.itemsize
    content = payload.storage[:whole]
    # Bytes of a program that came in memory may be read-only, and torch would warn at each tensor.
    flat = torch.frombuffer(bytearray(content) if content.readonly else content, dtype=torch.uint8)
    values = flat.clone().view(dtype) if flat.data_ptr() % dtype.itemsize else flat.view(dtype)
    return values.as_strided(payload.shape, payload.strides, payload.offset)


def fixed_dtype(network: nn.Module) -> str:
    """The first node that makes values of a floating dtype that it names; "" where there is none."""
    for node in _nodes(network):
        found = [
            value for value in _values((node.args, node.kwargs)) if isinstance(value, torch.dtype) and value.is_floating_point
        ]
        if found:
            return f"{node.name} ({node.target}, {str(found[0]).removeprefix('torch.')})"
    return ""


def retarget(network: nn.Module, device: torch.device) -> None:
    """Let operators that name a device make their values on another one."""
    moved = {module for module in _graphs(network) if _move(module, device)}
    for module in moved:
        module.recompile()


def _move(module: fx.GraphModule, device: torch.device) -> bool:
    named = [
        node
        for node in module.graph.nodes
        if any(isinstance(value, torch.device) and value != device for value in _values((node.args, node.kwargs)))
    ]
    for node in named:
        node.args, node.kwargs = fx.node.map_aggregate(
            (node.args, node.kwargs), lambda value: device if isinstance(value, torch.device) else value
        )
    return bool(named)


def _graphs(network: nn.Module) -> Iterator[fx.GraphModule]:
    yield from (module for module in network.modules() if isinstance(module, fx.GraphModule))


def _nodes(network: nn.Module) -> Iterator[fx.Node]:
    for module in _graphs(network):
        yield from module.graph.nodes


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _values(item)
    elif isinstance(value, Mapping):
        yield from _values(tuple(value.values()))
    else:
        yield value
