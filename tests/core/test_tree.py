"""Parameters drawn as the tree that their dotted names make."""

from __future__ import annotations

import time
from typing import Any

import pytest

from zoo_core.cli.tree import drawn


def items(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {"dtype": "float32", "shape": [2, 3], "bytes": 24} for name in names}


def test_a_part_has_its_size_and_its_children_are_indented() -> None:
    assert drawn(items("conv.weight", "conv.bias", "fc.weight", "fc.bias"), lines=None) == [
        "  conv  48 B",
        "    weight  float32[2, 3]",
        "    bias  float32[2, 3]",
        "  fc  48 B",
        "    weight  float32[2, 3]",
        "    bias  float32[2, 3]",
    ]


def test_what_has_but_one_child_is_one_line() -> None:
    assert drawn(items("body.0.conv.weight"), lines=None) == ["  body.0.conv.weight  float32[2, 3]"]
    assert drawn(items("body.0.a.w", "body.0.b.w"), lines=None)[0] == "  body.0  48 B"


def test_numbers_are_ordered_by_value_and_names_stay_in_order() -> None:
    found = drawn(items("10.w", "2.w", "z.w", "a.w"), lines=None)
    assert [line.split()[0] for line in found] == ["z.w", "a.w", "2.w", "10.w"]


def test_a_tree_that_is_too_long_is_drawn_less_deep() -> None:
    names = [f"{layer}.{part}.{leaf}" for layer in range(4) for part in "ab" for leaf in ("weight", "bias")]
    assert len(drawn(items(*names), lines=30)) == 28
    assert drawn(items(*names), lines=12)[:3] == ["  0  96 B", "    a  2 tensors, 48 B", "    b  2 tensors, 48 B"]
    assert drawn(items(*names), lines=4) == [f"  {layer}  4 tensors, 96 B" for layer in range(4)]


def test_what_is_too_long_at_any_depth_is_cut_with_the_number_that_is_left_out() -> None:
    assert drawn(items(*(f"w{number}" for number in range(9))), lines=3)[3:] == ["  ... and 6 more"]
    assert len(drawn(items(*(f"w{number}" for number in range(9))), lines=None)) == 9


def test_a_name_that_is_a_part_too_hides_nothing() -> None:
    assert drawn(items("w", "w.scale", "w.zero"), lines=None) == [
        "  w  float32[2, 3]",
        "  w  48 B",
        "    scale  float32[2, 3]",
        "    zero  float32[2, 3]",
    ]


@pytest.mark.parametrize("names", [[""], ["."], ["a.", ".a"], ["a..b"], ["a", "a."]])
def test_names_with_empty_parts_are_all_drawn(names: list[str]) -> None:
    assert sum("float32" in line for line in drawn(items(*names), lines=None)) == len(names)


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn({}, lines=40) == []


@pytest.mark.parametrize(
    "names", [["a." * 300_000], ["a." * 100_000 + "x", "a." * 100_000 + "y"], [f"{'a.' * depth}x" for depth in range(1_000)]]
)
def test_names_of_very_many_parts_end_soon(names: list[str]) -> None:
    started = time.monotonic()
    assert drawn(items(*names), lines=40)
    assert time.monotonic() - started < 10
