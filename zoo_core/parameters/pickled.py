"""A small pickle machine that knows a closed list of names and makes nothing but plain data.

Python's own unpickler is not used: a subclass can close the list of names, but a file of a few bytes still makes its memo
ask for gigabytes. This one has the instructions that ``torch.save`` writes (protocols 2 to 5, and those of Python 2) and
a budget. It does not recurse, and never compares, hashes or prints what a file nests.

Source: the comments of Python's ``Lib/pickletools.py``, which describe each instruction.
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo_core.parameters.source import Source

#: Instructions of one pickle, and items handed to its calls. A tensor takes about 45: enough for 100 000 tensors, and little
#: enough that the objects they could make instead stay within some hundred megabytes.
BUDGET = 5_000_000

#: The longest module or name that is looked at, in bytes.
MAX_NAME = 256


class OrderedDict(dict[Any, Any]):
    """What a pickled ``collections.OrderedDict`` becomes; a type of its own, since attributes may be set on it alone."""


class PickleMachine:
    """Runs pickles that follow one another, on one budget.

    Args:
        source: The file.
        at: Where the first pickle begins, in bytes.
        names: What ``module.name`` may stand for; functions among these are called with what the pickle gives.
        persistent: Turns the id of something stored outside the pickle into an object.
    """

    def __init__(self, source: Source, at: int, names: Mapping[str, object], persistent: Callable[[object], object]) -> None:
        self._source = source
        self._data = source.data
        self.at = at
        self._names = names
        self._persistent = persistent
        self._left = BUDGET

    def run(self) -> Any:
        """The next object; afterwards `at` is behind it.

        Raises:
            ParameterError: It is no pickle, or makes something that is not on the list.
        """
        start = self.at
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        try:
            while (code := self._byte()) != STOP:
                self._spend(1)
                INSTRUCTIONS.get(code, PickleMachine._refuse)(self)
            return self._stack.pop()
        except (ValueError, TypeError, IndexError, struct.error) as error:
            raise self._source.malformed(f"the pickle at byte {start} fails at byte {self.at}: {error}") from error

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError(f"it takes more than {BUDGET} steps")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _number(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def _bytes(self, size: int) -> memoryview:
        if size > len(self._data) - self.at:
            raise ValueError(f"a text of {size} bytes goes beyond the end of the file")
        self.at += size
        return self._data[self.at - size : self.at]

    def _line(self) -> str:
        line, end, _ = bytes(self._data[self.at : self.at + MAX_NAME]).partition(b"\n")
        if not end:
            raise ValueError(f"a name has no end within {MAX_NAME} bytes")
        self.at += len(line) + 1
        return line.decode()

    def _refuse(self) -> None:
        raise ValueError(f"the instruction {bytes(self._data[self.at - 1 : self.at])!r} is none that tensors need")

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _marked(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _protocol(self) -> None:
        if (protocol := self._byte()) > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"protocol {protocol} is unknown")

    def _frame(self) -> None:
        self._number("<Q")

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _integer(self, layout: str) -> None:
        self._push(self._number(layout))

    def _long(self) -> None:
        self._push(int.from_bytes(self._bytes(self._byte()), "little", signed=True))

    def _text(self, size_layout: str, encoding: str = "utf-8") -> None:
        self._push(str(self._bytes(self._number(size_layout)), encoding))

    def _tuple(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError("a tuple wants more than was made")
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _tuple_since_mark(self) -> None:
        self._push(tuple(self._marked()))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError(f"{kind(target)} cannot be appended to")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise TypeError(f"{kind(target)} cannot be given items")
        target.update(pairs(zip(items[::2], items[1::2], strict=True)))

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise ValueError(f"its memo holds nothing at {place}")
        self._push(self._memo[place])

    def _named(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"it names {name}, which plain tensors do not need: save the state_dict, or save as safetensors")
        self._push(self._names[name])

    def _global(self) -> None:
        self._named(f"{self._line()}.{self._line()}")

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(module) is not str or type(name) is not str:
            raise TypeError(f"{kind(module)} and {kind(name)} are no name")
        self._named(f"{module}.{name}")

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not callable(function) or type(arguments) is not tuple:
            raise TypeError(f"{kind(function)} cannot be called")
        # A call may copy what it is given, and the memo can give it again and again.
        self._spend(sum(len(argument) for argument in arguments if type(argument) in (list, tuple)))
        self._push(function(*arguments))

    def _build(self) -> None:
        self._stack.pop()
        # state_dict() keeps versions of layers as an attribute; no parameter depends on it. Nothing is set on anything.
        if type(self._stack[-1]) is not OrderedDict:
            raise TypeError(f"attributes cannot be set on {kind(self._stack[-1])}")

    def _persistent_id(self) -> None:
        self._push(self._persistent(self._stack.pop()))


def pairs(items: Any) -> dict[Any, Any]:
    """A dict of pairs whose keys are texts or integers.

    Hashing a nested tuple could take for ever.

    Raises:
        TypeError: A key is something else.
    """
    found = {}
    for key, value in items:
        if type(key) not in (str, int):
            raise TypeError(f"{kind(key)} cannot be a key")
        found[key] = value
    return found


def kind(value: object) -> str:
    """What a value is, for messages; the value itself may be too nested to print."""
    return type(value).__name__


STOP = pickle.STOP[0]

INSTRUCTIONS: Mapping[int, Callable[[PickleMachine], None]] = {
    code[0]: run
    for code, run in (
        (pickle.PROTO, PickleMachine._protocol),
        (pickle.FRAME, PickleMachine._frame),
        (pickle.MARK, PickleMachine._mark),
        (pickle.NONE, lambda machine: machine._push(None)),
        (pickle.NEWTRUE, lambda machine: machine._push(True)),
        (pickle.NEWFALSE, lambda machine: machine._push(False)),
        (pickle.BININT, lambda machine: machine._integer("<i")),
        (pickle.BININT1, lambda machine: machine._integer("<B")),
        (pickle.BININT2, lambda machine: machine._integer("<H")),
        (pickle.LONG1, PickleMachine._long),
        (pickle.BINFLOAT, lambda machine: machine._integer(">d")),
        (pickle.BINUNICODE, lambda machine: machine._text("<I")),
        (pickle.SHORT_BINUNICODE, lambda machine: machine._text("<B")),
        (pickle.BINSTRING, lambda machine: machine._text("<I", "ascii")),
        (pickle.SHORT_BINSTRING, lambda machine: machine._text("<B", "ascii")),
        (pickle.EMPTY_TUPLE, lambda machine: machine._push(())),
        (pickle.TUPLE1, lambda machine: machine._tuple(1)),
        (pickle.TUPLE2, lambda machine: machine._tuple(2)),
        (pickle.TUPLE3, lambda machine: machine._tuple(3)),
        (pickle.TUPLE, PickleMachine._tuple_since_mark),
        (pickle.EMPTY_LIST, lambda machine: machine._push([])),
        (pickle.APPEND, lambda machine: machine._append([machine._stack.pop()])),
        (pickle.APPENDS, lambda machine: machine._append(machine._marked())),
        (pickle.EMPTY_DICT, lambda machine: machine._push({})),
        (pickle.SETITEM, lambda machine: machine._set([machine._stack.pop(-2), machine._stack.pop()])),
        (pickle.SETITEMS, lambda machine: machine._set(machine._marked())),
        (pickle.BINPUT, lambda machine: machine._put(machine._number("<B"))),
        (pickle.LONG_BINPUT, lambda machine: machine._put(machine._number("<I"))),
        (pickle.MEMOIZE, lambda machine: machine._put(len(machine._memo))),
        (pickle.BINGET, lambda machine: machine._get(machine._number("<B"))),
        (pickle.LONG_BINGET, lambda machine: machine._get(machine._number("<I"))),
        (pickle.GLOBAL, PickleMachine._global),
        (pickle.STACK_GLOBAL, PickleMachine._stack_global),
        (pickle.REDUCE, PickleMachine._call),
        (pickle.BUILD, PickleMachine._build),
        (pickle.BINPERSID, PickleMachine._persistent_id),
    )
}
