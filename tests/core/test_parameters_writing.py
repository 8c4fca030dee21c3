"""Parameter files as they are written, and what a reader finds in them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
serializer = pytest.importorskip("safetensors.numpy")

from zoo_core import ParameterError, read_parameters, write_parameters  # noqa: E402

PROGRAM = b'{"torch.aten":1,"nodes":[]}'
STATE = {"weight": np.arange(6, dtype=np.float32), "0._extra_state": np.frombuffer(PROGRAM, np.uint8)}
ALIASES = {"tied": "weight", "1._extra_state": "0._extra_state"}


def write(target: Path | io.BytesIO, **changes: Any) -> None:
    given: dict[str, Any] = {"state": STATE, "header": {"zoo.format": "1", "b": "2"}, "aliases": ALIASES, "extra": {}}
    given |= {"programs": dict.fromkeys(("0._extra_state", "1._extra_state"), PROGRAM)}
    write_parameters(target, **{**given, **changes}, serializer=serializer)


def content(**changes: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, **changes)
    return stream.getvalue()


def test_a_path_and_a_stream_get_the_same_bytes_each_time(tmp_path: Path) -> None:
    write(tmp_path / "net.safetensors")
    assert {content() for _ in range(8)} == {(tmp_path / "net.safetensors").read_bytes()}


def test_the_header_tells_tied_names_and_programs_in_the_order_of_its_entries() -> None:
    header = read_parameters(content()).header
    assert list(header) == ["b", "zoo.aliases", "zoo.format", "zoo.programs"]
    assert json.loads(header["zoo.aliases"]) == ALIASES
    described = {"kind": "torch.aten", "sha256": hashlib.sha256(PROGRAM).hexdigest()}
    assert json.loads(header["zoo.programs"]) == {"0._extra_state": described, "1._extra_state": described}


def test_the_header_says_nothing_of_what_there_is_none_of() -> None:
    assert list(read_parameters(content(aliases={}, programs={})).header) == ["b", "zoo.format"]


def test_the_state_is_what_was_given_by_all_names_and_further_tensors_are_no_part_of_it() -> None:
    file = read_parameters(content(extra={"zoo.golden.input.x": np.ones(1, np.float32)}))
    assert set(file.tensors) == {*STATE, "zoo.golden.input.x"}
    assert set(file.state) == {*STATE, *ALIASES}
    assert file.state["tied"] is file.state["weight"] is file.tensors["weight"]
    assert file.state["tied"].numpy().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "changes", [{"state": {"zoo.golden.w": np.ones(1)}, "aliases": {}}, {"aliases": {"zoo.golden.w": "weight"}}], ids=str
)
def test_reserved_names_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"'zoo\.golden\.w': names that begin with 'zoo\.golden\.' are reserved"):
        content(**changes)
