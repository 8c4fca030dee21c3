"""What a load starts from: files of an artifact, of a folder, of an archive, or one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import parameter_files as make
from tests.records import parameters, record
from tests.repositories import sha256
from zoo_core import InputError, ParameterError, PluginError
from zoo_core.engines import Engines
from zoo_core.entry_points import InstalledEntryPoints
from zoo_core.how import How
from zoo_core.material import Material, engines_of_file, golden_file, material_of, material_of_path, model_files
from zoo_core.parameters import read_parameters

CODE = b"x = 1\n"


def written(folder: Path, **files: bytes) -> dict[str, Path]:
    """Files by their names, ``__`` for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, content in files.items():
        path = folder / name.replace("__", ".").replace("_S", "-s")
        path.write_bytes(content)
        found[path.name] = path
    return found


# one file ------------------------------------------------------------------------------------------------------------


def test_a_parameter_file_is_itself(tmp_path: Path) -> None:
    path = written(tmp_path, flowers__safetensors=make.SAFETENSORS)["flowers.safetensors"]
    found = material_of_path(path, How())
    assert (found.name, found.folder, found.record, found.source, found.code) == ("flowers", tmp_path, None, None, None)
    assert found.parameters is not None
    assert (list(found.parameters), dict(found.header)) == (["w", "n", "h"], {"zoo.format": "1"})


def test_its_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, net__safetensors=make.SAFETENSORS)
    assert material_of_path(Path("net.safetensors"), How()).folder == tmp_path


def test_content_has_no_folder_and_no_name_of_its_own() -> None:
    found = material_of_path(make.SAFETENSORS, How())
    assert (found.name, found.folder) == ("model", None)


def test_code_that_lies_beside_a_file_that_is_named_is_not_its(tmp_path: Path) -> None:
    written(tmp_path, block_factory__py=CODE, net__safetensors=make.SAFETENSORS)
    assert material_of_path(tmp_path / "net.safetensors", How()).code is None


@pytest.mark.parametrize("name", ["net-0000.params", "net.params"])
def test_parameters_of_mxnet_bring_the_symbol_that_lies_beside_them(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(make.PARAMS)
    (tmp_path / "net-symbol.json").write_bytes(make.SYMBOL)
    found = material_of_path(tmp_path / name, How()).parameters
    assert found is not None
    assert (found.format, list(found)) == ("mxnet-symbol", ["_extra_state", "w", "m"])


@pytest.mark.parametrize("how", [How(block=object()), How(block_factory="mlp"), How(arguments={"blockFactory": "mlp"})])
def test_with_a_block_or_a_factory_the_parameters_are_alone(how: How, tmp_path: Path) -> None:
    (tmp_path / "net-0000.params").write_bytes(make.PARAMS)
    (tmp_path / "net-symbol.json").write_bytes(make.SYMBOL)
    found = material_of_path(tmp_path / "net-0000.params", how).parameters
    assert found is not None
    assert list(found) == ["w", "m"]


def test_a_sharded_file_is_named_by_its_index(tmp_path: Path) -> None:
    written(tmp_path, a__safetensors=make.SAFETENSORS)
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys("wnh", "a.safetensors")}))
    found = material_of_path(index, How())
    assert found.parameters is not None
    assert (found.name, list(found.parameters)) == ("net", ["w", "n", "h"])


def test_golden_tensors_lie_beside_a_file_without_room_for_them(tmp_path: Path) -> None:
    written(tmp_path, golden__safetensors=make.SAFETENSORS, net__params=make.PARAMS, other__safetensors=make.SAFETENSORS)
    beside = material_of_path(tmp_path / "net.params", How())
    assert beside.golden is not None
    assert list(golden_file(beside) or ()) == ["w", "n", "h"]
    inside = material_of_path(tmp_path / "other.safetensors", How())
    assert (inside.golden, golden_file(inside)) == (None, inside.parameters)


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        material_of_path(tmp_path / "gone.safetensors", How())


# folders and archives ------------------------------------------------------------------------------------------------

FILES = {
    "net.params": make.PARAMS,
    "golden.safetensors": make.SAFETENSORS,
    "block_factory.py": CODE,
    "README.md": b"A net.",
}


@pytest.fixture(params=["folder", "zip", "zip of a folder", "tar.gz", "bytes of a zip"])
def bundled(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path | bytes]:
    """Files, packed in each way."""

    def pack(files: dict[str, bytes]) -> Path | bytes:
        place = tmp_path / "packed"
        match request.param:
            case "folder":
                place.mkdir()
                for name, content in files.items():
                    (place / name).write_bytes(content)
            case "zip":
                place.write_bytes(archives.zipped(files))
            case "zip of a folder":
                place.write_bytes(archives.zipped({f"net/{name}": content for name, content in files.items()}))
            case "tar.gz":
                place.write_bytes(archives.tarred(files, mode="w:gz"))
            case _:
                return archives.zipped(files)
        return place

    return pack


Bundled = Callable[[dict[str, bytes]], Any]


def test_a_bundle_has_one_parameter_file_its_golden_tensors_and_its_code(bundled: Bundled) -> None:
    found = material_of_path(bundled(FILES), How())
    assert found.parameters is not None
    assert found.code is not None
    assert (found.name, list(found.parameters)) == ("net", ["w", "m"])
    assert (found.code.content, found.code.sha256) == (CODE, sha256(CODE))
    assert list(golden_file(found) or ()) == ["w", "n", "h"]


def test_a_symbol_in_a_bundle_goes_with_its_parameters(bundled: Bundled) -> None:
    files = {"net-0000.params": make.PARAMS, "net-symbol.json": make.SYMBOL}
    found = material_of_path(bundled(files), How()).parameters
    assert found is not None
    assert (found.format, list(found)) == ("mxnet-symbol", ["_extra_state", "w", "m"])


def test_a_symbol_alone_in_a_bundle_is_the_network(bundled: Bundled) -> None:
    found = material_of_path(bundled({"net-symbol.json": make.SYMBOL}), How())
    assert found.parameters is not None
    assert (found.name, list(found.parameters)) == ("net", ["_extra_state"])


def test_an_index_in_a_bundle_stands_for_its_parts(bundled: Bundled) -> None:
    index = json.dumps({"weight_map": dict.fromkeys("wnh", "a.safetensors")}).encode()
    found = material_of_path(bundled({"net.safetensors.index.json": index, "a.safetensors": make.SAFETENSORS}), How())
    assert found.parameters is not None
    assert (found.name, list(found.parameters)) == ("net", ["w", "n", "h"])


def test_a_part_that_the_bundle_lacks_is_an_error(bundled: Bundled) -> None:
    index = json.dumps({"weight_map": {"w": "gone.safetensors"}}).encode()
    with pytest.raises(ParameterError, match=r"has no file gone\.safetensors, which its index names"):
        material_of_path(bundled({"net.safetensors.index.json": index}), How())


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "no parameter file"),
        (["readme.txt", "golden.safetensors", "block_factory.py"], "no parameter file"),
        (["a.safetensors", "b.pth"], r"a\.safetensors, b\.pth"),
        (["a.safetensors.index.json", "b.safetensors.index.json"], r"a\.safetensors\.index\.json, b\.safetensors\.index\.json"),
        (["a-symbol.json", "b-symbol.json"], r"a-symbol\.json, b-symbol\.json"),
    ],
)
def test_what_holds_no_or_several_parameter_files_is_an_error(bundled: Bundled, names: list[str], found: str) -> None:
    with pytest.raises(InputError, match=f"holds {found}; name one file"):
        material_of_path(bundled({"x.txt": b"", **dict.fromkeys(names, make.SAFETENSORS)}), How())


def test_too_much_code_is_an_error(bundled: Bundled) -> None:
    with pytest.raises(PluginError, match="carried code has at most"):
        material_of_path(bundled({"net.safetensors": make.SAFETENSORS, "block_factory.py": b"#" * (2**20 + 1)}), How())


# artifacts -----------------------------------------------------------------------------------------------------------


def names(found: Any) -> list[str]:
    return [file.name for file in found]


def item(name: str, key: str = "", **fields: Any) -> Any:
    return parameters(key=key or name, name=name, uri=name, **fields)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], []),
        ([item("synset.txt")], []),
        ([item("a.bin", "parameters")], ["a.bin"]),
        ([item("a.bin", "model")], ["a.bin"]),
        ([item("b.safetensors"), item("a.bin", "parameters")], ["a.bin"]),
        ([item("b.pth")], ["b.pth"]),
        ([item("golden.safetensors", "golden"), item("b.pth")], ["b.pth"]),
        ([item("a.params", "parameters"), item("b.json", "symbol")], ["b.json", "a.params"]),
        ([item("a.params", "parameters"), item("a-symbol.json", "net")], ["a-symbol.json", "a.params"]),
        ([item("a-symbol.json", "parameters")], ["a-symbol.json"]),
        ([item("extra.pt2"), item("a.safetensors", "parameters")], ["a.safetensors"]),
        (
            [item("a-1.safetensors"), item("a.safetensors.index.json"), item("golden.safetensors", "golden")],
            ["a.safetensors.index.json", "a-1.safetensors"],
        ),
    ],
)
def test_the_files_that_a_load_reads(files: list[Any], expected: list[str]) -> None:
    assert names(model_files(record(files=tuple(files)), How())) == expected


@pytest.mark.parametrize("named", [{"arguments": {"blockFactory": "mlp"}}, {}], ids=["by the document", "by the call"])
def test_where_a_factory_is_named_no_symbol_is_read(named: dict[str, Any], tmp_path: Path) -> None:
    files = (item("a-symbol.json", "symbol"), item("a.params", "parameters"))
    found = record(files=files, **named)
    how = How() if named else How(block_factory="mlp")
    assert names(model_files(found, how)) == ["a.params"]
    places = {"symbol": tmp_path / "gone", "parameters": written(tmp_path, a__params=make.PARAMS)["a.params"]}
    assert list(material_of(found, places, how).parameters or ()) == ["w", "m"]


def test_an_artifacts_material_is_read_from_its_files(tmp_path: Path) -> None:
    files = {
        "symbol": tmp_path / "s.json",
        "parameters": tmp_path / "p.bin",
        "code": tmp_path / "c.py",
        "golden": tmp_path / "g",
    }
    for key, content in (("symbol", make.SYMBOL), ("parameters", make.PARAMS), ("code", CODE), ("golden", make.SAFETENSORS)):
        files[key].write_bytes(content)
    found = material_of(record(files=tuple(item(f"{key}.bin", key) for key in files), name="n"), files, How())
    assert found.parameters is not None
    assert found.code is not None
    assert (found.name, list(found.parameters), found.folder) == ("n", ["_extra_state", "w", "m"], tmp_path)
    assert found.code.content == CODE
    assert list(golden_file(found) or ()) == ["w", "n", "h"]
    assert found.arguments["application"] == "cv/image_classification"


def test_what_lies_beside_an_artifacts_files_and_is_not_listed_is_not_read(tmp_path: Path) -> None:
    """Nobody promised those bytes."""
    (tmp_path / "a-symbol.json").write_bytes(make.SYMBOL)
    (tmp_path / "a-0000.params").write_bytes(make.PARAMS)
    found = material_of(record(files=(item("a-symbol.json", "symbol"),)), {"symbol": tmp_path / "a-symbol.json"}, How())
    assert list(found.parameters or ()) == ["_extra_state"]
    index = tmp_path / "a.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"_extra_state": "b.safetensors"}}))
    (tmp_path / "b.safetensors").write_bytes(make.with_program(make.PT2))
    with pytest.raises(ParameterError, match=r"lists no file b\.safetensors, which its index names"):
        material_of(record(files=(item(index.name, "parameters"),)), {"parameters": index}, How())


def test_the_parts_of_an_artifacts_index_are_files_of_its_own(tmp_path: Path) -> None:
    index = tmp_path / "i.json"
    index.write_text(json.dumps({"weight_map": {"w": "b.safetensors"}}))
    (tmp_path / "blob").write_bytes(make.safetensors({"w": make.entry("U8", [1], 0, 1)}, b"x"))
    files = (item("a.safetensors.index.json", "parameters"), item("b.safetensors", "part"))
    found = material_of(record(files=files), {"parameters": index, "part": tmp_path / "blob"}, How())
    assert list(found.parameters or ()) == ["w"]


def test_while_a_program_is_not_here_nothing_is_read_of_its_parameters(tmp_path: Path) -> None:
    files = (item("a-symbol.json", "symbol"), item("a.params", "parameters"))
    place = written(tmp_path, a__params=make.PARAMS)["a.params"]
    assert material_of(record(files=files), {"parameters": place}, How()).parameters is None


def test_an_artifact_may_have_no_files() -> None:
    found = material_of(record(), {}, How())
    assert (found.parameters, found.folder, dict(found.header)) == (None, None, {})


# what a header says --------------------------------------------------------------------------------------------------


def saying(key: str, text: str) -> Material:
    content = make.safetensors({"__metadata__": {key: text}, "w": make.entry("U8", [1], 0, 1)}, b"x")
    return Material(name="net", parameters=read_parameters(content))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is no JSON"), ("[" * 100_000, "is no JSON"), ("3", "is int, expected dict"), ("null", "NoneType")],
)
def test_an_entry_that_is_not_of_its_type_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=rf"net: header entry zoo\.factory .*{reason}"):
        saying("zoo.factory", text).header_value("zoo.factory", dict)


ENGINES = Engines(InstalledEntryPoints())


def test_the_engine_that_was_asked_for_is_the_only_one() -> None:
    assert list(engines_of_file(saying("zoo.engines", '["MXNet"]'), "PyTorch", ENGINES, How())) == ["PyTorch"]


def test_engines_come_from_the_header() -> None:
    assert list(engines_of_file(saying("zoo.engines", '["MXNet", "PyTorch"]'), None, ENGINES, How())) == ["MXNet", "PyTorch"]


def test_where_the_header_names_no_engines_its_factory_tells() -> None:
    assert list(engines_of_file(saying("zoo.factory", '{"factory": "net", "engine": "MXNet"}'), None, ENGINES, How())) == [
        "MXNet"
    ]
    assert list(engines_of_file(saying("zoo.factory", '{"factory": "net"}'), None, ENGINES, How())) == list(ENGINES.names)
    with pytest.raises(ParameterError, match=r"header entry zoo\.factory"):
        list(engines_of_file(saying("zoo.factory", '{"engine": "x; rm -rf ~"}'), None, ENGINES, How()))


@pytest.mark.parametrize(
    ("kind", "engine"),
    [("torch.aten", "PyTorch"), ("torch.export", "PyTorch"), ("torchscript", "PyTorch"), ("mxnet.symbol", "MXNet")],
)
def test_a_program_runs_in_one_engine_whatever_the_header_says(kind: str, engine: str) -> None:
    content = make.with_program(make.PROGRAMS[kind], header={"zoo.engines": '["Other"]'})
    material = Material(name="net", parameters=read_parameters(content))
    assert list(engines_of_file(material, None, ENGINES, How())) == [engine]


@pytest.mark.parametrize(
    "text",
    ["3", '"PyTorch"', "{}", "[3]", "[null]", "[[]]", '[""]', '["a b"]', '["x; rm -rf ~"]', '["../x"]', '["\\u001b[2J"]'],
)
def test_what_is_no_engines_name_is_an_error_before_a_package_is_made_of_it(text: str) -> None:
    with pytest.raises(ParameterError, match=r"header entry zoo\.engines"):
        list(engines_of_file(saying("zoo.engines", text), None, ENGINES, How()))
