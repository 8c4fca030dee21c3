"""A ``.pt2`` archive read and checked before torch sees a byte of it.

``torch.export.load`` runs what a doctored archive tells it to: pickled weights, constants and sample inputs, the text of its
guards and of its symbolic expressions, names that end up in generated Python, modules that a tree's description names, shared
libraries beside the graph. So an archive is taken apart here, each of these is held against a closed grammar, and torch gets a
new archive that is made of what passed.

Source of the format: ``torch/_export/serde/schema.py`` (schema version 8) and ``torch/export/pt2_archive`` of PyTorch 2.13.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from zoo_core import ParameterError, printable
from zoo_pytorch.archives import ProgramArchive
from zoo_pytorch.aten.names import is_path
from zoo_pytorch.expressions import is_guard, is_shape

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"

#: Every entry that an archive of one program without compiled code can have.
KNOWN = re.compile(
    rf"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|data/weights/weight_\d+"
    rf"|data/constants/tensor_\d+|extra/[^/]+|{re.escape(MODEL)}|{re.escape(WEIGHTS)}|{re.escape(CONSTANTS)}|{re.escape(SAMPLES)}"
)
FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}

#: The number of a dtype in the schema -> its name in torch, and the bytes of an element.
DTYPES: Mapping[int, tuple[str, int]] = {
    1: ("uint8", 1),
    2: ("int8", 1),
    3: ("int16", 2),
    4: ("int32", 4),
    5: ("int64", 8),
    6: ("float16", 2),
    7: ("float32", 4),
    8: ("float64", 8),
    9: ("complex32", 4),
    10: ("complex64", 8),
    11: ("complex128", 16),
    12: ("bool", 1),
    13: ("bfloat16", 2),
    28: ("uint16", 2),
    29: ("float8_e4m3fn", 1),
    30: ("float8_e5m2", 1),
    31: ("float8_e4m3fnuz", 1),
    32: ("float8_e5m2fnuz", 1),
}

#: The graph of a network of a thousand layers has some 4 MB.
MAX_DOCUMENT = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Payload:
    """A tensor beside the graph.

    Attributes:
        entry: The name of the entry with its storage; two tensors may share one.
        is_parameter: Whether the network's author registered it as a parameter.
        requires_grad: Whether it is trained.
        dtype: Its dtype as torch calls it.
        offset: Its first element in the storage, in elements; so are the strides.
        storage: The bytes of the entry; empty where the values lie outside the program.
    """

    entry: str
    is_parameter: bool
    requires_grad: bool
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: memoryview

    @property
    def place(self) -> tuple[object, ...]:
        """Where the values lie; equal for tensors that are tied."""
        return (self.entry, self.offset, self.shape, self.strides, self.dtype)

    @property
    def is_empty(self) -> bool:
        """Whether the values lie outside."""
        return not self.storage and math.prod(self.shape) > 0


@dataclass(frozen=True, eq=False)
class ExportedArchive:
    """What an archive holds, checked.

    Attributes:
        document: The graph, without what only describes where it comes from.
        weights: Parameters and persistent buffers by their names in the network.
        constants: Other tensors.
        samples: The pickled sample inputs, which no reader here needs; not checked.
    """

    document: Mapping[str, Any]
    weights: Mapping[str, Payload]
    constants: Mapping[str, Payload]
    samples: memoryview


def inspect_exported(content: memoryview) -> ExportedArchive:
    """Take a ``.pt2`` apart; nothing of it is run.

    Raises:
        ParameterError: It is damaged, or holds what could run when torch loads it.
    """
    found = ProgramArchive(content).stored()
    for name in found:
        if not KNOWN.fullmatch(name):
            _refuse(f"has the entry {name!r}, which no program without compiled code and pickled weights has")
    for name, value in FIXED.items():
        # The writer of torch 2.8 knows no byte order.
        if found.get(name, value if name == "byteorder" else b"") != value:
            _refuse(f"has no {name} {value.decode()!r}")
    document = _json(found, MODEL)
    return ExportedArchive(
        _Cleaner().program(document),
        _payloads(found, WEIGHTS, "data/weights/", re.compile(r"weight_\d+")),
        _payloads(found, CONSTANTS, "data/constants/", re.compile(r"tensor_\d+")),
        found.get(SAMPLES, memoryview(b"")),
    )


def _refuse(fact: str) -> NoReturn:
    raise ParameterError(f"the exported program (.pt2) is not loaded: it {printable(fact)}")


def _json(found: Mapping[str, memoryview], name: str) -> dict[str, Any]:
    text = found.get(name)
    if text is None or len(text) > MAX_DOCUMENT:
        _refuse(f"has no entry {name!r}" if text is None else f"has {len(text)} bytes of {name!r}; {MAX_DOCUMENT} are allowed")
    try:
        document = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"the exported program (.pt2) is damaged: {name} is no JSON: {error}") from error
    if not isinstance(document, dict):
        _refuse(f"has no object in {name!r}")
    return document


def _payloads(found: Mapping[str, memoryview], config: str, folder: str, plain: re.Pattern[str]) -> dict[str, Payload]:
    described = _json(found, config).get("config")
    if not isinstance(described, dict):
        _refuse(f"describes no tensors in {config!r}")
    return {_path(name): _payload(name, entry, found, folder, plain) for name, entry in described.items()}


def _payload(name: str, described: Any, found: Mapping[str, memoryview], folder: str, plain: re.Pattern[str]) -> Payload:
    try:
        path, pickled, meta = described["path_name"], described["use_pickle"], described["tensor_meta"]
    except (KeyError, TypeError):
        _refuse(f"describes {name!r} in another way than torch does")
    if pickled is not False:
        _refuse(f"keeps {name!r} as a pickle, which could run anything (use_pickle)")
    if not isinstance(path, str) or not plain.fullmatch(path) or meta is None:
        _refuse(f"keeps {name!r} as {path!r}, which is an object and no tensor")
    storage = found.get(folder + path)
    if storage is None:
        _refuse(f"has no entry {folder + path!r} for {name!r}")
    try:
        dtype, itemsize = DTYPES[meta["dtype"]]
        shape, strides = _sizes(meta["sizes"]), _sizes(meta["strides"])
        (offset,) = _sizes([meta["storage_offset"]])
        trained, is_parameter = meta["requires_grad"] is True, described["is_param"] is True
    except (KeyError, TypeError, ValueError):
        _refuse(f"describes the tensor {name!r} in another way than torch does")
    if len(shape) != len(strides):
        _refuse(f"has {len(strides)} strides for the {len(shape)} dimensions of {name!r}")
    if storage and math.prod(shape):
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        # A tensor of stride 0 is larger than its storage, and whoever copies it takes that much memory.
        if (last + 1) * itemsize > len(storage) or math.prod(shape) * itemsize > max(len(storage), 2**20):
            _refuse(f"has fewer bytes for {name!r} than its shape {list(shape)} says")
    return Payload(path, is_parameter, trained, dtype, shape, strides, offset, storage)


def _sizes(values: Any) -> tuple[int, ...]:
    sizes = tuple(value["as_int"] for value in values)
    if not all(type(size) is int and 0 <= size < 2**48 for size in sizes) or len(sizes) > 64:
        raise ValueError("no sizes")
    return sizes


class _Cleaner:
    """Walks the whole document: refuses what could run, leaves out where it comes from, and moves it to the CPU.

    The walk goes by the names of fields, wherever they stand, so that a node inside an inner graph is checked like any other.
    """

    def __init__(self) -> None:
        self._checks: Mapping[str, Callable[[Any], Any]] = {
            "target": _operator,
            "as_operator": _operator,
            "expr_str": _shape,
            "in_spec": _arguments,
            "out_spec": _tree,
            "name": _name,
            "as_name": _name,
            "parameter_name": _path,
            "buffer_name": _path,
            "tensor_constant_name": _path,
            "user_input_name": _name,
            "forward_arg_names": _names,
            "guards_code": _guards,
            "range_constraints": _ranges,
            "as_custom_obj": _no_object,
            "custom_obj": _no_object,
            "custom_obj_values": _no_objects,
            "metadata": lambda _: {},
            "device": _on_cpu,
            "as_device": _on_cpu,
        }

    def program(self, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = self._cleaned(document)
        except RecursionError as error:
            raise ParameterError("the exported program (.pt2) is not loaded: its graphs are nested too deeply") from error
        if not isinstance(cleaned.get("graph_module"), dict) or not isinstance(cleaned["graph_module"].get("graph"), dict):
            _refuse("has no graph")
        return cleaned

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._field(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._cleaned(item) for item in value]
        return value

    def _field(self, key: str, value: Any) -> Any:
        # Here the keys are names of values and not of fields.
        if key in _MAPS and isinstance(value, dict):
            return {_name(name): self._cleaned(item) for name, item in value.items()}
        if key in self._checks:
            return self._checks[key](value)
        return self._cleaned(value)


_MAPS = frozenset({"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"})


def _name(value: Any) -> str | None:
    """A name of a node or an argument: it stands in the Python that torch generates."""
    if value is None or (isinstance(value, str) and (value == "" or (value.isidentifier() and not keyword.iskeyword(value)))):
        return value
    _refuse(f"has the name {value!r}, which is no identifier and would become code")


def _names(values: Any) -> Any:
    for value in values or ():
        _name(value)
    return values


def _path(value: Any) -> str:
    """A name of a tensor in the network: it stands in generated Python too, between quotes where it is no identifier."""
    if isinstance(value, str) and is_path(value):
        return value
    _refuse(f"has the tensor name {value!r}, which would become code or hide what a module has for itself")


#: Operators that take a graph. Others of the kind run what they were given, or reach outside.
_HIGHER_ORDER = (
    "cond|while_loop|map_impl|map|scan|associative_scan|wrap_with_set_grad_enabled|wrap_with_autocast|wrap"
    "|tag_activation_checkpoint|out_dtype|auto_functionalized|auto_functionalized_v2|invoke_subgraph|flex_attention"
)
_ARITHMETIC = (
    "add|sub|mul|floordiv|truediv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|lshift|rshift|getitem|trunc|index"
)
#: What the target of a node may be; torch would look up any attribute of itself, and ``torch.os.system`` is one. An operator of
#: a library is there if the user imported that library. `_of_a_file` reaches the disk.
_OPERATOR = re.compile(
    rf"torch\.ops\.(?!higher_order\.)[A-Za-z]\w*\.\w+\.\w+|torch\.ops\.higher_order\.({_HIGHER_ORDER})|_operator\.({_ARITHMETIC})"
    r"|math\.(ceil|floor|sqrt|trunc|log2|pow)|torch\.(_)?sym_\w+"
)
_OF_A_FILE = re.compile(r"torch\.ops\.aten\._?from_file\b")


def _operator(value: Any) -> str:
    if isinstance(value, str) and _OPERATOR.fullmatch(value) and not _OF_A_FILE.match(value):
        return value
    _refuse(f"calls {value!r}, which is no operator that a program may call")


def _no_object(value: Any) -> NoReturn:
    _refuse(f"holds an object of a class of its own: {value!r:.60}")


def _no_objects(value: Any) -> Any:
    if value:
        _no_object(value)
    return value


def _on_cpu(value: Any) -> Any:
    """The same on the CPU: a program runs where its weights are, wherever it was exported."""
    if isinstance(value, dict) and value.get("type") not in ("cpu", "meta"):
        return {"type": "cpu", "index": None}
    return value


def _ranges(value: Any) -> Any:
    for symbol, bounds in (value or {}).items():
        # torch counts up to the number of a symbol.
        ends = (bounds or {}).values() if isinstance(bounds, dict) else [""]
        if not re.fullmatch(r"[a-z]{1,8}\d{1,5}", symbol) or not all(type(end) in (int, type(None)) for end in ends):
            _refuse(f"bounds the symbol {symbol!r} in another way than torch does")
    return value


_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", "collections.deque")
NAMEDTUPLE = "collections.namedtuple"


def _tree(value: Any) -> Any:
    """The nesting of arguments or outputs; torch imports the modules that some descriptions name."""
    if value in (None, ""):
        return value
    for kind, context in _containers(_decoded_tree(value)):
        if kind == NAMEDTUPLE and isinstance(context, str):
            continue
        if kind not in _CONTAINERS or not _is_plain(context):
            _refuse(f"nests its arguments or outputs in {kind!r} with {context!r:.80}, which could import a module")
    return value


def _arguments(value: Any) -> Any:
    """As `_tree`; the names of keyword arguments stand in generated Python."""
    if _tree(value):
        root = _decoded_tree(value)
        children = root.get("children_spec") or []
        if root.get("type") == "builtins.tuple" and len(children) == 2 and children[1].get("type") == "builtins.dict":
            _names(json.loads(children[1]["context"]))
    return value


def _decoded_tree(value: Any) -> dict[str, Any]:
    try:
        protocol, root = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        protocol, root = None, None
    if protocol != 1 or not isinstance(root, dict):
        _refuse(f"describes how its arguments are nested in another way than torch does: {value!r:.60}")
    return root


def _containers(node: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(node, dict) or not isinstance(node.get("children_spec"), list):
        _refuse("describes how its arguments are nested in another way than torch does")
    if node.get("type") is not None:
        yield node["type"], node.get("context")
    for child in node["children_spec"]:
        yield from _containers(child)


def _is_plain(context: Any) -> bool:
    """Whether it is JSON text of nothing, a number, or a list of keys."""
    try:
        keys = json.loads(context)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(keys, int | None) or (isinstance(keys, list) and all(isinstance(key, str | int) for key in keys))


def _shape(text: Any) -> str:
    """A symbolic shape; sympy would evaluate any Python."""
    if not is_shape(text):
        _refuse(f"has a shape that is more than arithmetic on symbols: {text!r:.80}")
    return str(text)


def _guards(values: Any) -> list[str]:
    """What must hold of the inputs' shapes; torch makes a function of this text. It is checked and then left out."""
    for text in values if isinstance(values, list) else [values]:
        if not is_guard(text):
            _refuse(f"has a guard that is more than a comparison of shapes: {text!r:.80}")
    return []
