"""What a load starts from: files of an artifact, of a folder, of an archive, or one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import parameter_files as make
from tests import repositories as publish
from tests.records import parameters, record
from tests.repositories import sha256
from zoo_core import InputError, MetadataError, ParameterError, PluginError
from zoo_core.engines import Engines
from zoo_core.entry_points import InstalledEntryPoints
from zoo_core.how import How
from zoo_core.material import Material, engines_of_file, golden_file, material_of, material_of_path, model_files
from zoo_core.parameters import read_parameters

CODE = b"x = 1\n"
ENGINES = Engines(InstalledEntryPoints())


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
    return parameters(**{"key": key or name, "name": name, "uri": name, **fields})


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


# archives of artifacts -----------------------------------------------------------------------------------------------


def archive(key: str = "model", name: str = "", **fields: Any) -> Any:
    return item(name, key, uri=f"{name or 'net'}.zip", type="dir", **fields)


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(params=["unpacked", "zip", "tar.gz"])
def arrived(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """An artifact's archive on this machine, before and after it is unpacked."""

    def place(files: dict[str, bytes]) -> Path:
        if request.param == "unpacked":
            return tree(tmp_path / "folder", files)
        content = archives.zipped(files) if request.param == "zip" else archives.tarred(files, mode="w:gz")
        (tmp_path / "blob").write_bytes(content)
        return tmp_path / "blob"

    return place


Arrived = Callable[[dict[str, bytes]], Path]


@pytest.mark.parametrize("top", ["", "net/", "a/b/c/"])
@pytest.mark.parametrize("key", ["model", "parameters", "anything"])
def test_the_parameters_are_looked_for_in_an_archive(key: str, top: str, arrived: Arrived) -> None:
    files = {"net.params": make.PARAMS, "golden.safetensors": make.SAFETENSORS, "README.md": b"A net."}
    place = arrived({f"{top}{name}": content for name, content in files.items()})
    found = material_of(record(files=(archive(key),)), {key: place}, How())
    assert found.parameters is not None
    assert (found.name, list(found.parameters)) == ("net", ["w", "m"])
    assert list(golden_file(found) or ()) == ["w", "n", "h"]


def test_a_factory_and_a_translator_get_the_folder_with_the_parameter_file_and_its_files(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"net/net.params": make.PARAMS, "net/synset.txt": b"cat\n", "net/golden.safetensors": b""})
    found = material_of(record(files=(archive(),)), {"model": folder}, How())
    assert found.folder == tmp_path / "net"
    assert dict(found.files) == {
        "model": tmp_path,
        "net": tmp_path / "net" / "net.params",
        "synset": tmp_path / "net" / "synset.txt",
    }


def test_a_file_that_the_document_names_wins_over_one_in_the_archive(tmp_path: Path) -> None:
    folder = tree(tmp_path / "a", {"net.params": make.PARAMS, "synset.txt": b"cat\n"})
    own = tree(tmp_path / "b", {"synset.txt": b"dog\n"}) / "synset.txt"
    found = material_of(record(files=(archive(), item("x.txt", "synset"))), {"model": folder, "synset": own}, How())
    assert found.files["synset"] == own


def test_code_in_an_archive_is_nobodys(arrived: Arrived) -> None:
    """Only a document can promise code."""
    place = arrived({"net.params": make.PARAMS, "block_factory.py": CODE, "code": CODE})
    found = material_of(record(files=(archive(),)), {"model": place}, How())
    assert (found.code, set(found.files) - {"net"}) == (None, {"model"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "b"}, "b"),
        ({"name": "other", "options": {"modelName": "a"}}, "a"),
        ({"name": "mx"}, "mx"),
    ],
)
def test_of_several_parameter_files_the_models_name_chooses(fields: Any, expected: str, arrived: Arrived) -> None:
    marked = {
        name: make.safetensors({"__metadata__": {"is": name}, "w": make.entry("U8", [1], 0, 1)}, b"x")
        for name in ("a", "b", "mx")
    }
    place = arrived(
        {"a.safetensors": marked["a"], "b.pt": marked["b"], "mx-0000.params": marked["mx"], "z.safetensors": marked["a"]}
    )
    assert material_of(record(files=(archive(),), **fields), {"model": place}, How()).header == {"is": expected}


@pytest.mark.parametrize(
    ("files", "holds"),
    [({"a.pt": b"", "b.pt": b""}, r"a\.pt, b\.pt"), ({"a/x": b"", "b/y": b""}, "no parameter file"), ({}, "no parameter file")],
)
def test_an_archive_that_is_to_hold_the_parameters_and_has_none_or_several_is_an_error(
    files: dict[str, bytes], holds: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"holds {holds}; name one file"):
        material_of(record(files=(archive(),)), {"model": tree(tmp_path, {"readme.txt": b"", **files})}, How())


def test_of_several_archives_the_one_with_a_parameter_file_is_the_models(tmp_path: Path) -> None:
    files = {"vocab": tree(tmp_path / "vocab", {"vocab.txt": b"a"}), "net": tree(tmp_path / "net", {"net.params": make.PARAMS})}
    found = material_of(record(files=(archive("vocab", "vocab"), archive("net", "net"))), files, How())
    assert (list(found.parameters or ()), found.folder) == (["w", "m"], tmp_path / "net")
    without = material_of(record(files=(archive("vocab", "vocab"),)), {"vocab": files["vocab"]}, How())
    assert (without.parameters, without.folder) == (None, tmp_path)


def test_a_file_with_a_key_of_its_own_is_not_taken_for_an_archives(tmp_path: Path) -> None:
    """It lies in the same folder, and its digest is another."""
    folder = tree(tmp_path, {"net.params": make.PARAMS, "more.pt": make.TORCHSCRIPT, "block_factory.py": CODE})
    listed = record(files=(archive(), item("more.pt", "extra"), item("block_factory.py", "code")))
    found = material_of(listed, {"model": folder, "extra": folder / "more.pt", "code": folder / "block_factory.py"}, How())
    assert found.parameters is not None
    assert (found.parameters.format, found.code is not None) == ("params", True)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([archive()], [""]),
        ([item("synset.txt"), archive("net", "net"), archive("more", "more")], ["net", "more"]),
        ([archive("more", "more"), archive("parameters", "net")], ["net", "more"]),
        ([archive("more", "more"), item("a.pt", "model")], ["a.pt"]),
        ([archive("more", "more"), item("a.safetensors")], ["a.safetensors"]),
        ([archive("more", "more"), item("a-symbol.json")], ["a-symbol.json"]),
    ],
)
def test_until_an_archive_is_here_any_of_them_may_have_the_parameters(files: list[Any], expected: list[str]) -> None:
    assert names(model_files(record(files=tuple(files)), How())) == expected


def test_a_symbol_in_an_archive_goes_with_its_parameters_unless_the_document_names_a_factory(arrived: Arrived) -> None:
    place = arrived({"net-0000.params": make.PARAMS, "net-symbol.json": make.SYMBOL})
    for arguments, expected in (({}, ["_extra_state", "w", "m"]), ({"blockFactory": "mlp"}, ["w", "m"])):
        found = material_of(record(files=(archive(),), arguments=arguments), {"model": place}, How())
        assert list(found.parameters or ()) == expected


def test_folders_that_go_round_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(InputError, match="holds no parameter file"):
        material_of_path(tmp_path, How())


# what a folder says --------------------------------------------------------------------------------------------------


SERVING = b"engine=Toy\nwidth=1\nnumLayers=18\noption.speed=9\noption.trust_remote_code=true\napplication=cv\n"


def test_a_serving_properties_gives_arguments_and_options(bundled: Bundled) -> None:
    found = material_of_path(bundled({"net.safetensors": make.SAFETENSORS, "serving.properties": SERVING}), How())
    assert found.arguments == {"engine": "Toy", "width": 1, "numLayers": 18, "application": "cv"}
    assert found.options == {"speed": "9", "trust_remote_code": "true"}
    assert list(engines_of_file(found, None, ENGINES, How())) == ["Toy"]


@pytest.mark.parametrize("listed", [False, True])
def test_what_the_document_says_wins_over_it_in_whichever_spelling(listed: bool, tmp_path: Path) -> None:
    folder = tree(tmp_path, {"net.params": make.PARAMS, "serving.properties": SERVING})
    files: Any = (item("net.params", "model"), item("serving.properties", "any")) if listed else (archive(),)
    places = {"model": folder / "net.params", "any": folder / "serving.properties"} if listed else {"model": folder}
    told = record(files=files, arguments={"num_layers": 50}, options={"speed": "1"})
    found = material_of(told, places, How())
    assert found.arguments == {"engine": "Toy", "width": 1, "application": "cv/image_classification", "num_layers": 50}
    assert found.options == {"speed": "1", "trust_remote_code": "true"}


def test_one_that_only_lies_beside_an_artifacts_file_is_not_read(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"net.params": make.PARAMS, "serving.properties": SERVING})
    found = material_of(record(files=(item("net.params", "model"),)), {"model": folder / "net.params"}, How())
    assert "width" not in found.arguments


def test_a_document_inside_that_has_one_artifact_wins_over_it_and_the_nearer_folder_over_the_farther(arrived: Arrived) -> None:
    document = publish.document(publish.artifact(arguments={"width": 2, "height": 2}, options={"speed": "2"}))
    place = arrived(
        {
            "serving.properties": SERVING + b"depth=1",
            "a/metadata.json": json.dumps(document).encode(),
            "a/serving.properties": b"height=3\ndepth=3",
            "a/net.params": make.PARAMS,
        }
    )
    found = material_of(record(files=(archive(),), arguments={}), {"model": place}, How())
    assert {name: found.arguments[name] for name in ("width", "height", "depth", "numLayers")} == {
        "width": 2, "height": 2, "depth": 3, "numLayers": 18,
    }  # fmt: skip
    assert found.options["speed"] == "2"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'{"format": "pt"}',
        json.dumps(publish.document(publish.artifact(arguments={"width": 2}), publish.artifact("2.0"))).encode(),
    ],
    ids=["no JSON", "another format", "two artifacts"],
)
def test_another_file_of_that_name_says_nothing(content: bytes, bundled: Bundled) -> None:
    found = material_of_path(bundled({"net.safetensors": make.SAFETENSORS, "metadata.json": content}), How())
    assert found.arguments == {}


@pytest.mark.parametrize("content", [b"a=" + b"x" * 2**17, b"a=\\u1"])
def test_a_serving_properties_that_is_malformed_is_an_error(content: bytes, bundled: Bundled) -> None:
    with pytest.raises(MetadataError, match=r"serving\.properties"):
        material_of_path(bundled({"net.safetensors": make.SAFETENSORS, "serving.properties": content}), How())


def test_a_whole_repository_of_one_model_in_an_archive_is_gone_through(tmp_path: Path) -> None:
    path = publish.publish(
        tmp_path / "zoo", publish.document(publish.artifact(arguments={"width": 2})), {"net.params": make.PARAMS}
    )
    found = material_of_path(tmp_path / "zoo", How())
    assert (list(found.parameters or ()), found.arguments, found.folder) == (["w", "m"], {"width": 2}, path.parent)


def test_an_engine_of_a_serving_properties_that_is_none_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, {"net.safetensors": make.SAFETENSORS, "serving.properties": b"engine=x; rm -rf ~"})
    with pytest.raises(ParameterError, match="engine 'x; rm -rf ~'"):
        list(engines_of_file(material_of_path(tmp_path, How()), None, ENGINES, How()))


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
