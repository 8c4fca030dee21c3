"""SymbolBlock: a block that holds a program, and keeps it among its own parameters."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import ParameterError, bytes_text
from zoo_pytorch import programs
from zoo_pytorch.factories import Symbol
from zoo_pytorch.programs import Given, Program
from zoo_pytorch.weights import like, place, tensors_of

#: The child whose parameters the program's weights are.
CHILD = "program"
EMPTY = "this SymbolBlock is empty: load parameters first, or make one with SymbolBlock.from_program"

#: torch converts one module after the other, and a value that was rounded has no way back.
HALF_CONVERTED = (
    "In a network, the modules before this one are converted already: load their parameters again. "
    "zoo_pytorch.check_conversion(network, dtype) asks before anything is"
)


def check_conversion(network: nn.Module, dtype: torch.dtype) -> None:
    """Refuse a conversion that one of a network's programs would refuse, while nothing is converted yet.

    torch converts a network module by module: where a program refuses ``network.half()``, the modules before it are converted.

    Args:
        network: With SymbolBlocks anywhere in it.
        dtype: A floating dtype to which it is about to be converted.

    Raises:
        ParameterError: The graph of a program names a floating dtype; the message names the block and the node.
    """
    for path, module in network.named_modules():
        if isinstance(module, SymbolBlock) and module._program is not None:
            try:
                module._program.check_conversion(lambda tensor: tensor.to(dtype))
            except ParameterError as error:
                raise ParameterError(f"{path or 'the block'}: {error}") from error


class SymbolBlock(nn.Module):
    """A block whose network is a program: an exported graph or TorchScript.

    The program travels with the parameters, in the state dictionary under ``_extra_state``, so that a structure with an empty
    ``SymbolBlock()`` in it is recovered from one file. The weights are ordinary parameters under ``program.``, stored once:
    the program itself has none.

    >>> import torch
    >>> from torch import nn
    >>> backbone = torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    >>> net = nn.Sequential(SymbolBlock.from_program(backbone), nn.Linear(2, 1))
    >>> list(net.state_dict())
    ['0._extra_state', '0.program.weight', '0.program.bias', '1.weight', '1.bias']
    >>> other = nn.Sequential(SymbolBlock(), nn.Linear(2, 1))
    >>> other.load_state_dict(net.state_dict())
    <All keys matched successfully>
    >>> x = torch.ones(1, 3)
    >>> torch.equal(other(x), net(x))
    True

    `train` and `eval` switch a ``torch.aten`` program, and TorchScript that was scripted; other programs keep the mode in which
    they were made (`mode`). Pickling and copying a block take the program along. A program whose graph names a floating dtype
    cannot be converted to another: ask `zoo_pytorch.check_conversion` before you convert a network that it is in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._program: Program | None = None

    @classmethod
    def from_program(cls, program: Given, *, output: str | None = None) -> SymbolBlock:
        """A block that holds a program.

        Args:
            program: A ``torch.export.ExportedProgram``, a TorchScript module (traced or scripted), or the path or content of a
                file: TorchScript (``.pt``), an exported program (``.pt2``) or ``torch.aten`` (JSON). An exported one becomes
                ``torch.aten`` where its operators allow it, which loads quickly, is data and follows `train` and `eval`; else
                `kind_reason` tells why not. The weights are shared with an object, not copied, and the block starts in the
                object's mode. Export in training mode where dropout matters: in evaluation mode a TransformerEncoder, for one,
                exports without the dropout of attention, which `train` cannot bring back. A graph does not say its mode: where
                all its dropout is always on, or all its batch norms are frozen, they look as if they followed the mode, and
                `train` and `eval` switch them.
            output: End at this result instead; one of `outputs`.

        Raises:
            InputError: It is no program, or has no such output.
            ParameterError: A file cannot be read, or holds what could run when it is loaded. A TorchScript module has no
                ``forward``, or an attribute that holds parameters again in a way that cannot be saved.
        """
        block = cls()
        found = programs.program_of(program)
        block._hold(found if output is None else found.cut(output), is_training=found.network.training)
        return block

    @property
    def kind(self) -> str:
        """``torch.aten``, ``torch.export`` or ``torchscript``; "" for an empty holder."""
        return self._program.kind if self._program else ""

    @property
    def kind_reason(self) -> str:
        """Why `from_program` kept an exported program as ``torch.export``, such as an operator; "" for all others.

        Such a program is no data: whoever loads its file must trust it, and `train` and `eval` do not switch it. The reason is
        not saved.
        """
        return self._program.reason if self._program else ""

    @property
    def mode(self) -> str:
        """What `train` and `eval` do to the program."""
        return self._program.mode if self._program else ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of results at which ``output=`` may cut, in the order in which they are computed; none for TorchScript."""
        return self._program.outputs if self._program else ()

    @property
    def constants_bytes(self) -> int:
        """The size of the tensors inside the program, such as a frozen one's weights, which nothing trains."""
        return self._program.constants_bytes if self._program else 0

    @property
    def signature(self) -> inspect.Signature:
        """The arguments of the program, by the names that its author gave them."""
        return self._held().signature

    @property
    def zoo_factory(self) -> Symbol:
        """The factory of an empty holder; parameters fill it."""
        return Symbol()

    def remove_last_block(self) -> SymbolBlock:
        """A block without the operator that computes the output: a classifier becomes what its last layer classified.

        The remaining weights are shared with this block.

        Raises:
            InputError: The program has several outputs, or is TorchScript.
        """
        block = type(self)()
        block._hold(self._held().cut(None), is_training=self.training)
        return block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program on its own inputs.

        Raises:
            ParameterError: The holder is empty.
        """
        # The child and not the program's own: whoever replicates modules, or compiles them, exchanges children.
        network = self._modules.get(CHILD)
        if network is None or self._program is None:
            raise ParameterError(EMPTY)
        if self._program.references:
            self._program.bind(network)
        return network(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """The program, ``uint8[bytes]``, without weights; of no length for an empty holder."""
        return self._program.content if self._program else torch.empty(0, dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take a program; its weights have no values until they are loaded too, except where the program came with them.

        The program that the block holds already is kept, with its weights. Other kinds than ``torch.aten`` are inspected first,
        as far as they can be; TorchScript cannot, so load it only from where you would take code.

        Raises:
            ParameterError: It is no program, or damaged or doctored; or it is empty and this block is not.
        """
        content = programs.as_bytes(state)
        if self._program is None and not content:
            return
        if not content:
            raise ParameterError("the state was saved from an empty SymbolBlock, and this one holds a program")
        if self._program is None or not programs.is_same(self._program.content, state):
            self._hold(programs.read_program(state))

    def extra_repr(self) -> str:
        """What it holds."""
        if self._program is None:
            return "empty"
        count = sum(parameter.numel() for parameter in self._program.network.parameters())
        inside = f", {bytes_text(self.constants_bytes)} of constants inside" if self.constants_bytes else ""
        reason = f", not torch.aten: {self.kind_reason}" if self.kind_reason else ""
        return f"{self.kind}, {count} parameters{inside}, mode: {self.mode}{reason}"

    def __repr__(self) -> str:
        # Not the tree of the graph: it has a thousand lines and no types.
        return f"{type(self).__name__}({self.extra_repr()})"

    def _held(self) -> Program:
        if self._program is None:
            raise ParameterError(EMPTY)
        return self._program

    def _hold(self, program: Program | None, *, is_training: bool | None = None) -> None:
        """Take a program as it is, or none; in the block's mode where none is given."""
        self.training = self.training if is_training is None else is_training
        self._program = program
        self._modules.pop(CHILD, None)
        if program is not None:
            self.add_module(CHILD, program.network)
            program.network.train(self.training)
            if program.references and not self._load_state_dict_post_hooks:
                # `forward` would do it; but a user may run, or save, the child itself.
                self.register_load_state_dict_post_hook(_bind_after_loading)  # type: ignore[no-untyped-call]  # torch's is untyped

    # What torch does with every module.

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        before = self._program
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        if self._program is None or self._program is before:
            return
        # torch comes to the child next, with what stands under its names now.
        network = self._program.network
        held: dict[int, Tensor] = {}
        for name, tensor in network.state_dict(keep_vars=True).items():
            key = f"{prefix}{CHILD}.{name}"
            if key not in state_dict and self._program.is_complete:
                state_dict[key] = tensor
            elif key in state_dict and tensor.is_meta and not local_metadata.get("assign_to_params_buffers", False):
                # Copying into a tensor on the meta device would do nothing.
                given = state_dict[key]
                place(network, name, held.setdefault(id(tensor), like(tensor, torch.empty_like(given))))

    def _apply(self, fn: Any, recurse: bool = True) -> SymbolBlock:
        before = None
        if self._program is not None:
            try:
                self._program.check_conversion(fn)
            except ParameterError as error:
                # Whether a parent is being converted is not known here.
                raise ParameterError(f"{error}. {HALF_CONVERTED}") from error
            before = _device(self._program.network)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's is untyped
        if self._program is not None:
            self._program.bind(self._program.network)
            if _device(self._program.network) not in (before, torch.device("meta")):
                self._hold(self._program.moved(_device(self._program.network)))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The program as bytes, and its tensors as objects of their own, which may be tied to others."""
        state = self.__dict__.copy()
        program = state.pop("_program")
        if program is not None:
            state["_modules"] = {name: child for name, child in self._modules.items() if name != CHILD}
            state["_saved"] = {
                "content": program.content,
                "is_complete": program.is_complete,
                "reason": program.reason,
                "tensors": tensors_of(program.network),
                "training": program.network.training,
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.pop("_saved", None)
        super().__setstate__(state | {"_program": None})  # type: ignore[no-untyped-call]  # torch's is untyped
        if saved is None:
            return
        program = programs.read_program(saved["content"])
        for name, tensor in saved["tensors"].items():
            place(program.network, name, tensor)
        program.bind(program.network)
        kept = {name: saved[name] for name in ("is_complete", "reason")}
        self._program = replace(program, source=lambda: saved["content"], **kept)
        self.add_module(CHILD, program.network)
        program.network.train(saved["training"])

    def __deepcopy__(self, memo: dict[int, Any]) -> SymbolBlock:
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        state = self.__getstate__()
        if "_saved" in state:
            # The bytes never change.
            memo[id(state["_saved"]["content"])] = state["_saved"]["content"]
        copied.__setstate__(copy.deepcopy(state, memo))
        return copied


def _bind_after_loading(block: nn.Module, _: Any) -> None:
    program = block._program
    if isinstance(program, Program):
        program.bind(program.network)


def _device(network: nn.Module) -> torch.device:
    return next((tensor.device for tensor in tensors_of(network).values()), torch.device("cpu"))
