"""Parameter files: what a file says about its tensors, and their values."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import parameter_files as make
from zoo_core.errors import PackageNotInstalledError, ParameterError
from zoo_core.parameters import FileKind, ParameterFile, kind_of, program_kind, read_model_file, read_parameters

if TYPE_CHECKING:
    from pathlib import Path

COUNTING = [[0, 1, 2], [3, 4, 5]]


def described(content: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in read_parameters(content).tensors.items()}


# every format --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", make.GOOD)
def test_the_format_is_told_by_the_bytes_and_not_by_the_name(format: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make.GOOD[format])
    assert read_parameters(path).format == format


@pytest.mark.parametrize("content", make.GOOD.values(), ids=make.GOOD)
def test_a_path_as_text_bytes_and_a_stream_give_the_same_as_a_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    files = [read_parameters(source) for source in (path, str(path), content, io.BytesIO(content))]
    assert len({tuple((t.name, t.dtype, t.shape, t.strides, t.offset) for t in file.tensors.values()) for file in files}) == 1


@pytest.mark.parametrize("content", make.GOOD.values(), ids=make.GOOD)
def test_every_format_gives_the_values_that_were_stored(content: bytes) -> None:
    pytest.importorskip("numpy")
    array = read_parameters(content)["w"]
    assert (array.dtype.name, array.tolist()) == ("float32", COUNTING)


@pytest.mark.parametrize("content", make.GOOD.values(), ids=make.GOOD)
def test_an_array_can_be_written_to_and_the_file_stays_as_it_was(content: bytes, tmp_path: Path) -> None:
    """A read-only map kills MXNet at its first write."""
    pytest.importorskip("numpy")
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    array = read_parameters(path)["w"]
    array[:] = 9
    assert array.max() == 9
    assert path.read_bytes() == content


def test_an_array_outlives_the_file_object_that_gave_it(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    path = tmp_path / "model.safetensors"
    path.write_bytes(make.SAFETENSORS)
    array = read_parameters(path)["w"]
    path.unlink()
    assert array.tolist() == COUNTING


def test_arrays_are_views_so_that_tensors_which_share_elements_still_do() -> None:
    pytest.importorskip("numpy")
    stored = make.storage(kind="ByteStorage")
    body = make.state_dict({"w": make.tensor(stored=stored), "t": make.tensor((3, 2), (1, 3), stored=stored)})
    file = read_parameters(make.pth(body, {"0": bytes(range(6))}))
    file["w"][0, 1] = 9
    assert file["t"].tolist() == [[0, 3], [9, 4], [2, 5]]


def test_an_array_whose_elements_the_file_does_not_align_is_an_aligned_copy() -> None:
    pytest.importorskip("numpy")
    content = make.safetensors({"b": make.entry("U8", [1], 0, 1), "w": make.entry("F32", [2], 1, 9)}, b"\1" + make.floats(1, 2))
    array = read_parameters(content)["w"]
    assert array.flags.aligned
    assert array.tolist() == [1, 2]


def test_a_parameter_file_is_a_mapping_in_the_order_of_the_file() -> None:
    file = read_parameters(make.SAFETENSORS)
    assert isinstance(file, ParameterFile)
    assert (list(file), len(file), "w" in file, "x" in file) == (["w", "n", "h"], 3, True, False)
    with pytest.raises(KeyError):
        file["x"]


def test_a_parameter_file_prints_as_its_name_format_and_size() -> None:
    assert repr(read_parameters(make.SAFETENSORS)) == "<ParameterFile the given bytes: safetensors, 3 tensors>"


def test_listing_imports_neither_numpy_nor_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(make.PTH)
    code = (
        "import sys; from zoo_core.parameters import read_parameters; file = read_parameters(sys.argv[1]); "
        "print(file.tensors['t'].shape, sorted({'numpy', 'torch', 'mxnet', 'safetensors'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    assert shown == "(3, 2) []\n"


def test_without_numpy_values_end_in_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "zoo_core.parameters.values", raising=False)
    with pytest.raises(PackageNotInstalledError, match=r'pip install "numpy>=1\.26"'):
        read_parameters(make.SAFETENSORS)["w"]


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"missing\.safetensors cannot be read: No such file"):
        read_parameters(tmp_path / "missing.safetensors")


def test_a_folder_is_no_parameter_file(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        read_parameters(tmp_path)


def test_an_empty_file_is_no_parameter_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    with pytest.raises(ParameterError, match="no parameter file that is read here"):
        read_parameters(path)


def test_a_stream_of_text_is_refused_with_what_to_do() -> None:
    with pytest.raises(ParameterError, match="binary mode"):
        read_parameters(io.StringIO("text"))  # type: ignore[arg-type]


# safetensors ---------------------------------------------------------------------------------------------------------


def test_safetensors_says_dtype_shape_strides_and_header() -> None:
    file = read_parameters(make.SAFETENSORS)
    assert described(make.SAFETENSORS) == {"w": ("float32", (2, 3)), "n": ("int64", ()), "h": ("bfloat16", (2,))}
    assert (file.tensors["w"].strides, file.tensors["w"].nbytes) == ((3, 1), 24)
    assert file.header == {"zoo.format": "1"}


def test_safetensors_may_hold_no_tensor_and_no_metadata() -> None:
    file = read_parameters(make.safetensors("{}"))
    assert (dict(file.tensors), file.header) == ({}, {})


def test_the_header_may_be_padded_with_spaces() -> None:
    assert described(make.safetensors("{}      ")) == {}


def test_a_bfloat16_comes_widened_to_float32_and_raw_as_uint16() -> None:
    pytest.importorskip("numpy")
    tensor = read_parameters(make.SAFETENSORS).tensors["h"]
    assert (tensor.numpy().dtype.name, tensor.numpy().tolist()) == ("float32", [1.0, -2.0])
    assert (tensor.raw().dtype.name, tensor.raw().tolist()) == ("uint16", [0x3F80, 0xC000])


def test_a_bfloat16_without_dimensions_stays_an_array() -> None:
    np = pytest.importorskip("numpy")
    array = read_parameters(make.safetensors({"h": make.entry("BF16", [], 0, 2)}, b"\x80\x3f"))["h"]
    assert isinstance(array, np.ndarray)
    assert (array.shape, float(array)) == ((), 1.0)


def test_an_8_bit_float_is_listed_and_its_bits_are_uint8() -> None:
    pytest.importorskip("numpy")
    tensor = read_parameters(make.safetensors({"f": make.entry("F8_E4M3", [2], 0, 2)}, b"\x38\xb8")).tensors["f"]
    assert (tensor.dtype, tensor.raw().tolist()) == ("float8_e4m3fn", [0x38, 0xB8])
    with pytest.raises(ParameterError, match=r"take \.raw\(\)"):
        tensor.numpy()


def test_an_empty_tensor_keeps_its_shape() -> None:
    pytest.importorskip("numpy")
    assert read_parameters(make.safetensors({"e": make.entry("F32", [0, 3], 0, 0)}))["e"].shape == (0, 3)


# .pth ----------------------------------------------------------------------------------------------------------------


def test_pth_says_dtype_shape_and_strides_of_views() -> None:
    file = read_parameters(make.PTH)
    assert described(make.PTH) == {"w": ("float32", (2, 3)), "t": ("float32", (3, 2)), "e": ("float32", (0, 4))}
    assert file.tensors["t"].strides == (1, 3)


def test_the_folder_inside_a_pth_may_have_any_name() -> None:
    assert "w" in read_parameters(make.pth(make.state_dict({"w": make.tensor()}), root="résumé"))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_state_dict_in_a_checkpoint_is_taken_and_the_rest_left(key: str) -> None:
    size = make.name("torch", "Size") + make.integers([3, 224]) + b"\x85R"
    checkpoint = {"epoch": make.integer(3), "input": size, key: make.state_dict({"w": make.tensor()})}
    assert list(read_parameters(make.pth(make.state_dict(checkpoint)))) == ["w"]


def test_a_file_of_python_2_with_byte_texts_and_pairs_is_read() -> None:
    pair = b"](U\x01w" + make.tensor() + b"e"
    body = make.name("collections", "OrderedDict") + b"](" + pair + b"e\x85R"
    assert list(read_parameters(make.pth(body))) == ["w"]


def test_legacy_storages_that_are_parts_of_another_are_read() -> None:
    pytest.importorskip("numpy")
    part = b"(" + make.text("v") + make.integer(2) + make.integer(3) + b"t"
    body = make.state_dict({"v": make.tensor((2,), (1,), 1, make.storage(view=part))})
    assert read_parameters(make.pth_legacy(body, {"0": (6, make.floats(0, 1, 2, 3, 4, 5))}))["v"].tolist() == [3, 4]


def test_a_modest_broadcast_is_read() -> None:
    pytest.importorskip("numpy")
    array = read_parameters(make.pth(make.state_dict({"w": make.tensor((4, 6), (0, 1))})))["w"]
    assert array.tolist() == [[0, 1, 2, 3, 4, 5]] * 4


@pytest.mark.parametrize(
    ("value", "found"), [(make.integer(3), "int"), (make.text("x"), "str"), (b"]", "list"), (b"}", "dict"), (b"N", "NoneType")]
)
def test_what_is_no_tensor_is_refused_and_named(value: bytes, found: str) -> None:
    with pytest.raises(ParameterError, match=f"holds {found} under 'extra'"):
        read_parameters(make.pth(make.state_dict({"w": make.tensor(), "extra": value})))


def test_a_tensor_without_a_name_is_refused() -> None:
    with pytest.raises(ParameterError, match="holds PickledTensor, no state dict"):
        read_parameters(make.pth(make.tensor()))


def test_a_conjugated_tensor_is_refused_since_its_stored_values_are_not_its_values() -> None:
    metadata = b"}" + make.text("conj") + b"\x88s"
    with pytest.raises(ParameterError, match="conjugated"):
        read_parameters(make.pth(make.state_dict({"w": make.tensor(metadata=metadata)})))


def test_other_byte_orders_are_refused() -> None:
    big = b"}" + make.text("little_endian") + b"\x89s"
    for content in (
        make.pth(make.state_dict({"w": make.tensor()}), more={"byteorder": b"big"}),
        make.pth_legacy(make.state_dict({}), {}, system=big),
    ):
        with pytest.raises(ParameterError, match="big-endian"):
            read_parameters(content)


# .params -------------------------------------------------------------------------------------------------------------


def test_params_lose_the_prefixes_of_the_symbolic_interface() -> None:
    assert described(make.PARAMS) == {"w": ("float32", (2, 3)), "m": ("int8", (2,))}


def test_params_without_names_are_numbered() -> None:
    assert list(read_parameters(make.params([make.array((1,), 0, make.floats(1))] * 2, []))) == ["0", "1"]


@pytest.mark.parametrize("version", [0, make.V1, make.V2, make.V3])
def test_every_version_of_params_is_read(version: int) -> None:
    assert described(make.params([make.array((2,), 0, make.floats(1, 2), version)], ["w"])) == {"w": ("float32", (2,))}


def test_params_may_hold_a_scalar_since_version_3() -> None:
    assert described(make.params([make.array((), 0, make.floats(1), make.V3)], ["w"])) == {"w": ("float32", ())}


def test_sparse_params_are_refused_with_what_to_do() -> None:
    sparse = struct.pack("<Ii", make.V2, 1) + bytes(64)
    with pytest.raises(ParameterError, match=r"array 0 is sparse.*tostype"):
        read_parameters(make.params([sparse], ["w"]))


# kinds ---------------------------------------------------------------------------------------------------------------

SYMBOL, TORCHSCRIPT, PT2 = make.SYMBOL, make.TORCHSCRIPT, make.PT2


@pytest.mark.parametrize("format", make.GOOD)
def test_tensors_alone_are_data(format: str) -> None:
    assert kind_of(make.GOOD[format]) == FileKind(format, "data")
    assert kind_of(read_parameters(make.GOOD[format])) == FileKind(format, "data")


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (TORCHSCRIPT, "torchscript"),
        (make.zipped([("m/data.pkl", b""), ("m/code/x.py", b"")]), "torchscript"),
        (make.zipped([("m/data.pkl", b""), ("m/constants.pkl", b"")]), "torchscript"),
        (make.zipped([("m/bytecode.pkl", b"")]), "torchscript"),
        (PT2, "pt2"),
        (make.zipped([("serialized_exported_program.json", b"{}")]), "pt2"),
        (SYMBOL, "mxnet-symbol"),
        (b"  \n" + SYMBOL, "mxnet-symbol"),
    ],
)
def test_programs_are_told_by_their_bytes_and_have_no_parameters_to_read(content: bytes, format: str) -> None:
    kind = kind_of(content)
    assert (kind.format, kind.trust) == (format, "program")
    with pytest.raises(ParameterError, match="program"):
        read_parameters(content)


U8 = make.entry("U8", [1], 0, 1)


@pytest.mark.parametrize(
    "content",
    [
        make.safetensors({"_extra_state": U8}, b"x"),
        make.safetensors({"1._extra_state": U8}, b"x"),
        make.params([make.array((1,), 3, b"x")], ["arg:1._extra_state"]),
        make.pth(
            make.state_dict({"1._extra_state": make.tensor((1,), (1,), 0, make.storage("0", 1, "ByteStorage"))}), {"0": b"x"}
        ),
    ],
    ids=["root", "child", "params", "pth"],
)
def test_a_file_of_any_format_that_carries_a_program_is_a_program(content: bytes) -> None:
    kind = kind_of(content)
    assert kind.trust == "program"
    assert kind.reason
    assert kind_of(read_parameters(content)) == kind


@pytest.mark.parametrize("name", ["extra_state", "my_extra_state", "_extra_state.w"])
def test_only_the_last_part_of_a_name_makes_a_program(name: str) -> None:
    assert kind_of(make.safetensors({name: U8}, b"x")).trust == "data"


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"\x08\x07\x12\x07pytorch", "unknown"),
        (b"", "unknown"),
        (b"{}", "unknown"),
        (b"[]", "unknown"),
        (b"DJL@\x00\x01", "djl"),
        (make.zipped([("readme.txt", b"")]), "unknown"),
        (b"PK\x03\x04", "unknown"),
        (make.SAFETENSORS[:-1], "safetensors"),
        (make.pth(make.name("os", "system")), "pth"),
        (make.pickled(make.name("os", "system")), "unknown"),
    ],
)
def test_what_is_neither_is_unknown_and_the_reason_is_told(content: bytes, format: str) -> None:
    kind = kind_of(content)
    assert (kind.format, kind.trust) == (format, "unknown")
    assert kind.reason
    with pytest.raises(ParameterError):
        read_parameters(content)


def test_djl_s_own_format_is_named() -> None:
    with pytest.raises(ParameterError, match=r"DJL's own parameter format \(DJL@\), which is not read yet"):
        read_parameters(b"DJL@\x00")


# what counts as a program --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["U8", "I8", "F32"])
def test_extra_state_of_a_module_is_a_program_whatever_its_dtype(dtype: str) -> None:
    header = json.dumps({"1._extra_state": {"dtype": dtype, "shape": [1], "data_offsets": [0, 4 if dtype == "F32" else 1]}})
    content = struct.pack("<Q", len(header)) + header.encode() + bytes(4 if dtype == "F32" else 1)
    assert kind_of(content).trust == "program"


def with_aliases(aliases: object) -> bytes:
    header = {"__metadata__": {"zoo.aliases": json.dumps(aliases)}, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"x"


def test_an_alias_that_becomes_extra_state_is_a_program() -> None:
    assert kind_of(with_aliases({"_extra_state": "w"})).trust == "program"


def test_aliases_are_further_names_of_stored_tensors() -> None:
    assert dict(read_parameters(with_aliases({"v": "w"})).aliases) == {"v": "w"}


@pytest.mark.parametrize("aliases", [["v"], {"v": "gone"}, {"v": 3}, {"w": "w"}], ids=repr)
def test_aliases_that_name_no_stored_tensor_are_an_error(aliases: object) -> None:
    with pytest.raises(ParameterError, match=r"zoo\.aliases"):
        read_parameters(with_aliases(aliases))


# programs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", make.PROGRAMS)
@pytest.mark.parametrize("as_type", [bytes, bytearray, memoryview])
def test_the_kind_of_a_program_is_told_by_its_bytes(kind: str, as_type: type) -> None:
    assert program_kind(as_type(make.PROGRAMS[kind])) == kind


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"torch.aten"',
        b' {"torch.aten":1}',
        b'{ "torch.aten":1}',
        b'{"Torch.aten":1}',
        b"\xef\xbb\xbf" + make.ATEN,
        b'{"nodes":[],"arg_nodes":[]}',
        b'["nodes","arg_nodes","heads"]',
        b'{"nodes":' * 100_000,
        make.SAFETENSORS,
        make.PTH,
        make.PARAMS,
        make.PT2[: len(make.PT2) // 2],
        b"PK\x03\x04",
        make.TORCHSCRIPT[:-1],
    ],
)
def test_what_is_no_program_of_a_known_kind_is_unknown(content: bytes) -> None:
    assert program_kind(content) == "unknown"


def test_a_json_text_larger_than_any_symbol_is_not_even_parsed() -> None:
    assert program_kind(b'{"nodes":[],"arg_nodes":[],"heads":[]}' + b" " * 17_000_000) == "unknown"


@pytest.mark.parametrize("kind", make.PROGRAMS)
def test_a_file_gives_its_programs_with_kind_bytes_and_digest(kind: str) -> None:
    content = make.PROGRAMS[kind]
    file = read_parameters(make.with_program(content, "1.body._extra_state"))
    (program,) = file.programs.values()
    assert (program.name, program.kind, bytes(program.content)) == ("1.body._extra_state", kind, content)
    assert program.sha256 == hashlib.sha256(content).hexdigest()
    assert file.is_data is (kind == "torch.aten")


def test_a_file_without_programs_is_data_and_gives_none() -> None:
    assert (dict(read_parameters(make.SAFETENSORS).programs), read_parameters(make.SAFETENSORS).is_data) == ({}, True)


def test_one_program_that_is_none_of_data_makes_the_file_a_program() -> None:
    entries = {"0._extra_state": make.entry("U8", [27], 0, 27), "1._extra_state": make.entry("U8", [4], 27, 31)}
    file = read_parameters(make.safetensors(entries, make.ATEN + b"code"))
    assert [program.kind for program in file.programs.values()] == ["torch.aten", "unknown"]
    assert not file.is_data


def test_an_alias_of_a_program_is_the_same_program_under_its_own_name() -> None:
    file = read_parameters(
        make.with_program(make.PT2, "0._extra_state", {"zoo.aliases": '{"2._extra_state": "0._extra_state"}'})
    )
    assert {name: (program.name, program.kind) for name, program in file.programs.items()} == {
        "0._extra_state": ("0._extra_state", "torch.export"),
        "2._extra_state": ("2._extra_state", "torch.export"),
    }


def test_an_alias_may_make_a_program_of_any_tensor() -> None:
    file = read_parameters(make.with_program(make.ATEN, "weight", {"zoo.aliases": '{"_extra_state": "weight"}'}))
    assert (file.programs["_extra_state"].kind, file.is_data) == ("torch.aten", True)


def test_an_empty_holder_that_was_saved_holds_no_program() -> None:
    file = read_parameters(make.safetensors({"_extra_state": make.entry("U8", [0], 0, 0)}))
    assert (dict(file.programs), file.is_data) == ({}, True)


N = len(make.ATEN)


def of_bytes(shape: tuple[int, ...], strides: tuple[int, ...], content: bytes, offset: int = 0) -> bytes:
    """A .pth whose one tensor is named as a program is."""
    tensor = make.tensor(shape, strides, offset, make.storage("0", len(content), "ByteStorage"))
    return make.pth(make.state_dict({"_extra_state": tensor}), {"0": content})


@pytest.mark.parametrize(
    "content",
    [
        make.safetensors({"_extra_state": make.entry("I8", [N], 0, N)}, make.ATEN),
        make.safetensors({"_extra_state": make.entry("U8", [1, N], 0, N)}, make.ATEN),
        make.safetensors({"_extra_state": make.entry("U8", [0, N], 0, 0)}),
        make.safetensors({"_extra_state": make.entry("U8", [], 0, 1)}, b"{"),
        of_bytes((N,), (2,), b"".join(bytes([byte, 0]) for byte in make.ATEN)),
        of_bytes((N,), (0,), b"{"),
    ],
    ids=["int8", "two dimensions", "empty of two dimensions", "scalar", "strided", "repeated"],
)  # fmt: skip
def test_a_program_that_is_no_row_of_bytes_is_unknown_and_has_no_content(content: bytes) -> None:
    file = read_parameters(content)
    program = file.programs["_extra_state"]
    assert (program.kind, file.is_data) == ("unknown", False)
    with pytest.raises(ParameterError, match=r"'_extra_state' is .*a program is a row of uint8"):
        program.content  # noqa: B018 - it raises


def test_a_view_into_a_larger_storage_is_those_bytes_alone() -> None:
    """What an engine would see is what was inspected, wherever in the file it begins."""
    file = read_parameters(of_bytes((N,), (1,), b"code" + make.ATEN + b"!!", offset=4))
    assert (bytes(file.programs["_extra_state"].content), file.is_data) == (make.ATEN, True)


# whole programs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "format", "kind"),
    [
        (make.TORCHSCRIPT, "torchscript", "torchscript"),
        (make.PT2, "pt2", "torch.export"),
        (make.SYMBOL, "mxnet-symbol", "mxnet.symbol"),
        (make.ATEN, "torch-aten", "torch.aten"),
    ],
)
def test_a_file_that_is_a_program_as_a_whole_fills_an_empty_holder(
    content: bytes, format: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(content)
    for source in (path, str(path), content, io.BytesIO(content)):
        file = read_model_file(source)
        assert (file.format, list(file.tensors), file.is_data) == (format, ["_extra_state"], kind == "torch.aten")
        assert (file.programs["_extra_state"].kind, bytes(file.programs["_extra_state"].content)) == (kind, content)


@pytest.mark.parametrize("format", make.GOOD)
def test_a_file_of_tensors_is_read_as_ever(format: str) -> None:
    assert list(read_model_file(make.GOOD[format])) == list(read_parameters(make.GOOD[format]))


def test_a_file_that_was_read_is_given_back() -> None:
    file = read_parameters(make.SAFETENSORS)
    assert read_model_file(file) is file


@pytest.mark.parametrize("name", ["net-0000.params", "net-0012.params", "net.params"])
def test_the_parameters_beside_a_symbol_stand_beside_its_program(name: str, tmp_path: Path) -> None:
    (tmp_path / "net-symbol.json").write_bytes(make.SYMBOL)
    (tmp_path / name).write_bytes(make.PARAMS)
    (tmp_path / "other-0000.params").write_bytes(make.PARAMS)
    file = read_model_file(tmp_path / "net-symbol.json")
    assert (list(file.tensors), file.tensors["w"].shape) == (["_extra_state", "w", "m"], (2, 3))


def test_a_symbol_alone_has_no_parameters(tmp_path: Path) -> None:
    (tmp_path / "net-symbol.json").write_bytes(make.SYMBOL)
    (tmp_path / "network-0000.params").write_bytes(make.PARAMS)
    assert list(read_model_file(tmp_path / "net-symbol.json")) == ["_extra_state"]


def test_several_candidates_for_a_symbols_parameters_are_named(tmp_path: Path) -> None:
    (tmp_path / "net-symbol.json").write_bytes(make.SYMBOL)
    for name in ("net-0000.params", "net-0001.params"):
        (tmp_path / name).write_bytes(make.PARAMS)
    with pytest.raises(ParameterError, match=r"may be in net-0000\.params, net-0001\.params: give one of these files"):
        read_model_file(tmp_path / "net-symbol.json")
    assert len(read_model_file(tmp_path / "net-symbol.json", parameters=tmp_path / "net-0001.params")) == 3


def test_the_parameters_of_a_symbol_may_hold_no_second_program() -> None:
    with pytest.raises(ParameterError, match="hold another program, _extra_state"):
        read_model_file(make.SYMBOL, parameters=make.with_program(make.ATEN))
    hidden = make.with_program(make.ATEN, "w", {"zoo.aliases": '{"_extra_state": "w"}'})
    with pytest.raises(ParameterError, match="hold another program, _extra_state"):
        read_model_file(make.SYMBOL, parameters=hidden)


def test_the_header_and_the_aliases_of_a_symbols_parameters_stay() -> None:
    file = read_model_file(make.SYMBOL, parameters=make.with_program(b"xx", "w", {"zoo.aliases": '{"v": "w"}'}))
    assert (dict(file.aliases), list(file)) == ({"v": "w"}, ["_extra_state", "w"])


# several parts -------------------------------------------------------------------------------------------------------

W, V = make.safetensors({"w": make.entry("U8", [1], 0, 1)}, b"w"), make.safetensors({"v": make.entry("U8", [1], 0, 1)}, b"v")
INDEX = "model.safetensors.index.json"


def sharded(folder: Path, weight_map: object, parts: dict[str, bytes] | None = None) -> Path:
    """An index and its parts."""
    for name, content in ({"a.safetensors": W, "b.safetensors": V} if parts is None else parts).items():
        (folder / name).write_bytes(content)
    (folder / INDEX).write_text(weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map}))
    return folder / INDEX


TWO = {"w": "a.safetensors", "v": "b.safetensors"}


@pytest.mark.parametrize("read", [read_parameters, read_model_file], ids=["parameters", "model"])
@pytest.mark.parametrize("as_type", [lambda path: path, str], ids=["path", "text"])
def test_a_file_in_parts_is_read_through_its_index(read: Any, as_type: Any, tmp_path: Path) -> None:
    file = read(as_type(sharded(tmp_path, TWO)))
    assert {name: bytes(tensor.source.data[tensor.offset :]) for name, tensor in file.tensors.items()} == {"w": b"w", "v": b"v"}
    assert (file.format, file.name) == ("safetensors", str(tmp_path / INDEX))


def test_a_program_in_any_part_makes_the_whole_a_program(tmp_path: Path) -> None:
    parts = {"a.safetensors": W, "b.safetensors": make.with_program(make.PT2)}
    file = read_parameters(sharded(tmp_path, {"w": "a.safetensors", "_extra_state": "b.safetensors"}, parts))
    assert not file.is_data


DEEP = '{"weight_map": ' + '{"w":' * 100_000


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({"w": "../a.safetensors"}, r"part '\.\./a\.safetensors' is no file beside the index"),
        ({"w": "/etc/passwd"}, "is no file beside the index"),
        ({"w": "sub/a.safetensors"}, "is no file beside the index"),
        ({"w": "./a.safetensors"}, "is no file beside the index"),
        ({"w": "a.safetensors/."}, "is no file beside the index"),
        ({"w": "..\\a.safetensors"}, "is no file beside the index"),
        ({"w": "a.safetensors\0"}, "is no file beside the index"),
        ({"w": ""}, "is no file beside the index"),
        ({"w": ".."}, "is no file beside the index"),
        ({"w": "\ud800.safetensors"}, "cannot be read"),
        ({"w": "gone.safetensors"}, r"gone\.safetensors cannot be read: No such file"),
        ({"w": INDEX}, r"index\.json"),
        ({"w": 3}, "no weight_map from tensors to files"),
        ({"w": None}, "no weight_map from tensors to files"),
        ({}, "no weight_map from tensors to files"),
        (["a.safetensors"], "no weight_map from tensors to files"),
        ("{}", "no weight_map from tensors to files"),
        ("[]", "no weight_map from tensors to files"),
        ("", "the index is no JSON"),
        ("{", "the index is no JSON"),
        (DEEP, "the index is no JSON"),
        ({"w": "a.safetensors", "u": "a.safetensors"}, r"tensor 'u' should be in a\.safetensors, which has no such tensor"),
        ({"w": "a.safetensors", "v": "a.safetensors"}, r"tensor 'v' should be in a\.safetensors, which has no such tensor"),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, str) else "",
)
def test_an_index_that_leads_elsewhere_or_nowhere_is_refused(weight_map: object, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        (place / "a.safetensors").write_bytes(W)
    with pytest.raises(ParameterError, match=reason):
        read_parameters(sharded(folder, weight_map))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"a.safetensors": W, "b.safetensors": make.safetensors({}, b"")}, "'v' should be in b"),
        ({"a.safetensors": W, "b.safetensors": b"hello"}, "b.safetensors"),
        ({"a.safetensors": W, "b.safetensors": make.PTH}, "b.safetensors"),
        ({"a.safetensors": W, "b.safetensors": V[:-1]}, "b.safetensors"),
        ({"a.safetensors": W, "b.safetensors": make.safetensors(
            {"v": make.entry("U8", [1], 0, 1), "w": make.entry("U8", [1], 1, 2)}, b"vw")}, "one tensor twice"),
        ({"a.safetensors": W, "b.safetensors": make.safetensors(
            {"v": make.entry("U8", [1], 0, 1), "u": make.entry("U8", [1], 1, 2)}, b"vu")}, "a tensor that it does not name"),
    ],
    ids=["lacks it", "no safetensors", "a pickle", "cut", "twice", "unnamed"],
)  # fmt: skip
def test_parts_that_do_not_agree_with_their_index_are_refused(parts: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=reason):
        read_parameters(sharded(tmp_path, TWO, parts))


def test_the_content_of_an_index_alone_is_no_parameter_file(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no parameter file"):
        read_parameters(sharded(tmp_path, TWO).read_bytes())


def test_tied_names_with_other_values_in_another_part_are_refused(tmp_path: Path) -> None:
    """The two lie at one place, each in a file of its own."""
    pytest.importorskip("numpy")
    parts = {
        f"{name}.safetensors": make.safetensors({name: make.entry("F32", [1], 0, 4)}, make.floats(value))
        for name, value in (("a", 0.0), ("b", 1.0), ("c", 0.0))
    }
    file = read_parameters(sharded(tmp_path, {name: f"{name}.safetensors" for name in "abc"}, parts))
    file.check_tied(["a", "c"])
    with pytest.raises(ParameterError, match="different values for 'a' and 'b'"):
        file.check_tied(["a", "c", "b"])
