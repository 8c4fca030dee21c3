"""Golden outputs: what is compared, and when it agrees."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests import parameter_files as make
from tests.core.toy_engine import stored
from zoo_core.errors import ParameterError
from zoo_core.golden import Check, Golden, OutputCheck, compare, golden_tensors
from zoo_core.parameters import read_parameters

np = pytest.importorskip("numpy")

DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "int64": "I64",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "float16": "F16",
}


def golden(*, rtol: float = 0.0, atol: float = 0.0, **outputs: Any) -> Golden:
    """Golden outputs of one input."""
    entries: dict[str, Any] = {"__metadata__": {"zoo.golden": json.dumps({"rtol": rtol, "atol": atol})}}
    data = b""
    for name, array in golden_tensors({"x": np.zeros(1, np.float32)}, outputs).items():
        entries[name] = make.entry(DTYPES[array.dtype.name], list(array.shape), len(data), len(data) + array.nbytes)
        data += array.tobytes()
    found = Golden.of(read_parameters(make.safetensors(entries, data)))
    assert found is not None
    return found


def one(expected: Any, found: Any, **tolerances: float) -> OutputCheck:
    (item,) = compare(golden(y=np.asarray(expected), **tolerances), {"y": np.asarray(found)})
    return item


# in the file ---------------------------------------------------------------------------------------------------------


def test_tensors_have_a_prefix_and_their_names() -> None:
    assert list(golden_tensors({"image": 1}, {"classes": 2, "boxes": 3})) == [  # type: ignore[dict-item]
        "zoo.golden.input.image",
        "zoo.golden.output.classes",
        "zoo.golden.output.boxes",
    ]


def test_they_are_found_again_with_their_tolerances() -> None:
    found = golden(y=np.ones(2), rtol=1e-3, atol=0.5)
    assert (dict(found.inputs), dict(found.outputs)) == ({"x": "zoo.golden.input.x"}, {"y": "zoo.golden.output.y"})
    assert (found.rtol, found.atol) == (1e-3, 0.5)


def test_inputs_are_copies_so_that_a_block_cannot_spoil_the_file() -> None:
    found = golden(y=np.ones(2))
    found.input_arrays()["x"][:] = 9
    assert found.input_arrays()["x"].tolist() == [0]


@pytest.mark.parametrize("names", [[], ["w"], ["zoo.golden.input.x"], ["zoo.golden.output.y"], ["zoo.golden"]])
def test_a_file_without_both_sides_holds_no_proof(names: list[str]) -> None:
    assert Golden.of(read_parameters(stored({name: [1.0] for name in names}))) is None


@pytest.mark.parametrize(
    "text",
    [
        None, "", "{", "[]", "3", "null", "{}", '{"rtol": 0}', '{"rtol": 0, "atol": null}', '{"rtol": [], "atol": 0}',
        '{"rtol": -1e-9, "atol": 0}', '{"rtol": 0, "atol": -1}', '{"rtol": NaN, "atol": 0}', '{"rtol": 0, "atol": NaN}',
        '{"rtol": 1, "atol": 0}', '{"rtol": Infinity, "atol": 0}', '{"rtol": 0, "atol": Infinity}',
        '{"rtol": 0, "atol": 1' + "0" * 400 + "}", '{"rtol": "x", "atol": 0}', "[" * 100_000,
    ],
)  # fmt: skip
def test_tolerances_that_are_none_are_an_error(text: str | None) -> None:
    header = {} if text is None else {"zoo.golden": text}
    content = stored({"zoo.golden.input.x": [1.0], "zoo.golden.output.y": [1.0]}, header)
    with pytest.raises(ParameterError, match=r"header entry zoo\.golden"):
        Golden.of(read_parameters(content))


# compared ------------------------------------------------------------------------------------------------------------


def test_equal_outputs_do_not_differ() -> None:
    assert one([1.0, -2.5, 0.0], [1.0, -2.5, 0.0]) == OutputCheck(name="y", max_abs=0.0, max_rel=0.0, ok=True)


def test_the_largest_differences_are_told_absolute_and_relative() -> None:
    found = one([1.0, 100.0], [1.5, 101.0])
    assert (found.max_abs, found.max_rel, found.ok) == (1.0, 0.5, False)


@pytest.mark.parametrize(
    ("tolerances", "ok"),
    [
        ({"atol": 0.5}, True),
        ({"atol": 0.49}, False),
        ({"rtol": 0.25}, True),
        ({"rtol": 0.24}, False),
        ({"rtol": 0.125, "atol": 0.25}, True),
    ],
)
def test_each_element_may_differ_by_both_tolerances_together(tolerances: dict[str, float], ok: bool) -> None:
    assert one([2.0, 0.0], [2.5, 0.0], **tolerances).ok is ok


def test_a_difference_from_zero_is_relatively_unbounded() -> None:
    found = one([0.0], [1e-9], atol=1e-6)
    assert (found.max_rel, found.ok) == (math.inf, True)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("expected", "found"), [(NAN, NAN), (INF, INF), (-INF, -INF)])
def test_what_is_no_number_agrees_with_itself(expected: float, found: float) -> None:
    assert one([expected, 1.0], [found, 1.0]) == OutputCheck(name="y", max_abs=0.0, max_rel=0.0, ok=True)


@pytest.mark.parametrize(
    ("expected", "found"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (INF, -INF), (NAN, INF), (INF, NAN), (0.0, INF)]
)
def test_one_side_alone_that_is_no_number_never_agrees(expected: float, found: float) -> None:
    item = one([expected], [found], rtol=0.99, atol=1e300)
    assert (item.max_abs, item.ok) == (INF, False)


def test_integers_are_compared_exactly_also_beyond_what_float64_holds() -> None:
    assert one([2**62, 2**62 + 1], [2**62, 2**62 + 1]).ok
    found = one([2**62 + 1], [2**62])
    assert (found.max_abs, found.ok) == (1.0, False)
    assert one([250], np.array([3], np.uint8)).max_abs == 247


@pytest.mark.parametrize(
    ("expected", "found", "difference"),
    [(np.array([True, False]), np.array([True, True]), 1.0), (np.array([1 + 1j], np.complex64), np.array([1 - 1j]), 2.0)],
    ids=["bool", "complex"],
)
def test_other_kinds_of_elements_are_compared_too(expected: Any, found: Any, difference: float) -> None:
    item = one(expected, found)
    assert (item.max_abs, item.ok) == (difference, False)
    assert one(expected, expected).ok


def test_dtypes_may_differ_where_values_do_not() -> None:
    assert one(np.array([1.5], np.float32), np.array([1.5], np.float64)).ok


def test_an_output_without_dimensions_is_compared() -> None:
    assert one(np.float64(2.0), np.float64(2.0)).ok
    assert one(np.float64(2.0), np.float64(3.0)).max_abs == 1.0


def test_an_output_without_elements_agrees_with_itself() -> None:
    assert one(np.zeros((0, 3)), np.zeros((0, 3))) == OutputCheck(name="y", max_abs=0.0, max_rel=0.0, ok=True)


@pytest.mark.parametrize("shape", [(3,), (1, 2), (2, 1), ()])
def test_other_shapes_never_agree(shape: tuple[int, ...]) -> None:
    assert one(np.ones(2), np.ones(shape), rtol=0.9, atol=9) == OutputCheck(name="y", max_abs=INF, max_rel=INF, ok=False)


def test_several_outputs_are_compared_by_name() -> None:
    proof = golden(a=np.zeros(1), b=np.ones(1))
    assert [(item.name, item.ok) for item in compare(proof, {"b": np.ones(1), "a": np.zeros(1)})] == [("a", True), ("b", True)]


def test_outputs_that_are_named_otherwise_are_compared_in_order() -> None:
    proof = golden(a=np.zeros(1), b=np.ones(1))
    assert all(item.ok for item in compare(proof, {"output_0": np.zeros(1), "output_1": np.ones(1)}))


def test_an_output_that_is_missing_does_not_agree() -> None:
    found = {item.name: item.ok for item in compare(golden(a=np.zeros(1), b=np.ones(1)), {"a": np.zeros(1)})}
    assert found == {"a": True, "b": False}


def test_a_check_agrees_if_all_its_outputs_do() -> None:
    good, bad = one([1.0], [1.0]), one([1.0], [2.0])
    assert (Check(engine="Toy", device="cpu").ok, Check(engine="Toy", device="cpu", outputs=(good, bad)).ok) == (True, False)
    assert Check(engine="Toy", device="cpu", outputs=(good,)).to_dict() == {
        "engine": "Toy",
        "device": "cpu",
        "outputs": [{"name": "y", "max_abs": 0.0, "max_rel": 0.0, "ok": True}],
    }
