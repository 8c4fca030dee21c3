"""Parameter files: what a file says about its tensors, and their values."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import parameter_files as make
from zoo_core.errors import PackageNotInstalledError, ParameterError
from zoo_core.parameters import FileKind, ParameterFile, kind_of, read_parameters

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

SYMBOL = b'{\n "nodes": [], "arg_nodes": [], "heads": []}'
TORCHSCRIPT = make.pth(make.state_dict({}), {}, {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"x"})
PT2 = make.zipped([("m/archive_format", b"pt2"), ("m/models/model.json", b"{}")])


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
