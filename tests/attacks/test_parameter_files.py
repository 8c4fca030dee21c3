"""Hostile parameter files: each ends in a ParameterError, soon, and without the memory that it claims."""

from __future__ import annotations

import importlib.util
import struct
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import parameter_files as make
from zoo_core.errors import ParameterError
from zoo_core.parameters import kind_of, pickled, read_parameters

HAS_NUMPY = importlib.util.find_spec("numpy") is not None

MIB = 2**20


def refused(content: bytes, reason: str) -> None:
    """The file is refused for a reason, and needs neither long nor much memory for that."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(ParameterError, match=reason):
            read_parameters(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 20
    assert peak < 4 * MIB + 100 * len(content)


# safetensors ---------------------------------------------------------------------------------------------------------

W = make.entry("F32", [2], 0, 8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (struct.pack("<Q", 2**32 - 1) + b"{}", "claims a header of 4294967295 bytes"),
        (struct.pack("<Q", 2**31) + b"{}", "the format allows 100000000"),
        (struct.pack("<Q", 99_999_999) + b"{}", "ends within the header"),
        (struct.pack("<Q", 2**63) + b"{}", "no parameter file"),
        (make.safetensors('{"w":1,"w":2}'), "'w' stands twice"),
        (
            make.safetensors('{"w":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4)),
            "'dtype' stands twice",
        ),
        (make.safetensors('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)), "'w' has no shape"),
        (make.safetensors('{"a":' * 200_000), "no JSON"),
        (make.safetensors('{"w":' + "9" * 100_000 + "}"), "no JSON"),
        (make.safetensors("{]"), "no JSON"),
        (make.safetensors('{"\\ud800":' + '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'), "no Unicode"),
        (struct.pack("<Q", 3) + b"{\xff}", "no JSON"),
        (make.safetensors({"__metadata__": {"a": 1}}), "no object of texts"),
        (make.safetensors({"__metadata__": []}), "no object of texts"),
        (make.safetensors({"w": []}), "'w' is not described"),
        (make.safetensors({"w": {**W, "more": 1}}, bytes(8)), "'w' is not described"),
        (make.safetensors({"w": {**W, "data_offsets": [0, 8, 8]}}, bytes(8)), "'w' is not described"),
        (make.safetensors({"w": {**W, "data_offsets": [False, 8]}}, bytes(8)), "'w' is not described"),
        (make.safetensors({"w": {**W, "dtype": "F4"}}, bytes(8)), "dtype 'F4'; known are"),
        (make.safetensors({"w": {**W, "shape": [-2]}}, bytes(8)), "'w' has no shape"),
        (make.safetensors({"w": {**W, "shape": [2.0]}}, bytes(8)), "'w' has no shape"),
        (make.safetensors({"w": {**W, "shape": [True]}}, bytes(8)), "'w' has no shape"),
        (make.safetensors({"w": {**W, "shape": [1] * 33}}, bytes(8)), "'w' has no shape"),
        (make.safetensors({"w": make.entry("F32", [0, 2**60], 0, 0)}), "'w' has no shape"),
        (make.safetensors({"w": {**W, "shape": [3]}}, bytes(8)), "'w' needs 12 bytes"),
        (make.safetensors({"w": {**W, "data_offsets": [8, 0]}}, bytes(8)), "data_offsets are 8, 0"),
        (make.safetensors({"w": {**W, "data_offsets": [-8, 0]}}, bytes(8)), "data_offsets are -8, 0"),
        (make.safetensors({"w": {**W, "data_offsets": [8, 16]}}, bytes(8)), "data_offsets are 8, 16 of 8"),
        (make.safetensors({"w": {**W, "data_offsets": [4, 12]}}, bytes(12)), "'w' leaves a hole"),
        (make.safetensors({"w": W, "v": make.entry("F32", [1], 4, 8)}, bytes(8)), "'v' overlaps"),
        (make.safetensors({"w": W}, bytes(9)), "1 B follow the last tensor"),
    ],
)
def test_safetensors_that_break_a_rule_of_the_format_are_refused(content: bytes, reason: str) -> None:
    refused(content, reason)


def test_a_header_of_many_equal_names_is_refused_in_linear_time() -> None:
    refused(make.safetensors("{" + '"w":1,' * 300_000 + '"w":1}'), "stands twice")


def test_a_hostile_name_cannot_write_to_the_terminal() -> None:
    with pytest.raises(ParameterError) as caught:
        read_parameters(make.safetensors({"\x1b[2J": 1}))
    assert "\x1b" not in str(caught.value)


# pickles -------------------------------------------------------------------------------------------------------------

NESTED = b")q\0" + b"".join(b"h\0h\0\x86q\0" for _ in range(200))
"""Tuples of the one before twice: 1 kB whose hash, comparison or text would take 2**200 steps."""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (make.name("os", "system") + make.text("exit 1") + b"\x85R", r"names os\.system, which plain tensors do not need"),
        (b"\x8c\x02os\x8c\x06system\x93", r"names os\.system"),
        (make.name("builtins", "eval"), r"names builtins\.eval"),
        (make.name("torch._utils", "_rebuild_tensor"), r"names torch\._utils\._rebuild_tensor,"),
        (make.name("torch._utils", "_rebuild_tensor_v2") + b"}b", "attributes cannot be set on function"),
        (make.name("torch", "FloatStorage") + b"}b", "attributes cannot be set on StorageType"),
        (b"}}b", "attributes cannot be set on dict"),
        (make.name("torch", "FloatStorage") + b")R", "StorageType cannot be called"),
        (make.text("x") + b")R", "str cannot be called"),
        (make.name("collections", "OrderedDict") + b"]R", "function cannot be called"),
        (b"c" + b"x" * 100_000, "a name has no end within 256 bytes"),
        (b"NN\x93", "NoneType and NoneType are no name"),
        (NESTED + b"h\0\x93", "no name"),
        (NESTED + b"}h\0Ns", "tuple cannot be a key"),
        (NESTED + b"}(h\0Nu", "tuple cannot be a key"),
        (NESTED + make.name("collections", "OrderedDict") + b"](h\0N\x86e\x85R", "tuple cannot be a key"),
        (NESTED, "holds tuple, no state dict"),
        (NESTED + make.state_dict({"w": b"h\0"}), "holds tuple under 'w'"),
        (NESTED + b"Q", "outside that is no storage"),
        (b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff", "memo holds nothing at 4294967294"),
        (b"h\0", "memo holds nothing at 0"),
        (b"X\xff\xff\xff\xffx", "a text of 4294967295 bytes"),
        (b"\x8d" + b"\xff" * 8, "none that tensors need"),
        (b"\x8b\xff\xff\xff\x7f", "none that tensors need"),
        (b"\x81", "none that tensors need"),
        (b"i" + b"os\nsystem\n", "none that tensors need"),
        (b"\x80\x06", "protocol 6"),
        (b"0", "none that tensors need"),
        (b"", "fails at byte"),
        (b"t", "fails at byte"),
        (b"N\x86", "a tuple wants more"),
        (b"Na", "fails at byte"),
        (b"}Na", "dict cannot be appended to"),
        (b"]NNs", "list cannot be given items"),
        (b"}(Nu", "dict cannot be given items"),
        (b"X\1\0\0\0\xff", "fails at byte"),
        (make.text("module") + b"NN\x87Q", "no storage"),
    ],
)
def test_a_pickle_that_is_more_or_less_than_tensors_is_refused(body: bytes, reason: str) -> None:
    refused(make.pth(body), reason)


DEPTH = 30_000


@pytest.mark.parametrize(
    "body",
    [
        b"]" * DEPTH + b"a" * (DEPTH - 1),
        b"(" * DEPTH + b"t" * DEPTH,
        b"}" + (make.text("") + b"}") * DEPTH + b"s" * DEPTH,
        make.ORDERED_DICT + (make.text("") + make.ORDERED_DICT) * DEPTH + b"s" * DEPTH,
    ],
    ids=["list", "tuple", "dict", "OrderedDict"],
)
def test_a_deeply_nested_pickle_is_refused_without_a_crash(body: bytes) -> None:
    refused(make.pth(body), "holds")


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "BUDGET", 10_000)


@pytest.mark.usefixtures("small_budget")
def test_a_call_that_copies_a_long_list_again_and_again_runs_out_of_budget() -> None:
    items = b"](" + b"".join(b"K" + bytes([number % 256]) + b"N\x86" for number in range(2_000)) + b"e\x85q\1"
    refused(make.pth(make.name("collections", "OrderedDict") + b"q\0" + items + b"h\0h\1R" * 100), "more than 10000 steps")


@pytest.mark.usefixtures("small_budget")
def test_a_pickle_of_many_steps_runs_out_of_budget() -> None:
    refused(make.pth(b"N" * 10_001), "more than 10000 steps")


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (make.tensor((2, 4), (3, 1)), "'w' reaches element 6 of a storage that has 6"),
        (make.tensor(offset=1), "'w' reaches element 6"),
        (make.tensor((2**40, 6), (0, 1)), "repeat their elements to"),
        (make.tensor((2**58,), (0,)), "repeat their elements to"),
        (make.tensor((2**60,), (0,)), "no array can have"),
        (make.tensor((0, 2**62), (1, 1)), "no array can have"),
        (make.tensor((1,) * 33, (1,) * 33), "no array can have"),
        (make.tensor((2, 3), (3,)), "no array can have"),
        (make.tensor((2, 3), (3, -1)), "no array can have"),
        (make.tensor((-2, 3), (3, 1)), "no array can have"),
        (make.tensor(offset=-1), "no array can have"),
        (make.tensor(stored=b"N"), "something else than storage"),
        (make.tensor(stored=make.storage(count=7)), "storage '0' needs 28 B and has 24 B"),
        (make.tensor(stored=make.storage(count=-1)), "no storage"),
        (make.tensor(stored=make.storage("../data.pkl")), r"no entry 'archive/data/\.\./data\.pkl'"),
        (make.tensor(stored=make.storage(kind="QInt8Storage")), r"names torch\.QInt8Storage"),
        (make.parameter(b"N"), "no plain tensor"),
        (make.name("torch", "Size") + b"]\x85R", r"torch\.Size is no shape"),
    ],
)
def test_a_tensor_that_its_storage_cannot_hold_is_refused(tensor: bytes, reason: str) -> None:
    refused(make.pth(make.state_dict({"w": tensor})), reason)


def test_one_storage_described_in_two_ways_is_refused() -> None:
    tensors = {"w": make.tensor(), "v": make.tensor(stored=make.storage(kind="IntStorage"))}
    refused(make.pth(make.state_dict(tensors)), "describes storage '0' in two ways")


def test_many_names_for_one_storage_may_not_claim_terabytes_together() -> None:
    body = make.state_dict({f"w{number}": make.tensor((1000, 1000), (0, 0)) for number in range(20)})
    refused(make.pth(body), "repeat their elements to 80.0 MB; 16.8 MB are allowed")


# zip files -----------------------------------------------------------------------------------------------------------

STATE = make.state_dict({"w": make.tensor()})
PICKLE = ("a/data.pkl", make.pickled(STATE))


def test_compressed_entries_are_refused_so_that_nothing_can_inflate() -> None:
    refused(make.pth(STATE, method=zipfile.ZIP_DEFLATED), "is compressed or encrypted")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused() -> None:
    refused(make.zipped([PICKLE, PICKLE]), "have one name")


def test_an_encrypted_entry_is_refused() -> None:
    content = bytearray(make.zipped([PICKLE]))
    content[content.rindex(b"PK\1\2") + 8] |= 1
    refused(bytes(content), "is compressed or encrypted")


def test_an_entry_that_claims_more_than_the_file_has_is_refused() -> None:
    content = bytearray(make.zipped([PICKLE]))
    at = content.rindex(b"PK\1\2")
    content[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    refused(bytes(content), "beyond the end")


@pytest.mark.parametrize("offset", [7, 2**31, 2**32 - 1])
def test_an_entry_that_lies_elsewhere_than_the_directory_says_is_refused(offset: int) -> None:
    content = bytearray(make.zipped([PICKLE]))
    at = content.rindex(b"PK\1\2")
    content[at + 42 : at + 46] = struct.pack("<I", offset)
    refused(bytes(content), "does not lie where")


def test_an_entry_whose_64_bit_offset_is_no_address_is_refused() -> None:
    """`struct` would end in an OverflowError; a negative one would be read from the end."""
    content = bytearray(make.zipped([PICKLE]))
    at = content.rindex(b"PK\1\2")
    extra = struct.pack("<HHQ", 1, 8, 2**63)
    content[at + 30 : at + 32] = struct.pack("<H", len(extra))
    content[at + 42 : at + 46] = struct.pack("<I", 2**32 - 1)
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 16] = struct.pack("<I", end - at + len(extra))
    content[end:end] = extra
    refused(bytes(content), "does not lie where")


def test_a_directory_of_many_entries_is_bounded() -> None:
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", 20) + bytes(16) + b"%020d"
    directory = b"".join(entry % number for number in range(300_000))
    end = struct.pack("<4s4xHHII2x", b"PK\5\6", 65535, 65535, len(directory), 4)
    refused(b"PK\3\4" + directory + end, "more than 16777216 bytes")


def test_a_missing_storage_is_named() -> None:
    refused(make.pth(STATE, {}), "no entry 'archive/data/0'")


# the legacy layout ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storages", "reason"),
    [
        ({"0": (7, bytes(28))}, "storage '0' has 7 elements, and its tensors say 6"),
        ({"0": (2**62, b"")}, "has 4611686018427387904 elements"),
        ({"0": (6, bytes(23))}, "ends within storage '0'"),
        ({"0": (6, bytes(25))}, "1 B follow the last tensor"),
        ({"1": (6, bytes(24))}, "is not the one that its tensors use"),
        ({}, "is not the one that its tensors use"),
    ],
)
def test_legacy_storages_that_contradict_the_tensors_are_refused(storages: dict[str, tuple[int, bytes]], reason: str) -> None:
    body = make.state_dict({"w": make.tensor(stored=make.storage(view=make.NO_VIEW))})
    refused(make.pth_legacy(body, storages), reason)


def test_a_part_that_goes_beyond_its_storage_is_refused() -> None:
    part = b"(" + make.text("v") + make.integer(4) + make.integer(3) + b"t"
    body = make.state_dict({"v": make.tensor((1,), (1,), 0, make.storage(view=part))})
    refused(make.pth_legacy(body, {"0": (6, bytes(24))}), "a view goes beyond its storage")


# .params -------------------------------------------------------------------------------------------------------------

ARRAY = make.array((2,), 0, bytes(8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (struct.pack("<QQQ", 0x112, 0, 2**62) + bytes(64), "the list of arrays claims 4611686018427387904 items"),
        (make.params([ARRAY], ["w", "v"]), "1 arrays and 2 names"),
        (make.params([ARRAY, ARRAY], ["arg:w", "aux:w"]), "two arrays have one name"),
        (make.params([ARRAY], ["w"]) + b"x", "1 B follow the last tensor"),
        (make.params([ARRAY], ["w"])[:-1], "ends within name 0"),
        (make.params([ARRAY], ["w"])[:-1] + b"\xff", "name 0 is no UTF-8"),
        (make.params([make.array((2**60,), 0, b"")], ["w"]), "array 0 has no shape"),
        (make.params([make.array((2**40,), 0, b"")], ["w"]), "ends within the elements of array 0"),
        (make.params([make.array((-1,), 0, b"")], ["w"]), "array 0 has no shape"),
        (make.params([make.array((), 0, b"")], ["w"]), "array 0 has no shape"),
        (make.params([make.array((2,), 13, bytes(8))], ["w"]), "the dtype number 13"),
        (make.params([make.array((1,) * 33, 0, bytes(4))], ["w"]), "33 dimensions"),
        (make.params([b"\xff\xff\xff\x7f"], ["w"]), "2147483647 dimensions"),
    ],
)
def test_params_that_contradict_themselves_are_refused(content: bytes, reason: str) -> None:
    refused(content, reason)


# anything ------------------------------------------------------------------------------------------------------------


def survives(content: bytes) -> None:
    """Reading ends in tensors whose bytes lie in the file, or in a ParameterError."""
    kind = kind_of(content)
    try:
        file = read_parameters(content)
        for tensor in file.tensors.values():
            assert tensor.nbytes <= max(64 * len(content), 16 * MIB)
            if HAS_NUMPY:
                assert tensor.raw().shape == tensor.shape
    except ParameterError:
        assert kind.trust != "data"


@given(
    content=st.sampled_from(list(make.GOOD.values())),
    edits=st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_a_file_with_bytes_changed_added_or_removed_is_read_or_refused(
    content: bytes, edits: list[tuple[int, bytes, int]]
) -> None:
    for at, inserted, removed in edits:
        at %= len(content) + 1
        content = content[:at] + inserted + content[at + removed :]
    survives(content)


@pytest.mark.parametrize("content", make.GOOD.values(), ids=make.GOOD)
def test_a_file_cut_anywhere_is_refused(content: bytes) -> None:
    for end in range(len(content)):
        with pytest.raises(ParameterError):
            read_parameters(content[:end])


@pytest.mark.parametrize("content", make.GOOD.values(), ids=make.GOOD)
def test_a_file_with_any_one_byte_replaced_is_read_or_refused(content: bytes) -> None:
    for at in range(len(content)):
        for value in (0x00, 0x7F, 0xFF, content[at] ^ 0x01):
            survives(content[:at] + bytes([value]) + content[at + 1 :])
