"""Hostile symbols: each ends in a ParameterError, soon, before MXNet sees anything of it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoo_core import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

# The inspection itself needs no MXNet; it is installed with it all the same.
inspection = pytest.importorskip("zoo_mxnet.inspection", reason="needs zoo-mxnet: pip install zoo-mxnet")
operators = pytest.importorskip("zoo_mxnet.operators")

GOOD: dict[str, Any] = {
    "nodes": [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "fc_weight", "attrs": {"__shape__": "(4, 0)"}, "inputs": []},
        {"op": "null", "name": "fc_bias", "inputs": []},
        {"op": "FullyConnected", "name": "fc", "attrs": {"num_hidden": "4"}, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]},
        {"op": "SliceChannel", "name": "halves", "attrs": {"num_outputs": "2", "axis": "1"}, "inputs": [[3, 0, 0]]},
        {"op": "Concat", "name": "joined", "attrs": {"num_args": "2", "dim": "1"}, "inputs": [[4, 1, 0], [4, 0, 0]]},
        {"op": "Reshape", "name": "shaped", "attrs": {"shape": "(0, -1)"}, "inputs": [[5, 0, 0]]},
    ],
    "arg_nodes": [0, 1, 2],
    "node_row_ptr": [0, 1, 2, 3, 4, 6, 7, 8],
    "heads": [[6, 0, 0]],
    "attrs": {"mxnet_version": ["int", 10901], "zoo_inputs": ["list_str", ["data"]]},
}
FC, SPLIT, JOIN = 3, 4, 5

#: As Gluon writes a recurrent layer, with sizes of 0 that MXNet infers.
RECURRENT: dict[str, Any] = {
    "nodes": [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "weight", "attrs": {"__shape__": "(16, 3)"}, "inputs": []},
        {"op": "null", "name": "others", "attrs": {"__shape__": "(96,)"}, "inputs": []},
        {"op": "Reshape", "name": "row", "attrs": {"shape": "-1"}, "inputs": [[1, 0, 0]]},
        {"op": "_rnn_param_concat", "name": "packed", "attrs": {"dim": "0", "num_args": "2"}, "inputs": [[3, 0, 0], [2, 0, 0]]},
        {"op": "_zeros", "name": "h", "attrs": {"shape": "(1, 0, 4)", "dtype": "float32"}, "inputs": []},
        {"op": "_zeros", "name": "c", "attrs": {"shape": "(1, 0, 4)", "dtype": "float32"}, "inputs": []},
        {"op": "RNN", "name": "lstm", "inputs": [[0, 0, 0], [4, 0, 0], [5, 0, 0], [6, 0, 0]],
         "attrs": {"mode": "lstm", "state_size": "4", "num_layers": "1", "bidirectional": "False", "state_outputs": "True",
                   "p": "0", "projection_size": "None", "use_sequence_length": "False"}},
        {"op": "Concat", "name": "joined", "attrs": {"num_args": "2", "dim": "0"}, "inputs": [[7, 1, 0], [7, 2, 0]]},
    ],
    "arg_nodes": [0, 1, 2],
    "heads": [[7, 0, 0], [8, 0, 0]],
    "attrs": {"mxnet_version": ["int", 10901], "zoo_inputs": ["list_str", ["data"]]},
}  # fmt: skip
LSTM = 7


def changed(change: Callable[[Any], Any]) -> bytes:
    document = copy.deepcopy(GOOD)
    change(document)
    return json.dumps(document).encode()


def recurrent(index: int = LSTM, **texts: str) -> bytes:
    document = copy.deepcopy(RECURRENT)
    document["nodes"][index]["attrs"].update(texts)
    return json.dumps(document).encode()


def node(index: int, **fields: Any) -> Callable[[Any], Any]:
    return lambda document: document["nodes"][index].update(fields)


def attribute(index: int, **texts: str) -> Callable[[Any], Any]:
    return lambda document: document["nodes"][index]["attrs"].update(texts)


def whole(**fields: Any) -> Callable[[Any], Any]:
    return lambda document: document.update(fields)


def use(op: str, **attributes: str) -> Callable[[Any], Any]:
    """One more node, on the last one's output."""
    return lambda document: (
        document["nodes"].append({"op": op, "name": "more", "attrs": attributes, "inputs": [[6, 0, 0]]}),
        document["node_row_ptr"].append(9),
    )


def operator(op: str, **attributes: str) -> Callable[[Any], Any]:
    """One more node, without inputs."""
    return lambda document: (
        document["nodes"].append({"op": op, "name": "more", "attrs": attributes, "inputs": []}),
        document["node_row_ptr"].append(9),
    )


def normalised(mean: int, variance: int) -> Callable[[Any], Any]:
    """One more node, which writes to two others in training."""
    more = {"op": "BatchNorm", "name": "more", "inputs": [[6, 0, 0], [1, 0, 0], [1, 0, 0], [mean, 0, 0], [variance, 0, 0]]}
    return lambda document: (document["nodes"].append(more), document.pop("node_row_ptr"))


def refused(content: bytes, reason: str) -> None:
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(ParameterError, match=reason):
            inspection.inspected(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 10
    assert peak < 4 * 2**20 + 100 * len(content)


def test_the_examples_themselves_are_read() -> None:
    graph = inspection.inspected(json.dumps(GOOD).encode())

    assert graph.inputs == ("data",)
    assert graph.variables == ("data", "fc_weight", "fc_bias")
    for example in (graph, inspection.inspected(recurrent())):
        assert inspection.inspected(example.text().encode()) == example


@pytest.mark.parametrize(
    "op",
    ["_Native", "_NDArray", "Custom", "_CustomFunction", "_NoGradient", "_cvimread", "_cvimdecode", "_npi_cvimread",
     "_imdecode", "_foreach", "_while_loop", "_cond", "_CachedOp", "_CachedOpThreadSafe", "_backward_Custom", "_backward_relu",
     "_set_value", "sgd_update", "_sg_mkldnn_conv", "SequenceLast", "no_such_operator", "null ", ""],
)  # fmt: skip
def test_operators_that_are_not_listed_are_refused_by_name(op: str) -> None:
    refused(changed(node(FC, op=op)), f"node 'fc' uses the operator '{op}', which is not among the")


def test_the_list_is_sorted_and_has_nothing_that_runs_writes_or_nests() -> None:
    names = list(operators.OPERATORS)

    assert names == sorted(names)
    assert not [
        name for name in names
        if name.startswith(("_backward", "_sg_", "_np_", "_npi_", "_image", "_random", "_sample", "_cv"))
        or name.endswith(("_update", "Function", "Op"))
        or name in ("_Native", "_NDArray", "Custom", "_foreach", "_while_loop", "_cond", "_copyto", "_set_value")
    ]  # fmt: skip
    assert set(operators.ALIASES.values()) <= set(names)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON"),
        (b"{]", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff{}", "no JSON"),
        (b'{"nodes":' + b"[" * 200_000, "no JSON"),
        (b'{"nodes":[],"nodes":[]}', "stands twice"),
        (changed(lambda document: document["attrs"].update(x=float("nan"))), "NaN is no JSON"),
        (changed(whole(more=1)), "it has more"),
        (changed(lambda document: document.pop("heads")), "it has no heads"),
        (changed(whole(nodes=[])), "a list of 1 to"),
        (changed(whole(nodes=[{"op": "null", "name": "v", "inputs": []}] * 50_001)), "a list of 1 to 50000 nodes"),
        (b" " * (16 * 2**20 + 1), "16777217 bytes; up to 16777216"),
        (changed(whole(attrs={"mxnet_version": ["int", -1]})), "mxnet_version"),
        (changed(whole(attrs={"mxnet_version": ["int", True]})), "mxnet_version"),
        (changed(whole(attrs=[])), "attrs are no object"),
        (changed(whole(attrs={"zoo_inputs": ["list_str", ["other"]]})), "are no variables"),
        (changed(whole(attrs={"zoo_inputs": "data"})), "zoo_inputs is"),
        (changed(whole(heads=[])), "1 to 4096 heads"),
        (changed(whole(heads=[[6, 0, 0]] * 5000)), "1 to 4096 heads"),
        (changed(whole(heads=[[6, 1, 0]])), "'shaped' has no output of number 1; it gives 1"),
        (changed(whole(heads=[[7, 0, 0]])), "is no earlier node"),
        (changed(whole(heads=[[-1, 0, 0]])), "is no earlier node"),
        (changed(whole(heads=[[6.0, 0, 0]])), "is no node and output"),
        (changed(whole(heads=[[True, 0, 0]])), "is no node and output"),
        (changed(whole(heads=[[6]])), "is no node and output"),
        (changed(whole(arg_nodes=[0, 1])), "arg_nodes are not its variables"),
        (changed(whole(arg_nodes=[0, 1, 3])), "arg_nodes are not its variables"),
        (changed(whole(arg_nodes=[-1, 1, 2])), "arg_nodes are not its variables"),
        (changed(whole(arg_nodes=[False, True, 2])), "arg_nodes are not its variables"),
        (changed(whole(node_row_ptr=[0, 1])), "node_row_ptr"),
        (changed(whole(node_row_ptr=[0, 1, 2, 3, 4, 5, 6, 7])), "node_row_ptr does not count"),
        (changed(whole(node_row_ptr=[0, 1, 2, 3, 4, 6, 7, 10**12])), "node_row_ptr does not count"),
        (changed(node(FC, subgraphs=[{}])), "node 3 has a graph inside"),
        (changed(node(FC, control_deps=[7])), "node 3 is not described"),
        (changed(node(FC, name="data")), "two nodes are called 'data', and one is a variable"),
        (changed(node(FC, name="")), "node 3 is called"),
        (changed(node(FC, name="a\x1b[2J")), "node 3 is called"),
        (changed(node(FC, name="f" * 257)), "node 3 is called"),
        (changed(node(FC, name='a"b')), "node 3 is called"),
        (changed(node(FC, name=1)), "node 3 is not described"),
        (changed(node(FC, attrs=[])), "'fc' has attributes that are no object"),
        (changed(node(FC, attrs={"num_hidden": 4})), "'fc': attribute 'num_hidden' is no short text"),
        (changed(node(FC, attrs={"num_hidden": "4\n"})), "'fc': attribute 'num_hidden' is no short text"),
        (changed(node(FC, attrs={f"__{chr(97 + i % 26)}{'x' * i}__": "" for i in range(65)})), "65 attributes"),
        (changed(node(1, attrs={"__init__": "x" * 5000})), "'fc_weight': attribute '__init__' is no short text"),
        (changed(node(1, inputs=[[0, 0, 0]])), "'fc_weight' is a variable that has inputs"),
        (changed(node(FC, inputs=[[0, 0, 0], [1, 0, 0]])), r"'fc' \(FullyConnected\): expected 3 as its number of inputs"),
        (changed(node(FC, inputs=[[0, 0, 0]] * 9)), r"expected 3 as its number of inputs, found 9"),
        (changed(node(FC, inputs=[])), "expected 3 as its number of inputs, found 0"),
        (changed(node(FC, inputs=[[3, 0, 0], [1, 0, 0], [2, 0, 0]])), "is no earlier node"),
        (changed(node(FC, inputs=[[5, 0, 0], [1, 0, 0], [2, 0, 0]])), "is no earlier node"),
        (changed(node(FC, inputs=[[0, 5, 0], [1, 0, 0], [2, 0, 0]])), "'data' has no output of number 5; it gives 1"),
        (changed(node(JOIN, inputs=[[4, 2, 0], [4, 0, 0]])), "'halves' has no output of number 2; it gives 2"),
        (changed(attribute(FC, no_bias="True")), "expected 2 as its number of inputs, found 3"),
        (changed(attribute(FC, num_hidden="-4")), "num_hidden is '-4'; expected a whole number from 1"),
        (changed(attribute(FC, num_hidden="99999999999999999999")), "num_hidden is"),
        (changed(attribute(FC, num_hidden="2000000000")), "num_hidden is"),
        (changed(attribute(FC, num_hidden="0x10")), "num_hidden is"),
        (changed(attribute(FC, flatten="maybe")), "flatten is 'maybe'; expected True or False"),
        (changed(attribute(FC, unknown="1")), "'unknown'"),
        (changed(attribute(SPLIT, num_outputs="1000000000")), "num_outputs is"),
        (changed(attribute(SPLIT, axis="99")), "axis is '99'"),
        (changed(attribute(JOIN, num_args="5")), "expected 5 as its number of inputs, found 2"),
        (changed(operator("_zeros", shape="(1000000, 1000000)")), "shape is"),
        (changed(operator("_zeros", shape="(-1,)")), "shape is"),
        (changed(operator("_full", shape="(2,)", value="nan")), "value is 'nan'"),
        (changed(operator("_ones", shape=str((1,) * 65))), "shape is"),
        (changed(operator("_ones", shape="(2,)", ctx="gpu(0)'; import os")), "ctx is"),
        (changed(operator("_eye", N="16777216")), "do not go together; expected at most"),
        (changed(operator("_arange", start="0", stop="1e30")), "do not go together; expected a range"),
        (changed(operator("_arange", start="0", stop="5", step="0")), "do not go together; expected a range"),
        (changed(use("tile", reps="(100000, 100000)")), "reps is"),
        (changed(use("repeat", repeats="1000000")), "repeats is"),
        (changed(use("Pooling", kernel="(2,2)", stride="(0,0)")), "stride is"),
        (changed(use("tile", reps="(0, 2)")), "reps is"),
        (changed(operator("_zeros", shape="(0, 100000000)")), "shape is"),
        (changed(normalised(6, 2)), r"'more' \(BatchNorm\) writes to 'shaped', which is no variable for this alone"),
        (changed(normalised(2, 2)), r"'more' \(BatchNorm\) writes to 'fc_bias', which is no variable for this alone"),
        (recurrent(5, shape="(1, -1, 4)"), "shape is"),
        (recurrent(mode="wavenet"), "expected a mode of gru, lstm, rnn_relu, rnn_tanh"),
        (recurrent(mode="gru"), "expected 3 as its number of inputs, found 4"),
        (recurrent(state_outputs="False"), "no output of number 1"),
        (recurrent(state_size="0"), "state_size is"),
        (recurrent(state_size="30000"), "expected a layer of less than 2147483648 parameters"),
        (recurrent(state_size="2000", num_layers="100"), "expected a layer of less than 2147483648 parameters"),
        (recurrent(num_layers="5000"), "num_layers is"),
        (recurrent(projection_size="2"), "projection_size is '2'; expected None or False; MXNet has it on GPUs only"),
        (recurrent(use_sequence_length="True"), "use_sequence_length is"),
        (recurrent(lstm_state_clip_min="-1.0"), "lstm_state_clip_min is"),
        (changed(use("LeakyReLU", act_type="rrelu")), "another act_type than rrelu"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:40],
)  # fmt: skip
def test_what_no_network_needs_is_refused(content: bytes, reason: str) -> None:
    refused(content, reason)


def test_a_message_never_carries_what_moves_a_cursor() -> None:
    with pytest.raises(ParameterError) as caught:
        inspection.inspected(changed(node(FC, op="\x1b[2J\nerror: all is well")))

    assert str(caught.value).isprintable()


def test_many_nodes_that_share_their_inputs_are_read_in_linear_time() -> None:
    nodes = [{"op": "null", "name": "data", "inputs": []}]
    nodes += [{"op": "elemwise_add", "name": f"n{i}", "inputs": [[i, 0, 0], [i, 0, 0]]} for i in range(20_000)]
    content = json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[20_000, 0, 0]]}).encode()
    started = time.monotonic()

    inspection.inspected(content)

    assert time.monotonic() - started < 10


# With MXNet, in a process of its own.

FUZZ = r"""
import copy, json, random, sys
import numpy as np
from zoo_core import InputError, ParameterError
from zoo_mxnet import SymbolBlock
from zoo_mxnet.framework import mx
from zoo_mxnet.operators import OPERATORS
from tests.attacks import test_symbols as attacks

first, last = map(int, sys.argv[2:])
good, shapes = {"GOOD": (attacks.GOOD, [(2, 3)]), "RECURRENT": (attacks.RECURRENT, [(2, 3, 3), (5, 4, 3)])}[sys.argv[1]]
every = ["_Native", "_NDArray", "_cvimread", "_foreach", "_backward_relu", *OPERATORS]
odd = [-1, 0, 1, 2, 10**6, 2**31, 2**63, True, None, 1.5, "", "x", "(1,)", "(0,0)", "-1", "99999999999", [], [0, 0, 0], {}]


def places(value, put):
    yield value, put
    for key in (list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
        yield from places(value[key], lambda new, value=value, key=key: value.__setitem__(key, new))


def mutated(seed):
    draw, document = random.Random(seed), copy.deepcopy(good)
    for _ in range(draw.choice([1, 1, 2, 3])):
        value, put = draw.choice(list(places(document, lambda new: None)))
        if isinstance(value, str) and value[:1].isupper():
            put(draw.choice(every))
        elif isinstance(value, int) and draw.random() < 0.6:
            put(value + draw.choice([-1, 1, 2, 100]))
        elif isinstance(value, str) and any(map(str.isdigit, value)) and draw.random() < 0.7:
            put("".join(draw.choice("01234") if text.isdigit() and draw.random() < 0.5 else text for text in value))
        elif isinstance(value, list | dict) and value and draw.random() < 0.4:
            value.pop(draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value)))
        else:
            put(draw.choice(odd))
    if draw.random() < 0.5:  # only a repetition of what the nodes say, so that more of the changes get beyond it
        document.pop("node_row_ptr", None)
    return json.dumps(document).encode()


built = 0
for seed in range(first, last):
    print(seed, flush=True)
    try:
        block = SymbolBlock.from_program(mutated(seed))
    except ParameterError:
        continue
    block.initialize()
    try:
        for shape in shapes:
            trains = seed % 4 == 0
            with mx.autograd.record() if trains else mx.autograd.predict_mode():
                found = block(*[mx.nd.ones(shape)] * len(block.inputs))
                found = found if isinstance(found, list) else [found]
            for output in found:
                output.asnumpy()
            if trains:
                found[0].backward()
                mx.nd.waitall()
        built += 1
    except (mx.MXNetError, InputError, ValueError, AssertionError):
        pass
print("built", built)
"""


@pytest.mark.parametrize("example", ["GOOD", "RECURRENT"])
def test_mutated_symbols_end_in_a_block_or_an_error_and_never_in_a_signal(example: str) -> None:
    pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
    command = [sys.executable, "-c", FUZZ, example, "0", "1500" if example == "GOOD" else "1000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}

    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    seed, *rest = reversed(done.stdout.split())
    assert done.returncode == 0, f"at {seed} after {rest[:1]}: {done.returncode} {done.stderr[-1000:]}"
    assert int(seed) > 100
