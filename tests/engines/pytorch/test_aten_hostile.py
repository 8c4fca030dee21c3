"""A program of the kind torch.aten from a stranger is read, or refused with the place; reading runs nothing of it."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import aten  # noqa: E402
from zoo_pytorch.aten import document as documents  # noqa: E402
from zoo_pytorch.aten.operators import ATEN, SIZES, find_operator  # noqa: E402

import zoo_core as zoo  # noqa: E402


class Small(nn.Module):
    """A little of everything that a program can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.tied = nn.Module()
        self.tied.weight = self.conv.weight
        self.register_buffer("scale", torch.ones(4), persistent=False)
        self.plain = torch.tensor([True, False, True, False])

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = torch.relu_(self.norm(self.conv(x)))
        halves = x.split(2, 1)
        made = torch.full((x.shape[0], 4), float("-inf"), device=x.device)
        pooled = x.mean((2, 3)) * self.scale
        return {"pooled": pooled.masked_fill(self.plain, 0.5), "parts": [halves[0], (made, None)], "size": x.shape[2] * 2}


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = {"x": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
        exported = torch.export.export(Small(), (torch.ones(2, 3, 6, 6),), dynamic_shapes=free)
    found: dict[str, Any] = json.loads(aten.write_program(exported))
    return found


def as_bytes(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def minimal(**changes: Any) -> dict[str, Any]:
    """The program of ``relu(x)``, changed."""
    return {
        "torch.aten": 1,
        "inputs": {"x": "float32[*]"},
        "nodes": [["relu", "aten::relu", ["x"]]],
        "output": "relu",
    } | changes


def node(*values: Any) -> dict[str, Any]:
    """The program whose one node this is."""
    return minimal(nodes=[list(values)], output="x")


def refused(document: Any, match: str = "torch.aten program: ") -> None:
    content = document if isinstance(document, bytes) else as_bytes(document)
    with pytest.raises(zoo.ParameterError, match=match):
        aten.read_program(content)


def test_the_programs_that_are_changed_here_are_valid(program: dict[str, Any]) -> None:
    aten.read_program(as_bytes(program))
    assert aten.read_program(as_bytes(minimal()))(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]
    aten.read_program(as_bytes(node("a", "aten::add.Tensor", ["x", 1])))


@pytest.mark.parametrize(
    "operator",
    [
        *(
            "aten::from_file",
            "aten::set_.source_Tensor",
            "aten::resize_",
            "aten::add.out",
            "aten::as_strided",
            "aten::view.dtype",
        ),
        *("aten::empty.memory_format", "aten::item", "aten::_local_scalar_dense", "aten::nonzero", "prim::Print", "aten::save"),
        *("aten::call_method", "builtins.eval", "operator.methodcaller", "torch.load", "os.system", "aten::relu.default", ""),
        *("operator.attrgetter", "math.factorial", "zoo::count_batch", "aten::record_stream", "aten::_linalg_det", "getattr"),
    ],
)
def test_an_operator_that_is_not_listed_is_refused(operator: str) -> None:
    refused(node("a", operator, ["x"]), r"node 0 'a' .*: no program may call this operator")


def test_the_list_is_sorted_and_holds_no_operator_that_touches_files_or_raw_memory() -> None:
    assert list(ATEN) == sorted(set(ATEN))
    assert list(SIZES) == sorted(SIZES)
    for name in ATEN:
        found = find_operator(name)
        assert found is not None
        assert not any(part in name for part in ("file", ".out", "set_", "resize", "strided", "empty", "storage", "view.dtype"))
        kinds = {parameter.type.kind for parameter in found.parameters}
        assert kinds <= {
            *("Tensor", "List", "int", "float", "bool", "number", "str"),
            *("ScalarType", "Layout", "MemoryFormat", "Device", "Generator"),
        }
        assert bool(found.written) == name.partition(".")[0].endswith("_")


INJECTIONS = (
    "__import__('pathlib').Path('MARKER').touch()",
    "x\n    __import__('pathlib').Path('MARKER').touch()",
    "x=__import__('pathlib').Path('MARKER').touch()",
    "x);__import__('pathlib').Path('MARKER').touch();(",
    "');__import__('pathlib').Path('MARKER').touch()#",
    "\");__import__('pathlib').Path('MARKER').touch()#",
    "a\");__import__('pathlib').Path('MARKER').touch()#.weight",
    "{__import__('pathlib').Path('MARKER').touch()}",
    "\\');__import__('pathlib').Path('MARKER').touch()#",
)


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_of_a_program_becomes_code(text: str, tmp_path: Path) -> None:
    """In every place that holds text; where text is free, it arrives as it was, and nothing ran."""
    marker = tmp_path / "marker"
    text = text.replace("MARKER", str(marker)[-100:])
    documents = [
        minimal(inputs={"x": "float32[*]", text: "float32[1]"}),
        minimal(inputs={"x": "float32[*]", text: {"value": 1}}),
        minimal(inputs={"x": "float32[*]", "y": {"value": text}}),
        minimal(inputs={"x": text}),
        minimal(parameters={text: "float32[1]"}),
        minimal(parameters={"a": text}),
        minimal(buffers={text: "float32[1]"}),
        minimal(unsaved={text: ["float32[1]", "AAAAAA=="]}),
        minimal(constants={"a": [text, text]}),
        minimal(parameters={"a": "float32[1]"}, tied={text: "a"}),
        minimal(parameters={"a": "float32[1]"}, frozen=[text]),
        node(text, "aten::relu", ["x"]),
        node("a", text, ["x"]),
        node("a", "aten::relu", [text]),
        node("a", "aten::relu", [], {text: "x"}),
        node("a", "aten::relu", ["x"], {text: "x"}),
        node("a", "aten::gelu", ["x"], {"approximate": text}),
        node("a", "aten::einsum", [text, ["x"]]),
        node("a", "aten::to.dtype", ["x", text]),
        node("a", "aten::zeros", [[1]], {"device": text}),
        node("a", "aten::zeros", [[1]], {"layout": text}),
        node("a", "aten::clone", ["x"], {"memory_format": text}),
        node("a", "aten::add.Scalar", ["x", {"float": text}]),
        node("a", "aten::add.Scalar", ["x", {text: "inf"}]),
        node("a", "operator.mul", [text, 2]),
        minimal(output=text),
        minimal(output={"dict": {text: "relu"}}),
        minimal(output={"list": ["relu", {"value": text}]}),
        minimal() | {text: 1},
    ]
    for document in documents:
        try:
            network = aten.read_program(as_bytes(document))
        except zoo.ParameterError:
            continue
        for arguments in ((torch.ones(1),), (torch.ones(1), text)):
            try:
                network(*arguments)
            except (RuntimeError, TypeError, zoo.InputError):  # what the operator says to the text, or the input to its value
                continue
    assert not marker.exists()
    assert not Path(marker.name).exists()


@pytest.mark.parametrize(
    "path",
    [
        *(
            "forward",
            "__class__",
            "__dict__",
            "_parameters",
            "_buffers",
            "_modules",
            "training",
            "_forward_hooks",
            "train",
            "_apply",
        ),
        *(
            "graph",
            "_graph",
            "code",
            "meta",
            "recompile",
            "_code",
            "load_state_dict",
            "_extra_state",
            "a._extra_state",
        ),
        *(
            "a..b",
            ".a",
            "a.",
            "",
            ".",
            "a.forward",
            "a.__init__",
            "a._parameters.b",
            "a.class",
            "None",
            "a b",
            "a\n",
            "é",
            "a/b",
        ),
        *(
            "a.training",
            "x" * 200,
            ".".join("a" * 40),
            "a.state_dict",
            "get_submodule",
            "a.0.requires_grad_",
            "_load_from_state_dict",
        ),
    ],
)
def test_a_path_that_hides_what_a_module_has_is_refused(path: str) -> None:
    for key in ("parameters", "buffers"):
        refused(minimal(**{key: {path: "float32[1]"}}), "no tensor may stand at")
    for key in ("unsaved", "constants"):
        refused(minimal(**{key: {path: ["float32[1]", "AAAAAA=="]}}), "no tensor may stand at")
    refused(minimal(parameters={"a": "float32[1]"}, tied={path: "a"}), "no tensor may stand at|is tied to")


@pytest.mark.parametrize(
    "name", ["self", "torch", "inf", "getattr", "class", "None", "__x", "zoo_x", "a.b", "a-b", "", "1a", "é", "*a"]
)
def test_a_name_that_hides_what_generated_code_uses_is_refused_for_an_input(name: str) -> None:
    refused(minimal(inputs={"x": "float32[*]", name: "float32[1]"}), "no such name is allowed for an input")


@pytest.mark.parametrize("operator", ["aten::alias", "aten::relu"])
def test_no_node_stands_for_the_network(operator: str) -> None:
    """What a program reads of the network would be read of the caller's tensor: the tensor that it is a view of, its data."""
    for path in ("_base", "data", "weight"):
        constants = {path: ["float32[1]", "AAAAAA=="]} if path != "data" else {}
        document = minimal(constants=constants, nodes=[["self", operator, ["x"]], ["y", "aten::add.Tensor", ["self", "x"]]])
        refused(document, "its name is no identifier, or is taken|no tensor may stand at")
    refused(minimal(parameters={"self": "float32[1]"}), "no tensor may stand at")
    refused(minimal(parameters={"self.x": "float32[1]"}), "no tensor may stand at")


@pytest.mark.parametrize("name", ["input", "len", "print", "max", "id", "relu_1", "training_1", "forward"])
def test_names_of_builtins_are_names_like_others(name: str) -> None:
    nodes = [["max", "aten::relu", [name]], ["relu", "aten::neg", ["max"]], ["training", "aten::neg", ["relu"]]]
    nodes = [one for one in nodes if one[0] != name] if name == "max" else nodes
    nodes[0][2] = [name]
    if name == "max":
        nodes[0][0] = "first"
        nodes[1][2] = ["first"]
    network = aten.read_program(as_bytes(minimal(inputs={name: "float32[*]"}, nodes=nodes, output=nodes[-1][0])))

    assert torch.equal(network(torch.tensor([-1.0, 2.0])).abs(), network(**{name: torch.tensor([-1.0, 2.0])}).abs())


MALFORMED: dict[str, Any] = {
    "no mapping": b'{"torch.aten":1,',
    "another version": {"torch.aten": 2, "inputs": {}, "nodes": [], "output": None},
    "a key of another kind": minimal(code="print()"),
    "no nodes": {key: value for key, value in minimal().items() if key != "nodes"},
    "inputs as a list": minimal(inputs=["x"]),
    "an input without a type": minimal(inputs={"x": None}),
    "an input of two keys": minimal(inputs={"x": {"value": 1, "more": 2}}),
    "a type of no dtype": minimal(inputs={"x": "object[1]"}),
    "a type of a quantized dtype": minimal(inputs={"x": "qint8[1]"}),
    "a type of a negative size": minimal(inputs={"x": "float32[-1]"}),
    "a type of too many sizes": minimal(inputs={"x": f"float32[{','.join('1' * 65)}]"}),
    "a parameter of a free size": minimal(parameters={"a": "float32[*]"}),
    "an absurd parameter": minimal(parameters={"a": "float32[999999999999,999999999999]"}),
    "an integer parameter that is trained": minimal(parameters={"a": "int64[1]"}),
    "a path that stands twice": minimal(parameters={"a": "float32[1]"}, buffers={"a": "float32[1]"}),
    "a tensor that is a module": minimal(parameters={"a": "float32[1]", "a.b": "float32[1]"}),
    "a tie to nothing": minimal(tied={"a": "b"}),
    "a tie to itself": minimal(parameters={"a": "float32[1]"}, tied={"a": "a"}),
    "a tie to a constant": minimal(constants={"a": ["float32[1]", "AAAAAA=="]}, tied={"b": "a"}),
    "a frozen buffer": minimal(buffers={"a": "float32[1]"}, frozen=["a"]),
    "a frozen list": minimal(parameters={"a": "float32[1]"}, frozen=[["a"]]),
    "base64 that is none": minimal(constants={"a": ["float32[1]", "A?AA"]}),
    "base64 of another length": minimal(constants={"a": ["float32[2]", "AAAAAA=="]}),
    "a constant of no text": minimal(constants={"a": ["float32[1]", 0]}),
    "a constant of no list": minimal(constants={"a": "float32[1]"}),
    "booleans that are none": minimal(constants={"a": ["bool[3]", base64.b64encode(b"\0\2\1").decode()]}),
    "a node of no list": minimal(nodes=["relu"]),
    "a node without a name": node(None, "aten::relu", ["x"]),
    "a node whose name is a list": node(["a"], "aten::relu", ["x"]),
    "a node of five": node("a", "aten::relu", ["x"], {}, 1),
    "a node that takes a mapping": node("a", "aten::relu", {"self": "x"}),
    "a node named like an input": node("x", "aten::relu", ["x"]),
    "a node named like another": minimal(nodes=[["relu", "aten::relu", ["x"]]] * 2),
    "a node that refers to itself": node("a", "aten::relu", ["a"]),
    "a node that refers to a later one": minimal(nodes=[["a", "aten::relu", ["b"]], ["b", "aten::relu", ["x"]]]),
    "a node that refers to no tensor": node("a", "aten::relu", ["0"]),
    "a node that refers far": node("a", "aten::relu", ["9" * 30]),
    "too few arguments": node("a", "aten::add.Tensor", ["x"]),
    "too many arguments": node("a", "aten::relu", ["x", "x"]),
    "an argument given twice": node("a", "aten::relu", ["x"], {"self": "x"}),
    "an unknown argument": node("a", "aten::relu", ["x"], {"out": "x"}),
    "null for a tensor": node("a", "aten::relu", [None]),
    "a list for a tensor": node("a", "aten::relu", [["x"]]),
    "a tensor for a list": node("a", "aten::cat", ["x"]),
    "a list in a list": node("a", "aten::reshape", ["x", [[1]]]),
    "text for a number": node("a", "aten::add.Scalar", ["x", "1"]),
    "a tensor for a size": node("a", "aten::reshape", ["x", ["x"]]),
    "a fraction for a size": node("a", "aten::reshape", ["x", [1.5]]),
    "a boolean for a size": node("a", "aten::reshape", ["x", [True]]),
    "a number for a boolean": node("a", "aten::dropout", ["x", 0.5, 1]),
    "a number for text": node("a", "aten::gelu", ["x"], {"approximate": 1}),
    "a number for a dtype": node("a", "aten::to.dtype", ["x", 6]),
    "a layout that is none": node("a", "aten::zeros", [[1]], {"layout": "sparse_coo"}),
    "a device by name": node("a", "aten::zeros", [[1]], {"device": "cpu"}),
    "a generator": node("a", "aten::bernoulli", ["x"], {"generator": "x"}),
    "text beyond ASCII": node("a", "aten::einsum", ["\u202e", ["x"]]),
    "text that is long": node("a", "aten::einsum", ["a" * 1000, ["x"]]),
    "an integer beyond 64 bits": node("a", "aten::add.Scalar", ["x", 1 << 63]),
    "an integer far beyond 64 bits": node("a", "aten::add.Scalar", ["x", 10**4000]),
    "a float that is none": node("a", "aten::add.Scalar", ["x", {"float": "1"}]),
    "a complex number of three": node("a", "aten::add.Scalar", ["x", {"complex": [1, 2, 3]}]),
    "a mode where none is": node("a", "aten::add.Scalar", ["x", "@training"]),
    "a mode for a probability": node("a", "aten::dropout", ["x", "@training", True]),
    "a probability where none is": node("a", "aten::dropout", ["x", {"training": 0.5}, True]),
    "a counter of no batch norm": minimal(buffers={"a": "int64[]"}, nodes=[["relu", "aten::relu", ["x"], {"counter": "0"}]]),
    "a size of no tensor": node("a", "operator.mul", ["x", 2]),
    "a sum of texts": node("a", "operator.add", ["a", "b"]),
    "a result that is not there": minimal(nodes=[["a", "aten::max.dim", ["x", 0]], ["b", "operator.getitem", ["a", 2]]]),
    "a result of a single tensor": node("a", "operator.getitem", ["x", 0]),
    "a result by text": minimal(nodes=[["a", "aten::max.dim", ["x", 0]], ["b", "operator.getitem", ["a", "__class__"]]]),
    "several results as one": minimal(nodes=[["a", "aten::max.dim", ["x", 0]], ["b", "aten::relu", ["a"]]]),
    "an output that is not there": minimal(output="y"),
    "an output of several results": minimal(nodes=[["a", "aten::max.dim", ["x", 0]]], output="a"),
    "an output by number": minimal(output=3),
    "an output of another nesting": minimal(output={"set": ["relu"]}),
    "an output of two nestings": minimal(output={"list": ["relu"], "tuple": []}),
    "writing to an input": node("a", "aten::mul_.Tensor", ["x", 2]),
    "writing to a view of an input": minimal(nodes=[["a", "aten::view", ["x", [-1]]], ["b", "aten::mul_.Tensor", ["a", 2]]]),
    "writing to a parameter": minimal(parameters={"w": "float32[1]"}, nodes=[["relu", "aten::zero_", ["0"]]]),
    "statistics in an input": minimal(
        inputs={"x": "float32[*]", "mean": "float32[1]", "var": "float32[1]"},
        nodes=[["relu", "aten::batch_norm", ["x", None, None, "mean", "var", True, 0.1, 1e-5, False]]],
    ),
}


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in MALFORMED.items()])
def test_a_malformed_program_is_refused(document: Any) -> None:
    refused(document)


@pytest.mark.parametrize(
    ("document", "limit"),
    [
        pytest.param(node("a", "aten::zeros", [[1 << 40]]), "elements", id="zeros"),
        pytest.param(node("a", "aten::full", [[1 << 20, 1 << 20], 1.0]), "elements", id="full"),
        pytest.param(node("a", "aten::repeat", ["x", [1 << 40]]), "elements", id="repeat"),
        pytest.param(node("a", "aten::constant_pad_nd", ["x", [0, 1 << 40]]), "elements", id="pad"),
        pytest.param(node("a", "aten::arange", [1 << 40]), "elements", id="arange"),
        pytest.param(node("a", "aten::arange.start_step", [0, 1, 1e-30]), "magnitude", id="steps of arange"),
        pytest.param(node("a", "aten::arange.start_step", [0, 1, {"float": "nan"}]), "magnitude", id="no steps of arange"),
        pytest.param(node("a", "aten::linspace", [0, 1, 1 << 40]), "elements", id="linspace"),
        pytest.param(node("a", "aten::eye", [1 << 40]), "elements", id="eye"),
        pytest.param(node("a", "aten::one_hot", ["x", 1 << 40]), "elements", id="one_hot"),
        pytest.param(node("a", "aten::tensor_split.sections", ["x", 1 << 40]), "elements", id="tensor_split"),
        pytest.param(node("a", "aten::upsample_nearest1d.vec", ["x", None, [1e30]]), "elements", id="upsample"),
        pytest.param(
            minimal(
                nodes=[
                    ["a", "aten::sym_size.int", ["x", 0]],
                    *([f"b{n}", "operator.mul", [f"b{n - 1}" if n else "a"] * 2] for n in range(99)),
                ]
            ),
            "bits",
            id="squares of squares",
        ),
        pytest.param(
            minimal(nodes=[["a", "aten::sym_size.int", ["x", 0]], ["b", "operator.pow", ["a", 1 << 40]]]),
            "exponent",
            id="a power",
        ),
        pytest.param(node("a", "operator.pow", [-2, 2]), "takes a size", id="a power of a number"),
        pytest.param(
            minimal(nodes=[[f"n{n}", "aten::relu", ["x"]] for n in range(20_001)], output="x"), "20001 nodes", id="nodes"
        ),
        pytest.param(
            minimal(inputs={f"x{n}": "float32[1]" for n in range(300)}, nodes=[], output="x1"), "300 inputs", id="inputs"
        ),
        pytest.param(
            minimal(parameters={f"{'a.' * 20}{n}.{'b.' * 9}c": "float32[1]" for n in range(3000)}), "modules", id="modules"
        ),
        pytest.param(node("a", "aten::reshape", ["x", [1] * 300_000]), "more than", id="values"),
        pytest.param(
            minimal(output={"list": [{"list": [{"list": [{"list": [{"list": []}]}]}]}]} | {}), "", id="nested a little"
        ),
    ],
)
def test_an_absurd_program_is_refused_in_no_time_and_in_little_memory(document: Any, limit: str) -> None:
    content = as_bytes(document)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        if limit:
            refused(content, limit)
        else:
            aten.read_program(content)
        took, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < 5
    assert peak < 100 << 20


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"list":['])
def test_deep_nesting_is_refused_and_no_recursion_ends_the_process(opening: str) -> None:
    for depth in (10, 1000, 200_000):
        refused(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":' + opening.encode() * depth)
        closing = {"[": "]", '{"a":': "}", '{"list":[': "]}"}[opening]
        text = opening * depth + ("1" if opening == '{"a":' else "") + closing * depth
        refused(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":' + text.encode() + b"}")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"PK\3\4", id="an archive"),
        pytest.param(b'{"torch.aten":2,"inputs":{}}', id="another version"),
        pytest.param(b'{ "torch.aten":1,"inputs":{},"nodes":[],"output":null}', id="another spelling"),
        pytest.param(b'{"torch.aten":1,"torch.aten":1,"inputs":{},"nodes":[],"output":null}', id="a key twice"),
        pytest.param(
            b'{"torch.aten":1,"inputs":{"x":"float32[1]","x":"float32[2]"},"nodes":[],"output":"x"}', id="an input twice"
        ),
        pytest.param(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":{"value":NaN}}', id="NaN"),
        pytest.param(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":{"value":1e999}}', id="an infinite number"),
        pytest.param(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":{"value":' + b"9" * 10_000 + b"}}", id="a long number"),
        pytest.param(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"torch.aten":1,"inputs":{},"nodes":[],"output":null}\0', id="more afterwards"),
        pytest.param(b'{"torch.aten":1,' + b" " * (65 << 20), id="too large"),
    ],
)
def test_content_that_is_no_program_is_refused(content: bytes) -> None:
    refused(content)


def test_a_program_that_ends_early_is_refused_wherever_it_ends(program: dict[str, Any]) -> None:
    content = as_bytes(program)
    for end in range(0, len(content), 7):
        refused(content[:end])


def test_large_programs_within_the_bounds_are_read_in_linear_time() -> None:
    """A chain of nodes as long as is allowed, whose names collide in the generated code."""
    nodes = [
        [f"max{'_1' * (n % 2)}_{n}", "aten::relu", ["x" if n == 0 else f"max{'_1' * ((n - 1) % 2)}_{n - 1}"]]
        for n in range(5_000)
    ]

    start = time.perf_counter()
    network = aten.read_program(as_bytes(minimal(nodes=nodes, output=nodes[-1][0])))

    assert time.perf_counter() - start < 10
    assert network(torch.tensor([-1.0, 3.0])).tolist() == [0, 3]


TOKENS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63), 0.5, -0.0, 1e300]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["x", "0", "3", "99", "@training", "@device", "conv2d", "add", "float32[*,3]", "float16", "relu_", "__class__"]
    ),
    st.sampled_from([[], {}, [[]], {"float": "nan"}, {"complex": [1, 2]}, {"list": ["x"]}, {"value": 1}, {"training": 0.5}]),
    st.sampled_from(ATEN),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_changed_program_is_a_network_or_refused(data: st.DataObject, program: dict[str, Any]) -> None:
    document = json.loads(as_bytes(program))
    for _ in range(data.draw(st.integers(1, 3))):
        change(document, data)

    start = time.perf_counter()
    try:
        network = aten.read_program(as_bytes(document))
    except zoo.ParameterError as error:
        assert "torch.aten program" in str(error)  # noqa: PT017  # the other outcome is as good
    else:
        assert isinstance(network, aten.AtenNetwork)
        for name in aten.facts_of(network).outputs[:2]:
            aten.read_program(aten.cut_program(as_bytes(document), name))
    assert time.perf_counter() - start < 5


def change(document: Any, data: st.DataObject) -> None:
    """Replace, remove, repeat or rename one value."""
    place = data.draw(st.sampled_from(places(document)[1:]))
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    key = place[-1]
    match data.draw(st.sampled_from(["replace", "remove", "repeat", "rename", "exchange"])):
        case "replace":
            holder[key] = data.draw(TOKENS)
        case "remove":
            del holder[key]
        case "repeat" if isinstance(holder, list):
            holder.insert(key, holder[key])
        case "rename" if isinstance(holder, dict):
            holder[data.draw(st.one_of(st.text(max_size=6), st.sampled_from(["forward", "a.b", "x"])))] = holder.pop(key)
        case "exchange" if isinstance(holder, list):
            holder.reverse()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_a_network_or_refused(data: st.DataObject, program: dict[str, Any]) -> None:
    content = bytearray(as_bytes(program))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    try:
        assert isinstance(aten.read_program(bytes(content)), aten.AtenNetwork)
    except zoo.ParameterError as error:
        assert "torch.aten program" in str(error)  # noqa: PT017  # the other outcome is as good


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([["x", "x"], ["0", "1"], False, 2], id="more layers than weights"),
        pytest.param([["x", "x"], ["0", "0"], False, 1], id="weights of another shape"),
        pytest.param([["x"], ["0", "1"], False, 1], id="one state"),
        pytest.param([["x", 1], ["0", "1"], False, 1], id="a number as state"),
        pytest.param([["x", "x"], [], False, 0], id="no layers"),
    ],
)
def test_a_recurrent_operator_is_called_with_shapes_that_fit_only(arguments: list[Any]) -> None:
    """PyTorch's own operator writes beyond its memory with others."""
    network = aten.read_program(
        as_bytes(
            minimal(
                inputs={"x": "float32[*,*,*]"},
                buffers={"a": "float32[16,3]", "b": "float32[16,4]"},
                nodes=[
                    ["a", "aten::lstm.input", ["x", *arguments, 0.0, False, False, False]],
                    ["b", "operator.getitem", ["a", 0]],
                ],
                output="b",
            )
        )
    ).to_empty(device="cpu")

    with pytest.raises(zoo.InputError, match="a recurrent layer"):
        network(torch.ones(1, 2, 4))


def test_errors_say_where_and_show_nothing_that_a_terminal_obeys() -> None:
    refused(node("a", "aten::relu\x1b[31m", ["x"]), r"node 0 'a' 'aten::relu\\\\x1b\[31m': no program may call")
    refused(node("conv", "aten::conv2d", ["x", "y"]), r"node 0 'conv' 'aten::conv2d': it refers to 'y', which is no input or")
    refused(node("a", "aten::conv2d", ["x", "x", None, "x"]), r"argument stride is 'x'; expected list of int")
    assert documents.MAX_BYTES <= 64 << 20
