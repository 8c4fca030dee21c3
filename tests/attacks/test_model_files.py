"""Hostile files in a model's place: each ends in one error of ours, soon, in bounded memory, and nothing of it is run.

What could end in a signal, or take the machine with it, is read in a process of its own.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import archives
from tests import parameter_files as make
from tests.core import toy_engine
from tests.core.toy_engine import stored
from tests.repositories import sha256
from zoo_core import InputError, IntegrityError, ModelZoo, ParameterError, PluginError, UntrustedCodeError, ZooError, ZooWarning
from zoo_core.bundle import bundle_of
from zoo_core.parameters.source import open_source

MIB = 1 << 20
NET = {"net.safetensors": make.SAFETENSORS}

#: Opens each file as a load and as `info` do, and says how that ended and how much memory it took.
CHILD = """
import json, resource, sys
import zoo_core

def ended(path, verb):
    try:
        verb(model_path=path)
    except zoo_core.EngineNotInstalledError:
        return "opened"
    except zoo_core.ZooError as error:
        return f"{type(error).__name__}: {error}"
    return "opened"

zoo = zoo_core.ModelZoo([], config=False, plugins=[])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for path in sys.argv[1:]:
    load = lambda model_path: zoo.load_model(model_path=model_path, engine="NoSuchEngine")
    found[path] = [ended(path, zoo.info), ended(path, load)]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"found": found, "peak": (after - before) * (1 if sys.platform == "darwin" else 1024)}))
"""


def opened(folder: Path, contents: dict[str, bytes], *, seconds: int = 60) -> tuple[dict[str, list[str]], int]:
    """How opening each file ended, by its name, and the memory that all of it took, in bytes."""
    pytest.importorskip("resource", reason="needs a system that tells of memory")
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    paths = [str(folder / name) for name in contents]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *paths], capture_output=True, text=True, timeout=seconds, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr  # no signal, and no error but ours
    document = json.loads(done.stdout)
    assert sorted(path.name for path in folder.iterdir()) == sorted(contents)  # nothing was unpacked or run
    return {Path(path).name: ends for path, ends in document["found"].items()}, document["peak"]


def refused(tmp_path: Path, content: bytes, reason: str, *, memory: int = 64 * MIB) -> None:
    """It ends in a ParameterError with a reason, whatever is asked of it, within some memory."""
    found, peak = opened(tmp_path / "hostile", {"net.bin": content})
    for ended in found["net.bin"]:
        assert ended.startswith("ParameterError: ")
        assert reason in ended
    assert peak < memory + 2 * len(content)


def run_here(content: Any, **how: Any) -> Any:
    """Load something with the toy engine, in this process."""
    return ModelZoo([], config=False, plugins=[]).load_model(model_path=content, engine="Toy", **how)


@pytest.fixture
def toy(install: Callable[..., Path]) -> None:
    """An engine, installed as a plugin."""
    pytest.importorskip("numpy")
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


# zip files -----------------------------------------------------------------------------------------------------------


def directory_says(content: bytes, at: int, layout: str, *values: int, entry: int = 0) -> bytes:
    """A zip file whose directory says something else of an entry."""
    place = content.index(b"PK\1\2")
    for _ in range(entry):
        place = content.index(b"PK\1\2", place + 1)
    return content[: place + at] + struct.pack(layout, *values) + content[place + at + struct.calcsize(layout) :]


def test_a_zip_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    content = archives.zipped({"net.safetensors": bytes(64 * MIB)})
    assert len(content) < MIB
    refused(tmp_path, content, f"inflates to {64 * MIB} bytes; ")


def test_a_zip_bomb_that_says_less_is_cut_there(tmp_path: Path) -> None:
    content = archives.zipped({"net.safetensors": bytes(64 * MIB)})
    refused(tmp_path, directory_says(content, 24, "<I", MIB), "cannot be read: Bad CRC-32")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_method_that_inflates_without_bound_is_not_read(method: int, tmp_path: Path) -> None:
    """Both make megabytes of a few bytes, so that a directory which lies about the compressed size allows gigabytes."""
    content = archives.zipped({"net.safetensors": bytes(32 * MIB)}, method)
    lying = directory_says(content, 20, "<I", 2**31)
    refused(tmp_path, lying, "is compressed or encrypted")


def overlapping(names: Iterable[str], content: bytes) -> bytes:
    """A zip file in which many entries are the same compressed bytes; the local header has but one of the names."""
    packed = zlib.compress(content, 9)[2:-4]
    checksum, names = zlib.crc32(content), list(names)
    sizes = struct.pack("<III", checksum, len(packed), len(content))
    local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(names[0]), 0)
    body = local + names[0].encode() + packed
    directory = b"".join(
        b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0) + sizes
        + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name.encode()
        for name in names
    )  # fmt: skip
    end = struct.pack("<4s4xHHII2x", b"PK\5\6", len(names), len(names), len(directory), len(body))
    return body + directory + end


def parts(number: int, megabytes: int) -> dict[str, bytes]:
    """An index of parts that are large and compress well."""
    size = megabytes * MIB
    files, index = {}, {}
    for part in range(number):
        name = f"{part:04d}.safetensors"
        index[f"w{part}"] = name
        files[name] = make.safetensors({f"w{part}": make.entry("U8", [size], 0, size)}, bytes(size))
    return {**files, "net.safetensors.index.json": json.dumps({"weight_map": index}).encode()}


def test_many_entries_that_are_each_allowed_are_bounded_together(tmp_path: Path) -> None:
    content = archives.zipped(parts(18, 15))
    assert len(content) < 2 * MIB
    refused(tmp_path, content, "are allowed", memory=400 * MIB)


def test_entries_that_are_the_same_bytes_are_refused(tmp_path: Path) -> None:
    content = make.safetensors({"w": make.entry("U8", [MIB], 0, MIB)}, bytes(MIB))
    found, _ = opened(tmp_path / "hostile", {"net.bin": overlapping(["a.safetensors", "b.txt"], content)})
    assert found["net.bin"] == ["opened", "opened"]
    found, _ = opened(tmp_path / "hostile", {"net.bin": overlapping(["b.txt", "a.safetensors"], content)})
    assert all("File name in directory" in ended for ended in found["net.bin"])


def test_thousands_of_members_are_listed_soon(tmp_path: Path) -> None:
    many = archives.zipped({f"{number}.txt": b"" for number in range(20_000)}, zipfile.ZIP_STORED)
    found, peak = opened(tmp_path / "hostile", {"net.bin": many})
    assert all(
        ended == f"InputError: {tmp_path / 'hostile' / 'net.bin'} holds no parameter file; name one file"
        for ended in found["net.bin"]
    )
    assert peak < 64 * MIB


TRAVERSING = [
    "../net.safetensors", "../../net.safetensors", "/net.safetensors", "/etc/net.safetensors", "a/../../net.safetensors",
    "C:\\net.safetensors", "..\\net.safetensors", "./../net.safetensors", "//host/net.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("packing", [archives.zipped, archives.tarred], ids=["zip", "tar"])
def test_a_name_that_leads_elsewhere_never_becomes_a_path(packing: Any, tmp_path: Path) -> None:
    """Members are read where they lie; what is found is found, and nothing is written."""
    contents = {f"{number}.bin": packing({name: make.SAFETENSORS}) for number, name in enumerate(TRAVERSING)}
    (tmp_path / "net.safetensors").write_bytes(b"outside")
    found, _ = opened(tmp_path / "hostile", contents)
    for ends in found.values():
        assert all(ended == "opened" or "holds no parameter file" in ended for ended in ends)
    assert (tmp_path / "net.safetensors").read_bytes() == b"outside"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "members",
    [
        [("net.safetensors", b"one"), ("net.safetensors", make.SAFETENSORS)],
        [("net.safetensors", b"one"), ("./net.safetensors", make.SAFETENSORS)],
        [("net.safetensors", make.SAFETENSORS), ("block_factory.py", b"one"), ("block_factory.py", b"two")],
    ],
    ids=["twice", "with a dot", "code twice"],
)
@pytest.mark.parametrize("packing", [archives.zipped, archives.tarred], ids=["zip", "tar"])
def test_two_members_of_one_name_are_refused(packing: Any, members: list[tuple[str, bytes]], tmp_path: Path) -> None:
    refused(tmp_path, packing(members), "have one name, and readers differ in which they take")


def test_a_name_with_a_nul_ends_there_and_hides_no_second_entry(tmp_path: Path) -> None:
    plain = archives.zipped({"net.safetensorsX.txt": make.SAFETENSORS})
    found, _ = opened(tmp_path / "hostile", {"net.bin": plain.replace(b"net.safetensorsX.txt", b"net.safetensors\0.txt")})
    assert found["net.bin"] == ["opened", "opened"]
    both = archives.zipped({"net.safetensors": b"x", "net.safetensorsX.txt": make.SAFETENSORS})
    refused(tmp_path, both.replace(b"net.safetensorsX.txt", b"net.safetensors\0.txt"), "have one name")


@pytest.mark.parametrize("bit", [0x1, 0x41], ids=["encrypted", "strongly encrypted"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_an_encrypted_member_is_refused(bit: int, method: int, tmp_path: Path) -> None:
    content = directory_says(archives.zipped(NET, method), 8, "<H", bit)
    refused(tmp_path, content, "")


def test_a_symbolic_link_in_a_zip_file_is_its_text_and_not_what_it_names(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("net.safetensors")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path, file.getvalue(), "is no parameter file that is read here")


def test_an_archive_in_an_archive_is_no_parameter_file(tmp_path: Path) -> None:
    inner = {"zip": archives.zipped(NET), "tar": archives.tarred(NET), "tar.gz": archives.tarred(NET, mode="w:gz")}
    contents = {f"in.{kind}": archives.zipped({"net.safetensors": content}) for kind, content in inner.items()}
    found, _ = opened(tmp_path / "hostile", contents)
    assert all("is no parameter file that is read here" in ended for ends in found.values() for ended in ends)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_zip_file_cut_anywhere_is_refused(method: int, tmp_path: Path) -> None:
    content = archives.zipped(NET, method)
    contents = {f"{end:04d}.bin": content[:end] for end in range(4, len(content))}
    found, _ = opened(tmp_path / "hostile", contents)
    assert all(ended.startswith("ParameterError: ") for ends in found.values() for ended in ends)


# tar files -----------------------------------------------------------------------------------------------------------


def checked(content: bytes) -> bytes:
    """The same with the checksum of the first head of a tar file made right again."""
    head = bytearray(content[:512])
    if len(head) == 512 and head[257:262] == b"ustar":
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    return bytes(head) + content[512:]


#: Compressed zeros; several gzip files one behind the other are one.
ZEROS = archives.squeezed(bytes(32 * MIB))
GIB = 32 * ZEROS


def test_a_tar_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    content = archives.squeezed(archives.head("net.safetensors", tarfile.REGTYPE, 1 << 30)) + GIB
    refused(tmp_path, content, "bytes are in it")


def test_many_members_that_are_each_allowed_are_bounded_together(tmp_path: Path) -> None:
    heads = [archives.squeezed(archives.head(f"{number}.bin", tarfile.REGTYPE, 32 * MIB)) for number in range(9)]
    refused(tmp_path, b"".join(head + ZEROS for head in heads), "bytes are in it", memory=400 * MIB)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE], ids=["GNU", "pax"])
def test_a_name_of_a_gigabyte_is_refused(kind: bytes, tmp_path: Path) -> None:
    """Python's reader takes what describes a member whole, whatever size it says."""
    content = archives.squeezed(archives.head("long", kind, 1 << 30)) + GIB
    refused(tmp_path, content, "the archive cannot be read: it inflates to more than", memory=700 * MIB)


def test_a_gigabyte_behind_a_member_that_is_no_file_is_refused(tmp_path: Path) -> None:
    heads = [archives.squeezed(archives.head(f"{number}", b"?", 160 * MIB)) for number in range(2)]
    refused(tmp_path, b"".join(head + 5 * ZEROS for head in heads), "inflates to more than")


def test_headers_of_headers_of_headers_are_refused(tmp_path: Path) -> None:
    """Each is a call of tarfile in the one before."""
    long = archives.head("long", tarfile.GNUTYPE_LONGNAME, 4) + b"name".ljust(512, b"\0")
    pax = archives.head("pax", tarfile.XHDTYPE, 9) + b"9 path=x\n".ljust(512, b"\0")
    contents = {kind: header * 5_000 + archives.tarred(NET) for kind, header in (("long", long), ("pax", pax))}
    found, _ = opened(tmp_path / "hostile", contents)
    assert all("the archive cannot be read" in ended for ends in found.values() for ended in ends)


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_other_compressions_are_no_archives_here(mode: str, tmp_path: Path) -> None:
    """Both make gigabytes of a few hundred bytes."""
    refused(tmp_path, archives.tarred(NET, mode=mode), "is no parameter file that is read here")


def test_bytes_that_are_a_tar_file_and_another_compression_are_read_as_a_tar_file_alone(tmp_path: Path) -> None:
    content = bytearray(archives.tarred({"BZh91AY&SY": b"", **NET}))
    found, _ = opened(tmp_path / "hostile", {"net.bin": bytes(content)})
    assert found["net.bin"] == ["opened", "opened"]


def test_thousands_of_members_of_a_tar_file_are_refused(tmp_path: Path) -> None:
    many = b"".join(archives.head(f"{number}.txt", tarfile.REGTYPE, 0) for number in range(10_001)) + bytes(1024)
    refused(tmp_path, many, "more than 10000 members")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"?"],
    ids=["symbolic link", "hard link", "character device", "block device", "pipe", "folder", "unknown"],
)
def test_a_member_that_is_no_file_is_not_there(kind: bytes, tmp_path: Path) -> None:
    members = [archives.member("net.safetensors", kind, link=link) for link in ("/etc/passwd", "../secret", "other.bin")]
    contents = {f"{n}.bin": archives.tarred({"other.bin": make.SAFETENSORS}, more=[each]) for n, each in enumerate(members)}
    found, _ = opened(tmp_path / "hostile", contents)
    assert all("holds no parameter file" in ended for ends in found.values() for ended in ends)


def test_a_sparse_member_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    sparse = archives.member("net.safetensors", tarfile.GNUTYPE_SPARSE, size=512)
    head = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    head[386:410] = b"%011o\0%011o\0" % (0, 512)
    head[483:495] = b"%011o\0" % (1 << 32)
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    refused(tmp_path, bytes(head) + bytes(512) + bytes(1024), "bytes are in it")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_member_whose_end_lies_beyond_all_tar_files_is_not_looked_for(mode: str, tmp_path: Path) -> None:
    """A sparse member says another size than the one that its bytes take; python's reader steps to their end."""
    sparse = bytearray(archives.head("net.safetensors", tarfile.GNUTYPE_SPARSE, 512))
    sparse[124:136] = b"\x80" + bytes(4) + b"\x7f" + bytes(6)
    content = checked(bytes(sparse)) + bytes(10_240)
    refused(tmp_path, archives.squeezed(content) if mode == "w:gz" else content, "the archive cannot be read")


def test_a_tar_file_cut_within_a_member_is_refused(tmp_path: Path) -> None:
    content = archives.tarred(NET, mode="w:gz")
    contents = {f"{end:04d}.bin": content[:end] for end in range(2, len(content) - 8)}
    found, _ = opened(tmp_path / "hostile", contents)
    assert all(
        ended.split(":")[0] in ("ParameterError", "InputError") or ended == "opened"
        for ends in found.values()
        for ended in ends
    )
    assert all(ended.startswith("ParameterError: ") for ended in found[f"{len(content) // 2:04d}.bin"])


GOOD_ARCHIVES = [
    archives.zipped({**NET, "block_factory.py": b"x = 1"}),
    archives.tarred({**NET, "block_factory.py": b"x = 1"}),
    archives.tarred(NET, format=tarfile.PAX_FORMAT, more=[archives.member("ü" * 120)]),
    archives.tarred(NET, format=tarfile.GNU_FORMAT, more=[archives.member("a" * 120, tarfile.SYMTYPE, link="b" * 120)]),
    archives.tarred(NET, mode="w:gz"),
]


@given(
    content=st.sampled_from(GOOD_ARCHIVES),
    edits=st.lists(st.tuples(st.integers(0, 2**13), st.binary(max_size=12), st.integers(0, 12)), min_size=1, max_size=4),
)
@settings(max_examples=400, deadline=None)
def test_an_archive_with_bytes_changed_added_or_removed_is_read_or_refused(
    content: bytes, edits: list[tuple[int, bytes, int]]
) -> None:
    for at, inserted, removed in edits:
        at %= min(len(content), 1024) + 1
        content = content[:at] + inserted + content[at + removed :]
    for variant in (content, checked(content)):
        try:
            found = bundle_of(open_source(variant))
            for name in found.names if found is not None else ():
                found.open(name)  # type: ignore[union-attr]  # it has names
        except ParameterError:
            pass


# what archives and folders carry -------------------------------------------------------------------------------------

MARKER = "ran"


def marking(text: str) -> bytes:
    """Code that leaves a file where it runs."""
    return f"open({MARKER!r}, 'w').close()\n{text}".encode()


CODES = {
    "good": marking("raise SystemExit"),
    "syntax": marking("def f(:"),
    "exit": marking("raise SystemExit(0)"),
    "interrupt": marking("raise KeyboardInterrupt"),
    "exec": marking("import os; os._exit(3)"),
    "recursion": marking("def f(): f()\nf()"),
    "empty": b"",
    "nul": marking("\0"),
    "mark": b"\xef\xbb\xbf" + marking(""),
    "cookie": b"# -*- coding: rot13 -*-\n" + marking(""),
    "utf-16": marking("").decode().encode("utf-16"),
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize("way", ["folder", "zip", "tar"])
@pytest.mark.usefixtures("toy")
def test_code_that_nobody_trusts_is_not_even_looked_at(code: bytes, way: str, tmp_path: Path) -> None:
    files = {"net.safetensors": stored({"weight": [1.0]}), "block_factory.py": code}
    place: Any = {"zip": archives.zipped, "tar": archives.tarred}.get(way, lambda _: tmp_path / "carrying")(files)
    if way == "folder":
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
    almost = sha256(code)[:-1] + ("0" if sha256(code)[-1] != "0" else "1")
    words = [almost, sha256(code)[:16], "*", "", "file://", place.as_uri() if way == "folder" else "zip", "dist:zoo-core"]
    with pytest.raises(UntrustedCodeError, match=f"--trust-code sha256:{sha256(code)}"):
        run_here(place, trust_code=words)
    assert not Path(MARKER).exists()


@pytest.mark.usefixtures("toy")
def test_code_beside_a_file_that_names_its_factory_is_never_run(tmp_path: Path) -> None:
    content = stored({"weight": [1.0]}, {"zoo.factory": '{"factory": "scale", "fields": {"width": 1}}'})
    packed = archives.zipped({"net.safetensors": content, "block_factory.py": marking("")})
    run_here(packed, trust_code=[f"sha256:{sha256(marking(''))}"])
    run_here(
        archives.zipped({"net.safetensors": stored({"weight": [1.0]}), "block_factory.py": marking("")}), block_factory="scale"
    )
    assert not Path(MARKER).exists()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "name", ["Block_Factory.py", "block_factory.PY", "block_factory.pyc", "sub/block_factory.py", "__init__.py"]
)
def test_only_the_one_file_is_code(name: str) -> None:
    packed = archives.zipped({"net.safetensors": stored({"weight": [1.0]}), name: marking("")}, zipfile.ZIP_STORED)
    with pytest.raises((PluginError, InputError), match=r"names no block factory|holds no parameter file"):
        run_here(packed, trust_code=[f"sha256:{sha256(marking(''))}"])
    assert not Path(MARKER).exists()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"def f(:", "raised SyntaxError"),
        (b"raise SystemExit(0)", "raised SystemExit"),
        (b"import torch_that_is_not_there", "raised ModuleNotFoundError"),
        (b"def f(): f()\nf()", "raised RecursionError"),
        (b"x = " + b"(" * 5_000 + b")" * 5_000, "raised"),
        (b"from zoo_core import BlockFactory", "defines none"),
        (b"class Net: pass", "defines none"),
    ],
    ids=["syntax", "exit", "import", "recursion", "parentheses", "none", "no factory"],
)
def test_code_that_is_trusted_and_no_factory_is_an_error_of_ours(code: bytes, message: str) -> None:
    packed = archives.zipped({"net.safetensors": stored({"weight": [1.0]}), "block_factory.py": code})
    with pytest.raises(PluginError, match=rf"block_factory\.py.*{message}"):
        run_here(packed, trust_code=sha256(code))


def test_code_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    found, peak = opened(tmp_path / "hostile", {"net.bin": archives.zipped({**NET, "block_factory.py": b"#" * (8 * MIB)})})
    assert all(ended.startswith("PluginError: ") and "carried code has at most" in ended for ended in found["net.bin"])
    assert peak < 64 * MIB


# headers -------------------------------------------------------------------------------------------------------------

JUNK = [
    "", "{", "null", "3", "-1", "1e999", '"x"', "[]", "[3]", "[null]", "[[]]", "{}", '{"a": 1}', "true", "NaN", "[" * 100_000,
    '{"factory": ["scale"]}', '{"factory": "scale", "fields": 3}', '{"factory": "os.system", "fields": {"a": "touch ran"}}',
    '{"factory": "scale", "engine": ["Toy"]}', '{"factory": "scale", "requires": ["x @ https://evil.example/x"]}',
    '{"name": "os:system"}', '{"name": "toy_numbers", "arguments": {"offset": "__import__(\'os\')"}}', '{"name": {"a": 1}}',
    '["PyTorch; touch ran"]', '["../../x"]', '["x @ https://evil.example/x.whl"]', '["$(touch ran)"]', '["zoo-core\\n--pre"]',
    '{"rtol": NaN, "atol": 0}', '{"rtol": -1, "atol": -1}', '{"rtol": 0, "atol": 1' + "0" * 400 + "}",
    '{"inputs": 3, "outputs": []}', '{"inputs": [{"name": "x", "dtype": "F", "shape": "abc"}], "outputs": []}',
    '{"_extra_state": "weight"}', '{"weight": "weight"}', '{"a": "gone"}', '{"a": ["weight"]}',
    '{"_extra_state": {"kind": "torch.aten", "sha256": ""}}',
]  # fmt: skip
ENTRIES = [
    "zoo.format", "zoo.factory", "zoo.engines", "zoo.signature", "zoo.translator", "zoo.programs", "zoo.golden", "zoo.aliases",
    "zoo.requires", "zoo.written_with",
]  # fmt: skip


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_of_the_header_that_is_junk_is_an_error_of_ours_or_nothing(entry: str) -> None:
    """Whatever it says, nothing is run and nothing else is raised, when it is loaded, checked, saved again or described."""
    zoo = ModelZoo([], config=False, plugins=[])
    for text in JUNK:
        header = {"zoo.factory": '{"factory": "scale", "fields": {"width": 1}}', entry: text}
        content = stored({"weight": [1.0], "zoo.golden.input.input": [1.0], "zoo.golden.output.output_0": [1.0]}, header)
        for verb in (lambda **how: zoo.info(**how, engine="Toy"), lambda **how: zoo.load_model(**how, engine="Toy").check()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ZooWarning)
                try:
                    found, said = verb(model_path=content), ""
                except ZooError as error:
                    found, said = None, str(error)
            assert "evil.example" not in said.partition("pip install")[2]
            assert "evil.example" not in str(getattr(found, "cost", ""))
        assert not Path(MARKER).exists()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": [1.0], "zoo.golden.input.input": [[1.0] * 7], "zoo.golden.output.output_0": [[1.0]]},
        {"weight": [1.0], "zoo.golden.input.": [1.0], "zoo.golden.output.": [1.0]},
        {"weight": [1.0], "zoo.golden.input.a": [], "zoo.golden.output.b": []},
        {"weight": [1.0], **{f"zoo.golden.input.{n}": [1.0] for n in range(200)}, "zoo.golden.output.b": [1.0]},
        {"weight": [1.0], "zoo.golden.input.a": [1.0], **{f"zoo.golden.output.{n}": [1.0] for n in range(200)}},
        {"weight": [1.0], "zoo.golden.input.input": float("nan"), "zoo.golden.output.output_0": float("inf")},
    ],
    ids=["other shape", "no names", "empty", "many inputs", "many outputs", "no numbers"],
)
def test_golden_tensors_of_any_shape_are_compared_or_an_error_of_ours(tensors: dict[str, Any]) -> None:
    header = {
        "zoo.factory": '{"factory": "scale", "fields": {"width": 1}}',
        "zoo.golden": '{"rtol": 0, "atol": 0}',
    }
    found = run_here(stored(tensors, header)).check()
    assert found.outputs


@pytest.mark.usefixtures("toy")
def test_golden_tensors_of_a_type_that_no_array_has_are_an_error() -> None:
    entries = {
        "__metadata__": {"zoo.golden": '{"rtol": 0, "atol": 0}', "zoo.factory": '{"factory": "scale", "fields": {"width": 1}}'},
        "weight": make.entry("F32", [1], 0, 4),
        "zoo.golden.input.x": make.entry("F8_E4M3", [1], 4, 5),
        "zoo.golden.output.y": make.entry("F8_E4M3", [1], 5, 6),
    }
    model = run_here(make.safetensors(entries, bytes(6)))
    with pytest.raises(ParameterError, match="float8_e4m3fn, which NumPy lacks"):
        model.check()


@pytest.mark.usefixtures("toy")
def test_golden_tensors_may_not_claim_more_than_their_file_has() -> None:
    """Beside a file of another format lies one of any format; one that repeats its elements is bounded too."""
    huge = make.pth(make.state_dict({"zoo.golden.input.x": make.tensor((2**38,), (0,))}))
    packed = archives.zipped({"net.params": make.PARAMS, "golden.safetensors": huge})
    with pytest.raises(ParameterError, match="repeat their elements to"):
        run_here(packed, block_factory="scale")


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", ["_extra_state", "0._extra_state", "a.b._extra_state", "._extra_state"])
@pytest.mark.parametrize("format", ["safetensors", "params", "pth"])
def test_a_tensor_that_is_named_as_a_program_reaches_a_network_as_nothing_else(name: str, format: str) -> None:
    """The network has no place for it: the load says so, and takes it for a parameter of no name."""
    content = {
        "safetensors": make.with_program(b"code", name),
        "params": make.params([make.array((4,), 3, b"code")], [f"aux:{name}"]),
        "pth": make.pth(
            make.state_dict({name: make.tensor((4,), (1,), 0, make.storage("0", 4, "ByteStorage"))}), {"0": b"code"}
        ),
    }[format]
    with pytest.raises(ParameterError) as caught:
        run_here(content, block_factory="scale")
    assert caught.value.unexpected == (name,)


# trust in addresses --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toy")
def test_trust_in_one_repository_is_none_in_its_neighbours(tmp_path: Path) -> None:
    from tests import repositories as publish

    code = marking("").replace(b"\n", b"\n") + toy_code()
    content = stored({"weight": [1.0]})
    files = {"parameters": publish.item("net.bin", content), "code": publish.item("block_factory.py", code)}
    roots = [tmp_path / "zoo", tmp_path / "zoo" / "inner", tmp_path / "zoo2", tmp_path / "other" / "zoo"]
    for root in roots:
        publish.publish(
            root,
            publish.document(publish.artifact(files=files, engines=["Toy"])),
            {"net.bin": content, "block_factory.py": code},
        )
    zoo = ModelZoo([], config=False, plugins=[])
    for trusted in roots:
        for root in roots:
            Path(MARKER).unlink(missing_ok=True)
            sys.modules.pop(f"_zoo_carried_{sha256(code)}", None)
            if root == trusted:
                zoo.load_model("net", model_urls=[root], trust_code=trusted.as_uri())
                assert Path(MARKER).exists()
                continue
            with pytest.raises(UntrustedCodeError):
                zoo.load_model("net", model_urls=[root], trust_code=trusted.as_uri())
            assert not Path(MARKER).exists()


def toy_code() -> bytes:
    return b"""
from dataclasses import dataclass
from tests.core.toy_engine import Scale
from zoo_core import BlockFactory

@dataclass(frozen=True, kw_only=True)
class Carried(BlockFactory):
    def new_block(self, model, model_path, arguments):
        return Scale(1)
"""


@pytest.mark.usefixtures("toy")
def test_trust_in_an_address_covers_no_bytes_that_it_does_not_promise(tmp_path: Path) -> None:
    from tests import repositories as publish

    content = stored({"weight": [1.0]})
    files = {"parameters": publish.item("net.bin", content), "code": publish.item("block_factory.py", toy_code())}
    document = publish.document(publish.artifact(files=files, engines=["Toy"]))
    publish.publish(tmp_path / "zoo", document, {"net.bin": content, "block_factory.py": marking("")})
    with pytest.raises(IntegrityError):
        ModelZoo([tmp_path / "zoo"], config=False, plugins=[]).load_model("net", trust_code=(tmp_path / "zoo").as_uri())
    assert not Path(MARKER).exists()
