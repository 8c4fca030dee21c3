"""The SymbolBlocks in a tree: filled from a file's programs, and put back where loading fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from zoo_core import ParameterFile
from zoo_pytorch import programs
from zoo_pytorch.symbol import CHILD, SymbolBlock

#: What torch calls the state of a module's own.
STATE = "_extra_state"


def holders(block: nn.Module) -> dict[str, SymbolBlock]:
    """The SymbolBlocks by the names of their programs in the block's state; one that stands in two places has two names."""
    return {
        _under(path, STATE): module
        for path, module in block.named_modules(remove_duplicate=False)
        if isinstance(module, SymbolBlock)
    }


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@dataclass(frozen=True)
class Filled:
    """What a file's programs gave to a block.

    Attributes:
        holders: Those that have a program, by its name in the state, also those that were full before.
        weights: The names of weights that were made by this file.
        values: Those whose values the program brought, by name; the file has none for them.
    """

    holders: Mapping[str, SymbolBlock]
    weights: frozenset[str] = frozenset()
    values: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def programs(self) -> dict[str, Tensor]:
        """Each holder's program, by its name in the state."""
        return {name: holder.get_extra_state() for name, holder in self.holders.items()}


def fill(block: nn.Module, file: ParameterFile) -> Filled:
    """Give each holder the program that the file has for it; one that has this program keeps it.

    Raises:
        ParameterError: A program is damaged, doctored, of another engine, or no data in a file that is.
    """
    found = holders(block)
    before = {name: holder._program for name, holder in found.items()}
    with programs.only_data(file.is_data):
        for name, holder in found.items():
            if name in file.programs:
                holder.set_extra_state(programs.as_tensor(file.programs[name].content))
    new = {name: holder for name, holder in found.items() if holder._program is not before[name]}
    return Filled(
        holders={name: holder for name, holder in found.items() if holder.kind},
        weights=frozenset(name for path, holder in new.items() for name in _weights(path, holder)),
        values={
            name: value
            for path, holder in new.items()
            if holder._program is not None and holder._program.is_complete
            for name, value in _weights(path, holder).items()
        },
    )


def _weights(path: str, holder: SymbolBlock) -> dict[str, Tensor]:
    prefix = path.removesuffix(STATE) + CHILD
    return {f"{prefix}.{name}": value for name, value in holder._held().network.state_dict(keep_vars=True).items()}


def programs_of(block: nn.Module) -> dict[str, str]:
    """The programs that a block holds: the name of each in the block's state -> its kind."""
    return {name: holder.kind for name, holder in holders(block).items() if holder.kind}


def empty_programs(block: nn.Module) -> list[str]:
    """The names of the programs that empty holders wait for."""
    return [name for name, holder in holders(block).items() if not holder.kind]


@contextmanager
def unchanged_programs(block: nn.Module) -> Iterator[None]:
    """Put back the programs that holders have, or that they have none, where loading fails."""
    before = [(holder, holder._program, holder.training) for holder in holders(block).values()]
    try:
        yield
    except BaseException:
        for holder, program, is_training in before:
            if holder._program is not program:
                holder._hold(program, is_training=is_training)
        raise
