"""Small parameter files made by hand, byte for byte, so that tests can say what is in them and what is wrong with them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PROTOCOL = b"\x80\x02M\xe9\x03."


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


# safetensors ---------------------------------------------------------------------------------------------------------


def safetensors(header: object, data: bytes = b"") -> bytes:
    """A file with this header, a JSON value or its text."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# pickles -------------------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def integers(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def storage(key: str = "0", count: int = 6, kind: str = "FloatStorage", view: bytes = b"") -> bytes:
    """A persistent id; the legacy layout adds a view, `NO_VIEW` where there is none."""
    return b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + integer(count) + view + b"tQ"


NO_VIEW = b"N"


def tensor(
    shape: Iterable[int] = (2, 3),
    strides: Iterable[int] = (3, 1),
    offset: int = 0,
    stored: bytes = storage(),
    metadata: bytes = b"",
) -> bytes:
    arguments = stored + integer(offset) + integers(shape) + integers(strides) + b"\x89" + ORDERED_DICT + metadata
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def parameter(of: bytes) -> bytes:
    return name("torch._utils", "_rebuild_parameter") + b"(" + of + b"\x88" + ORDERED_DICT + b"tR"


def state_dict(items: Mapping[str, bytes], behind: bytes = b"") -> bytes:
    """An OrderedDict of names and pickled values, without the head and the end of a pickle."""
    return ORDERED_DICT + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u" + behind


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


# .pth ----------------------------------------------------------------------------------------------------------------


def zipped(entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for path, content in entries:
            archive.writestr(path, content)
    return file.getvalue()


def pth(
    body: bytes,
    storages: Mapping[str, bytes] = {"0": floats(0, 1, 2, 3, 4, 5)},
    more: Mapping[str, bytes] = {},
    root: str = "archive",
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """The zip layout, around the pickle of an object."""
    entries = {"data.pkl": pickled(body), "version": b"3\n", "byteorder": b"little", **more}
    entries |= {f"data/{key}": content for key, content in storages.items()}
    return zipped(((f"{root}/{path}", content) for path, content in entries.items()), method)


def pth_legacy(
    body: bytes, storages: Mapping[str, tuple[int, bytes]], system: bytes = b"}" + text("little_endian") + b"\x88s"
) -> bytes:
    """The legacy layout, around the pickle of an object; storages as count and bytes."""
    keys = b"](" + b"".join(text(key) for key in storages) + b"e"
    runs = b"".join(struct.pack("<q", count) + content for count, content in storages.values())
    return LEGACY_MAGIC + LEGACY_PROTOCOL + pickled(system) + pickled(body) + pickled(keys) + runs


# .params -------------------------------------------------------------------------------------------------------------

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def array(shape: tuple[int, ...], number: int, content: bytes, version: int = V2) -> bytes:
    """One array; the version 0 is what MXNet wrote before it numbered them."""
    head = struct.pack("<I", version) if version else b""
    head += struct.pack("<i", 0) if version in (V2, V3) else b""
    sizes = struct.pack(f"<I{len(shape)}{'q' if version else 'I'}", len(shape), *shape)
    return head + sizes + struct.pack("<iii", 1, 0, number) + content


def params(arrays: list[bytes], names: list[str]) -> bytes:
    texts = [struct.pack("<Q", len(each)) + each.encode() for each in names]
    return b"".join((struct.pack("<QQQ", 0x112, 0, len(arrays)), *arrays, struct.pack("<Q", len(texts)), *texts))


# one good file of each format ----------------------------------------------------------------------------------------

SAFETENSORS = safetensors(
    {
        "__metadata__": {"zoo.format": "1"},
        "w": entry("F32", [2, 3], 0, 24),
        "n": entry("I64", [], 24, 32),
        "h": entry("BF16", [2], 32, 36),
    },
    floats(0, 1, 2, 3, 4, 5) + struct.pack("<q", 7) + bytes.fromhex("803f00c0"),
)
PTH = pth(
    state_dict(
        {"w": tensor(), "t": parameter(tensor((3, 2), (1, 3))), "e": tensor((0, 4), (4, 1))},
        behind=b"}" + text("_metadata") + ORDERED_DICT + b"sb",
    )
)
PTH_LEGACY = pth_legacy(
    state_dict({"w": tensor(stored=storage(view=NO_VIEW)), "n": tensor((), (), 0, storage("1", 1, "LongStorage", NO_VIEW))}),
    {"0": (6, floats(0, 1, 2, 3, 4, 5)), "1": (1, struct.pack("<q", 7))},
)
PARAMS = params([array((2, 3), 0, floats(0, 1, 2, 3, 4, 5)), array((2,), 5, b"\x01\xff")], ["arg:w", "aux:m"])

GOOD = {"safetensors": SAFETENSORS, "pth": PTH, "pth-legacy": PTH_LEGACY, "params": PARAMS}

# one program of each kind, as far as its bytes tell ------------------------------------------------------------------

ATEN = b'{"torch.aten":1,"nodes":[]}'
SYMBOL = b'{\n "nodes": [], "arg_nodes": [], "heads": []}'
TORCHSCRIPT = pth(state_dict({}), {}, {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"x"})
PT2 = zipped([("m/archive_format", b"pt2"), ("m/models/model.json", b"{}")])

PROGRAMS = {"torch.aten": ATEN, "torch.export": PT2, "torchscript": TORCHSCRIPT, "mxnet.symbol": SYMBOL, "unknown": b"print()"}


def with_program(content: bytes, name: str = "_extra_state", header: Mapping[str, str] = {}) -> bytes:
    """A safetensors file with a program among its tensors."""
    entries = {"__metadata__": dict(header)} if header else {}
    return safetensors({**entries, name: entry("U8", [len(content)], 0, len(content))}, content)
