"""The written form of a program: compact JSON, read without running anything.

    {"torch.aten":1,
     "inputs":{"x":"float32[*,3,8,8]","flag":{"value":true}},
     "parameters":{"conv.weight":"float32[4,3,3,3]", ...}, "frozen":["embed.weight"],
     "buffers":{"bn.running_mean":"float32[4]", ...}, "tied":{"decode.weight":"embed.weight"},
     "unsaved":{"positions":["float32[4]","<base64>"]}, "constants":{"scale":["float32[]","<base64>"]},
     "nodes":[["conv2d","aten::conv2d",["x","0","1",[1,1]],{...}], ...],
     "output":"linear"}

A node has a name, an operator, arguments by position and, where there are any, by name. What a string in an argument means is
decided by the type that the operator's schema gives the argument: the name of a dtype, layout or memory format; text; or, where
a tensor or a number belongs, a reference: the name of an input or earlier node, or in digits the number of a parameter, buffer,
unsaved buffer or constant in this order. ``@training`` and ``@device`` are the network's mode and device. Numbers that JSON
lacks are ``{"float":"inf"}`` and ``{"complex":[re,im]}``; ``{"training":0.1}`` is 0.1 in training and else 0. An output is a
reference, null, ``{"value":...}``, or ``{"tuple":[]}``, ``{"list":[]}`` or ``{"dict":{}}`` of outputs.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

import torch

from zoo_core import ParameterError, did_you_mean, printable
from zoo_pytorch.aten import names
from zoo_pytorch.aten.memory import check_writes
from zoo_pytorch.aten.operators import (
    ATEN,
    BATCH_NORM,
    GETITEM,
    SIZES,
    TRAINING_FLAGS,
    TRAINING_PROBABILITIES,
    Operator,
    Parameter,
    Type,
    find_operator,
)
from zoo_pytorch.aten.program import (
    DEVICE,
    DTYPES,
    LAYOUTS,
    MEMORY_FORMATS,
    TRAINING,
    Constant,
    Fixed,
    Node,
    Own,
    Program,
    Ref,
    State,
    TensorType,
    Training,
    TrainingOnly,
    dtype_name,
)

#: How every program begins, and what tells one from other kinds.
MAGIC = b'{"torch.aten":1,'
#: A program with its constants is at most this many bytes.
MAX_BYTES = 64 << 20
#: It has at most this many commas, lists and mappings, each: what bounds the memory that reading it takes.
MAX_VALUES = 1 << 18
MAX_NODES = 20_000
MAX_INPUTS = 256
#: Its tensors lie in at most this many modules, each of which takes some kilobytes.
MAX_MODULES = 20_000
#: Outputs are nested at most this deep; arguments are as deep as their operators' schemas.
MAX_OUTPUT_DEPTH = 8
MAX_TEXT = 256
MAX_DIMENSIONS = 64
#: A parameter, buffer or input has at most this many elements; nothing is allocated for it by reading a program.
MAX_DECLARED = 1 << 36
#: A tensor that a node makes from literal sizes has at most this many elements. It is no bound on what a run takes, since sizes
#: are also computed; it stops what needs one number to be absurd.
MAX_ELEMENTS = 1 << 31
#: Arguments that say how many parts or layers there are.
_COUNTS = frozenset({"sections", "chunks", "num_layers", "upscale_factor", "downscale_factor"})
MAX_COUNT = 1 << 16
#: Arguments that say how large a new tensor is.
_EXTENTS = frozenset(
    {"start", "end", "n", "m", "steps", "num_classes", "row", "col", "repeats", "window_length", "output_size"}
)
#: An integer that is computed from sizes has at most this many bits, whatever the sizes are.
MAX_BITS = 4096
#: The largest exponent: powers of sizes are small, and Python computes any.
MAX_EXPONENT = 16
#: A step of ``aten::arange`` below this makes a long tensor of a short range.
MIN_STEP = 2.0**-10

#: What a name stands for: a tensor, a list of tensors, a number, or several of these.
Kind: TypeAlias = "str | tuple[str, ...]"

_TENSOR_TYPE = re.compile(r"([a-z0-9]{1,16})\[((?:\*|[0-9]{1,12})(?:,(?:\*|[0-9]{1,12})){0,63})?\]")
_NUMBERS = frozenset({"int", "float", "bool", "number"})
#: Which numbers may stand where one is asked.
_ACCEPTED: Mapping[str, frozenset[str]] = {
    "int": frozenset({"int"}),
    "float": frozenset({"int", "float"}),
    "bool": frozenset({"bool"}),
    "number": frozenset({"int", "float", "bool"}),
    "Tensor": frozenset({"Tensor", "int", "float", "bool"}),
}


def write_document(program: Program) -> bytes:
    """A program as bytes; equal programs give equal bytes."""
    numbers = {path: str(number) for number, path in enumerate(_state_paths(program))}
    encode = _Encoder(numbers)
    document: dict[str, Any] = {
        "torch.aten": 1,
        "inputs": {
            name: {"value": encode.argument(kind.value)} if isinstance(kind, Fixed) else str(kind)
            for name, kind in program.inputs.items()
        },
        "parameters": {path: str(kind) for path, kind in program.parameters.items()},
        "frozen": sorted(program.frozen),
        "buffers": {path: str(kind) for path, kind in program.buffers.items()},
        "tied": dict(program.tied),
        "unsaved": {path: _packed(value) for path, value in program.constants.items() if value.is_buffer},
        "constants": {path: _packed(value) for path, value in program.constants.items() if not value.is_buffer},
        "nodes": [encode.node(node) for node in program.nodes],
        "output": encode.output(program.output),
    }
    kept = {key: value for key, value in document.items() if value or key in _REQUIRED}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def read_document(content: bytes | memoryview) -> Program:
    """The program in bytes, checked: it calls nothing but operators of the list, with arguments of their types.

    Raises:
        ParameterError: It is malformed, too large, or names what it must not; the message says at which node.
    """
    return _Reader(_parse(content)).program()


_REQUIRED = ("torch.aten", "inputs", "nodes", "output")
_OPTIONAL = ("parameters", "frozen", "buffers", "tied", "unsaved", "constants")


class _Encoder:
    """Values of a program as JSON values."""

    def __init__(self, numbers: Mapping[str, str]) -> None:
        self._numbers = numbers

    def node(self, node: Node) -> list[Any]:
        named = {name: self.argument(value) for name, value in node.named.items()}
        if node.counter is not None:
            named["counter"] = self._numbers[node.counter]
        return [node.name, node.operator, [self.argument(value) for value in node.arguments], *([named] if named else [])]

    def argument(self, value: Any) -> Any:
        match value:
            case Ref(name):
                return name
            case State(path):
                return self._numbers[path]
            case Training():
                return "@training"
            case TrainingOnly(probability):
                return {"training": probability}
            case Own():
                return "@device"
            case list() | tuple():
                return [self.argument(item) for item in value]
            case torch.dtype() | torch.layout() | torch.memory_format():
                return dtype_name(value)
            case complex():
                return {"complex": [value.real, value.imag]}
            case float() if not math.isfinite(value):
                return {"float": str(value)}
        return value

    def output(self, value: Any) -> Any:
        match value:
            case None:
                return None
            case Ref() | State():
                return self.argument(value)
            case tuple():
                return {"tuple": [self.output(item) for item in value]}
            case list():
                return {"list": [self.output(item) for item in value]}
            case dict():
                return {"dict": {key: self.output(item) for key, item in value.items()}}
        return {"value": self.argument(value)}


def _packed(constant: Constant) -> list[str]:
    return [str(constant.type), base64.b64encode(constant.data).decode()]


def _state_paths(program: Program) -> Iterator[str]:
    """The paths in the order in which they are numbered."""
    yield from program.parameters
    yield from program.buffers
    yield from (path for path, constant in program.constants.items() if constant.is_buffer)
    yield from (path for path, constant in program.constants.items() if not constant.is_buffer)


def _fail(message: str) -> NoReturn:
    raise ParameterError(f"torch.aten program: {message}")


def _shown(value: object) -> str:
    """A value from a file in a message: printable and short."""
    text = printable(value if isinstance(value, str) else type(value).__name__)
    return repr(text if len(text) <= 60 else f"{text[:60]}...") if isinstance(value, str) else text


def _parse(content: bytes | memoryview) -> dict[str, Any]:
    """The JSON value, within bounds."""
    if len(content) > MAX_BYTES:
        _fail(f"it is {len(content)} bytes; at most {MAX_BYTES} are read")
    data = bytes(content)
    if not data.startswith(MAGIC):
        _fail(f"it does not begin with {MAGIC.decode()}")
    for mark in (b",", b"[", b"{"):
        if data.count(mark) > MAX_VALUES:
            _fail(f"it has more than {MAX_VALUES} {mark.decode()!r}")
    try:
        parsed = json.loads(data.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # ValueError: JSON's and Unicode's errors, and integers of too many digits
        _fail(f"it is no JSON: {printable(str(error))[:200]}")
    if not isinstance(parsed, dict):
        _fail("it is no mapping")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one mapping")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


@lru_cache(1024)
def _parse_type(text: str) -> TensorType | None:
    """A tensor's type from its written form; None where it is none, or too large."""
    match = _TENSOR_TYPE.fullmatch(text)
    if match is None or match[1] not in DTYPES:
        return None
    shape = tuple(None if size == "*" else int(size) for size in match[2].split(",")) if match[2] else ()
    if len(shape) > MAX_DIMENSIONS or math.prod(size or 1 for size in shape) > MAX_DECLARED:
        return None
    return TensorType(DTYPES[match[1]], shape)


class _Reader:
    """A document on its way to a program: what its names stand for so far, and where it is, for messages."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._kinds: dict[str, Kind] = {}
        #: How many bits an integer that is computed from sizes can have.
        self._bits: dict[str, int] = {}
        self._states: list[str] = []
        #: The words of where the reader is; joined for messages only, since every node is a place.
        self._where: tuple[object, ...] = ("the document",)

    def fail(self, message: str) -> NoReturn:
        _fail(f"{' '.join(_shown(word) if number else str(word) for number, word in enumerate(self._where))}: {message}")

    def program(self) -> Program:
        self._check_keys()
        inputs = {name: self._input(name, raw) for name, raw in self._mapping("inputs").items()}
        if len(inputs) > MAX_INPUTS:
            self.fail(f"it has {len(inputs)} inputs; at most {MAX_INPUTS} are read")
        parameters = self._declared("parameters")
        buffers = self._declared("buffers")
        constants = self._constants("unsaved", is_buffer=True) | self._constants("constants", is_buffer=False)
        self._states = [*parameters, *buffers, *constants]
        if len(self._states) != len({*parameters, *buffers, *constants}):
            self.fail("a path stands under two of parameters, buffers, unsaved and constants")
        frozen = self._frozen(parameters)
        tied = self._tied({*parameters, *buffers})
        self._check_paths([*self._states, *tied])
        nodes = self._list("nodes")
        if len(nodes) > MAX_NODES:
            self.fail(f"it has {len(nodes)} nodes; at most {MAX_NODES} are read")
        program = Program(
            inputs=inputs,
            parameters=parameters,
            frozen=frozen,
            buffers=buffers,
            tied=tied,
            constants=constants,
            nodes=tuple(self._node(number, raw) for number, raw in enumerate(nodes)),
            output=self._whole_output(),
        )
        check_writes(program)
        return program

    def _check_keys(self) -> None:
        missing = [key for key in _REQUIRED if key not in self._document]
        unknown = [key for key in self._document if key not in (*_REQUIRED, *_OPTIONAL)]
        if missing or unknown:
            self.fail(f"lacks {', '.join(missing)}" if missing else f"has {_shown(unknown[0])}, which no program has")

    def _mapping(self, key: str) -> dict[str, Any]:
        self._where = (key,)
        found = self._document.get(key, {})
        return found if isinstance(found, dict) else self.fail("expected a mapping")

    def _list(self, key: str) -> list[Any]:
        self._where = (key,)
        found = self._document.get(key, [])
        return found if isinstance(found, list) else self.fail("expected a list")

    # Inputs and state

    def _input(self, name: str, raw: Any) -> TensorType | Fixed:
        self._where = ("input", name)
        if not names.is_input_name(name):
            self.fail("no such name is allowed for an input")
        if isinstance(raw, dict):
            if list(raw) != ["value"]:
                self.fail("expected a tensor's type or a mapping with a value")
            return Fixed(self._plain(raw["value"]))
        self._kinds[name] = "Tensor"
        return self._tensor_type(raw)

    def _plain(self, raw: Any) -> bool | int | float | str | None:
        """A value that is no tensor."""
        if isinstance(raw, str):
            return self._text(raw)
        if raw is None:
            return None
        number = self._number(raw)
        return number if not isinstance(number, complex) else self.fail("a complex number cannot stand here")

    def _declared(self, key: str) -> dict[str, TensorType]:
        declared = {}
        for path, raw in self._mapping(key).items():
            self._where = (key, path)
            declared[path] = self._tensor_type(raw)
            self._require_fixed_shape(declared[path])
        return declared

    def _constants(self, key: str, *, is_buffer: bool) -> dict[str, Constant]:
        return {path: self._constant(key, path, raw, is_buffer) for path, raw in self._mapping(key).items()}

    def _constant(self, key: str, path: str, raw: Any, is_buffer: bool) -> Constant:
        self._where = (key, path)
        if not (isinstance(raw, list) and len(raw) == 2 and isinstance(raw[1], str)):
            self.fail("expected a type and base64 text")
        kind = self._tensor_type(raw[0])
        count = self._require_fixed_shape(kind)
        try:
            data = base64.b64decode(raw[1], validate=True)
        except (binascii.Error, ValueError) as error:
            self.fail(f"its values are no base64: {error}")
        if len(data) != count * kind.dtype.itemsize:
            self.fail(f"{kind} takes {count * kind.dtype.itemsize} bytes, and {len(data)} are there")
        # Other bytes than 0 and 1 are no booleans, and kernels rely on it.
        if kind.dtype == torch.bool and data.translate(None, b"\0\1"):
            self.fail("its values are no booleans")
        return Constant(type=kind, data=data, is_buffer=is_buffer)

    def _tensor_type(self, raw: Any) -> TensorType:
        found = _parse_type(raw) if isinstance(raw, str) else None
        return (
            found if found is not None else self.fail(f"{_shown(raw)} is no type of a tensor that can be, such as float32[*,3]")
        )

    def _require_fixed_shape(self, kind: TensorType) -> int:
        """The number of elements."""
        sizes = [size for size in kind.shape if size is not None]
        if len(sizes) != len(kind.shape):
            self.fail(f"{kind} has a free size")
        return math.prod(sizes)

    def _frozen(self, parameters: Mapping[str, TensorType]) -> frozenset[str]:
        found = self._list("frozen")
        for path in found:
            if not isinstance(path, str) or path not in parameters:
                self.fail(f"{_shown(path)} is no parameter")
        frozen = frozenset(found)
        for path, kind in parameters.items():
            if path not in frozen and not (kind.dtype.is_floating_point or kind.dtype.is_complex):
                self.fail(f"parameter {_shown(path)} is {kind}, which has no gradient, and is not among the frozen")
        return frozen

    def _tied(self, known: set[str]) -> dict[str, str]:
        tied = self._mapping("tied")
        for path, original in tied.items():
            if path in self._states or not isinstance(original, str) or original not in known:
                self.fail(f"{_shown(path)} is tied to {_shown(original)}; expected a new path and a parameter or buffer")
        return tied

    def _check_paths(self, paths: list[str]) -> None:
        for path in paths:
            if not names.is_path(path):
                self.fail(f"no tensor may stand at {_shown(path)}")
        modules = {path[:end] for path in paths for end, char in enumerate(path) if char == "."}
        if len(modules) > MAX_MODULES:
            self.fail(f"its tensors lie in {len(modules)} modules; at most {MAX_MODULES} are read")
        for path in paths:
            if path in modules:
                self.fail(f"{_shown(path)} is a tensor and a module at once")

    # Nodes

    def _node(self, number: int, raw: Any) -> Node:
        self._where = (f"node {number}",)
        if not (isinstance(raw, list) and 3 <= len(raw) <= 4 and all(isinstance(text, str) for text in raw[:2])):
            self.fail("expected a name, an operator, a list of arguments and possibly a mapping of more")
        name, operator_name, arguments = raw[:3]
        named = raw[3] if len(raw) == 4 else {}
        self._where = (f"node {number}", name, operator_name)
        if not names.is_node_name(name) or name in self._document["inputs"] or name in self._kinds:
            self.fail("its name is no identifier, or is taken")
        if not isinstance(arguments, list) or not isinstance(named, dict):
            self.fail("expected a list of arguments and a mapping of more")
        operator = find_operator(operator_name)
        if operator is None:
            self.fail(f"no program may call this operator{did_you_mean(operator_name[:MAX_TEXT], ATEN)}")
        if operator.is_aten:
            return self._aten(name, operator, arguments, dict(named))
        if named:
            self.fail("it takes no arguments by name")
        if operator.name == GETITEM:
            return self._getitem(name, operator, arguments)
        return self._arithmetic(name, operator, arguments)

    def _aten(self, name: str, operator: Operator, arguments: list[Any], named: dict[str, Any]) -> Node:
        counter = self._counter(operator, named)
        if len(arguments) > len(operator.by_position):
            self.fail(f"it takes {len(operator.by_position)} arguments by position, and {len(arguments)} are there")
        positional = list(zip(operator.by_position, arguments, strict=False))
        given = {parameter.name for parameter, _ in positional}
        for key in named:
            if key not in operator.by_name or key in given:
                self.fail(f"argument {_shown(key)} is {'given twice' if key in given else 'none of this operator'}")
        absent = [key for key in operator.required if key not in given and key not in named]
        if absent:
            self.fail(f"it lacks the argument {absent[0]}")
        node = Node(
            name=name,
            operator=operator.name,
            arguments=tuple([self._argument(operator, parameter, raw) for parameter, raw in positional]),
            named={key: self._argument(operator, operator.by_name[key], raw) for key, raw in named.items()},
            counter=counter,
        )
        self._check_range(operator, node)
        self._define(name, operator.results[0] if len(operator.results) == 1 else operator.results)
        return node

    def _counter(self, operator: Operator, named: dict[str, Any]) -> str | None:
        raw = named.pop("counter", None)
        if raw is None:
            return None
        found = self._reference(raw) if isinstance(raw, str) else None
        if operator.name != BATCH_NORM or not isinstance(found, State) or found.path not in self._document.get("buffers", {}):
            self.fail("its counter is no buffer, or it counts nothing")
        return found.path

    def _argument(self, operator: Operator, parameter: Parameter, raw: Any) -> Any:
        key = parameter.name
        if raw == "@training":
            if TRAINING_FLAGS.get(operator.name) != key:
                self.fail(f"argument {key} does not follow the network's mode")
            return TRAINING
        if isinstance(raw, dict) and list(raw) == ["training"]:
            if TRAINING_PROBABILITIES.get(operator.name) != key:
                self.fail(f"argument {key} does not follow the network's mode")
            return TrainingOnly(self._probability(raw["training"]))
        value = self._value(key, parameter.type, raw)
        self._check_extent(operator, key, value)
        return value

    def _probability(self, raw: Any) -> float:
        return raw if isinstance(raw, float) and 0 <= raw <= 1 else self.fail(f"{_shown(raw)} is no probability, such as 0.1")

    def _value(self, key: str, kind: Type, raw: Any) -> Any:
        """A JSON value as what the schema asks for."""
        if raw is None and kind.is_optional:
            return None
        if kind.of is not None and isinstance(raw, list):
            return [self._value(key, kind.of, item) for item in raw]
        # One number stands for a list of equal ones, as in a square kernel.
        value = self._single(kind.of.kind if kind.of is not None and kind.is_broadcast else kind.kind, raw)
        return self._mismatch(key, kind, raw) if value is None else value

    def _mismatch(self, key: str, kind: Type, raw: Any) -> NoReturn:
        self.fail(f"argument {key} is {_shown(raw)}; expected {kind}")

    def _single(self, kind: str, raw: Any) -> Any:
        """One value; None where it is none of the kind."""
        if kind in _ACCEPTED:
            return self._operand(kind, raw)
        if not isinstance(raw, str):
            return None
        match kind:
            case "str":
                return self._text(raw)
            case "ScalarType":
                return DTYPES.get(raw)
            case "Layout":
                return LAYOUTS.get(raw)
            case "MemoryFormat":
                return MEMORY_FORMATS.get(raw)
            case "Device":
                return DEVICE if raw == "@device" else None
        return None  # a generator cannot be written down

    def _operand(self, kind: str, raw: Any) -> Any:
        """A tensor or number, or a reference to one; None where it is neither."""
        if isinstance(raw, str):
            reference = self._reference(raw)
            found = self._kinds[reference.name] if isinstance(reference, Ref) else "Tensor"
            return reference if found in _ACCEPTED[kind] else None
        number = self._number(raw) if isinstance(raw, bool | int | float | dict) else None
        if isinstance(number, complex):
            return number if kind in ("number", "Tensor") else None
        return number if type(number).__name__ in _ACCEPTED[kind] else None

    def _reference(self, raw: str) -> Ref | State:
        if raw.isascii() and raw.isdigit():
            number = int(raw) if len(raw) < 8 else len(self._states)
            if number >= len(self._states):
                self.fail(f"it refers to tensor {_shown(raw)}, and there are {len(self._states)}")
            return State(self._states[number])
        if raw not in self._kinds:
            self.fail(f"it refers to {_shown(raw)}, which is no input or earlier node")
        return Ref(raw)

    def _number(self, raw: Any) -> bool | int | float | complex:
        """A literal number, within what operators take."""
        match raw:
            case bool():
                return raw
            case int():
                return raw if -(1 << 63) <= raw < 1 << 63 else self.fail("an integer is beyond 64 bits")
            case float():
                return raw if math.isfinite(raw) else self.fail("a number is beyond 64 bits")
            case {"float": "inf" | "-inf" | "nan" as text, **rest} if not rest:
                return float(text)
            case {"complex": [int() | float() as real, int() | float() as imaginary], **rest} if not rest:
                return self._complex(float(self._number(real).real), float(self._number(imaginary).real))
        return self.fail(f"{_shown(raw)} is no number")

    def _complex(self, real: float, imaginary: float) -> complex:
        """A complex number that Python writes as an expression of the same value: it has no way to write a negative zero."""
        if any(part == 0 and math.copysign(1, part) < 0 for part in (real, imaginary)):
            self.fail("a complex number has a negative zero")
        return complex(real, imaginary)

    def _text(self, raw: str) -> str:
        if len(raw) > MAX_TEXT or not raw.isascii() or not raw.isprintable():
            self.fail(f"{_shown(raw)} is too long, or not printable ASCII")
        return raw

    def _check_extent(self, operator: Operator, key: str, value: Any) -> None:
        """Refuse literal sizes that make an absurd tensor."""
        limit = MAX_COUNT if key in _COUNTS else MAX_ELEMENTS
        extent: float = 0
        if isinstance(value, list):
            extent = math.prod([max(1.0, abs(item)) for item in value if isinstance(item, int | float) and math.isfinite(item)])
        elif isinstance(value, int | float) and (key in _COUNTS or (operator.makes_from_numbers and key in _EXTENTS)):
            extent = abs(value)
        if extent > limit:
            self.fail(f"argument {key} is for more than {limit} elements")

    def _check_range(self, operator: Operator, node: Node) -> None:
        if operator.name == "aten::arange.start_step" and len(node.arguments) > 2:
            step = node.arguments[2]
            if isinstance(step, int | float) and not abs(step) >= MIN_STEP:
                self.fail(f"argument step is {step}; its magnitude is at least {MIN_STEP}")

    def _getitem(self, name: str, operator: Operator, arguments: list[Any]) -> Node:
        if len(arguments) != 2 or not isinstance(arguments[0], str) or type(arguments[1]) is not int:
            self.fail("expected a node with several results and the number of one")
        source, number = self._reference(arguments[0]), arguments[1]
        kinds = self._kinds[source.name] if isinstance(source, Ref) else "Tensor"
        if kinds == "Tensors":
            if abs(number) > MAX_VALUES:
                self.fail(f"there is no result {number}")
            self._define(name, "Tensor")
        elif isinstance(kinds, tuple) and 0 <= number < len(kinds):
            self._define(name, kinds[number])
        else:
            self.fail(
                f"{_shown(arguments[0])} has no result {number}" if isinstance(kinds, tuple) else "it has one result only"
            )
        return Node(name=name, operator=operator.name, arguments=(source, number))

    def _arithmetic(self, name: str, operator: Operator, arguments: list[Any]) -> Node:
        count = SIZES[operator.name][1]
        if len(arguments) != count:
            self.fail(f"it takes {count} arguments, and {len(arguments)} are there")
        values = [self._operand("number", raw) for raw in arguments]
        if any(value is None or isinstance(value, complex) for value in values):
            self.fail("it takes numbers only")
        kinds = [self._kinds[value.name] if isinstance(value, Ref) else type(value).__name__ for value in values]
        if operator.name == "operator.pow":
            exponent = values[1]
            # Of a literal base, the generated code -2 ** n would be -(2 ** n).
            if isinstance(exponent, Ref) or not abs(exponent) <= MAX_EXPONENT or not isinstance(values[0], Ref):
                self.fail(f"it takes a size and a literal exponent of at most {MAX_EXPONENT}")
        kind = _result(operator.name, kinds, values)
        self._define(name, kind)
        if kind == "int":
            self._bits[name] = _bits(operator.name, [self._bits_of(value) for value in values], values)
            if self._bits[name] > MAX_BITS:
                self.fail(f"its result may have more than {MAX_BITS} bits")
        return Node(name=name, operator=operator.name, arguments=tuple(values))

    def _bits_of(self, value: Any) -> int:
        if isinstance(value, Ref):
            return self._bits.get(value.name, 64)
        return value.bit_length() if isinstance(value, int) else 1024

    def _define(self, name: str, kind: Kind) -> None:
        self._kinds[name] = kind

    # Output

    def _whole_output(self) -> Any:
        self._where = ("output",)
        return self._output(self._document["output"], 0)

    def _output(self, raw: Any, depth: int) -> Any:
        if depth > MAX_OUTPUT_DEPTH:
            self.fail(f"it is nested more than {MAX_OUTPUT_DEPTH} deep")
        match raw:
            case None:
                return None
            case str():
                found = self._operand("Tensor", raw)
                return found if found is not None else self.fail(f"{_shown(raw)} is no tensor")
            case {"tuple": [*items], **rest} if not rest:
                return tuple(self._output(item, depth + 1) for item in items)
            case {"list": [*items], **rest} if not rest:
                return [self._output(item, depth + 1) for item in items]
            case {"dict": dict(items), **rest} if not rest:
                return {self._text(key): self._output(item, depth + 1) for key, item in items.items()}
            case {"value": value, **rest} if not rest:
                return self._plain(value)
        return self.fail("expected references, null, values, and tuples, lists and mappings of such")


_TRUTHS = frozenset({"operator.eq", "operator.ge", "operator.gt", "operator.le", "operator.lt", "operator.ne", "torch.sym_not"})
_TO_INT = frozenset({"math.ceil", "math.floor", "math.trunc", "torch.sym_int"})
_TO_FLOAT = frozenset({"operator.truediv", "torch.sym_float"})


def _result(name: str, kinds: list[Any], values: list[Any]) -> str:
    """What arithmetic on sizes gives."""
    if name in _TRUTHS or (name in ("operator.and_", "operator.or_") and kinds == ["bool", "bool"]):
        return "bool"
    if name in _TO_INT:
        return "int"
    if name in _TO_FLOAT or "float" in kinds:
        return "float"
    # A negative power of an integer is a fraction.
    return "float" if name == "operator.pow" and values[1] < 0 else "int"


def _bits(name: str, bits: list[int], values: list[Any]) -> int:
    """How many bits an integer result has at most, by those of the arguments."""
    match name:
        case "operator.mul":
            return sum(bits)
        case "operator.add" | "operator.sub":
            return max(bits) + 1
        case "operator.pow":
            return bits[0] * max(1, int(values[1]))
    return max(bits)
