"""ModelInfo: what a model or a file is, costs and runs, told without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import parameter_files as make
from tests import repositories as publish
from tests.core import toy_engine
from zoo_core import ModelInfo, ModelZoo

HEADER = {
    "zoo.format": "1",
    "zoo.factory": {"factory": "scale", "engine": "Toy", "fields": {"width": 3}, "requires": ["zoo-toy-engine>=1.4"]},
    "zoo.engines": ["Toy"],
    "zoo.translator": {"name": "toy_numbers", "arguments": {"offset": 0.5}},
    "zoo.requires": ["acme-labels>=2"],
    "zoo.golden": {"rtol": 1e-5, "atol": 1e-6},
}


@pytest.fixture(autouse=True)
def toy(install: Callable[..., Path]) -> None:
    """The engine as an installed plugin."""
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


def stored(header: dict[str, Any] | None = None, **tensors: Any) -> bytes:
    """A safetensors file of bytes, ``__`` for a dot in a name; a header of JSON values or their texts."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (header or {}).items()}
    entries: dict[str, Any] = {"__metadata__": texts} if texts else {}
    data = b""
    for name, content in tensors.items():
        entries[name.replace("__", ".")] = make.entry("U8", [len(content)], len(data), len(data) + len(content))
        data += content
    return make.safetensors(entries, data)


def info(source: Any, **keywords: Any) -> ModelInfo:
    return ModelZoo([], config=False, plugins=[]).info(model_path=source, **keywords)


def runs(found: ModelInfo) -> list[tuple[Any, ...]]:
    keys = ("kind", "what", "name", "distribution", "version", "allowed", "allow_with")
    return [tuple(run[key] for key in keys) for run in found.runs]


# files ---------------------------------------------------------------------------------------------------------------


def test_a_file_is_described_from_its_header_and_its_tensors(tmp_path: Path) -> None:
    golden = {"zoo__golden__input__x": b"1", "zoo__golden__output__y": b"2"}
    content = stored(HEADER, weight=b"abc", body__1___extra_state=make.ATEN, **golden)
    (tmp_path / "net.safetensors").write_bytes(content)
    found = info(tmp_path / "net.safetensors", engine="Toy")
    assert (found.record, found.name, found.format, found.files) == (None, "net", "safetensors", ())
    assert json.loads(found.header["zoo.engines"]) == ["Toy"]
    assert found.parameters == {"weight": {"dtype": "uint8", "shape": [3], "bytes": 3}}
    assert found.cost == {"download_bytes": 0, "disk_bytes": len(content), "memory_bytes": 3, "missing": ["acme-labels>=2"]}
    assert runs(found) == [
        ("code", "factory", "toy.scale", "zoo-toy-engine", "1.4.2", True, None),
        ("code", "translator", "toy_numbers", "zoo-toy-engine", "1.4.2", True, None),
        ("data", "parameters", "net", None, None, True, None),
        ("data", "torch.aten", "body.1._extra_state", None, None, True, None),
    ]
    assert found.runs[3]["sha256"] == publish.sha256(make.ATEN)


@pytest.mark.parametrize("kind", ["torch.export", "torchscript", "mxnet.symbol"])
def test_a_program_inside_and_as_a_whole_is_said_with_its_digest(kind: str) -> None:
    content = make.PROGRAMS[kind]
    for source in (make.with_program(content), content):
        found = info(source, engine="Toy")
        assert runs(found) == [
            ("program", "parameters", "model", None, None, True, None),
            ("program", kind, "_extra_state", None, None, True, None),
        ]
        assert found.runs[1]["sha256"] == publish.sha256(content)
        assert found.parameters == {}
        assert found.cost["disk_bytes"] == found.cost["memory_bytes"] == len(source)


def test_what_is_unknown_among_programs_is_said_without_a_digest() -> None:
    found = info(make.safetensors({"_extra_state": make.entry("F32", [1], 0, 4)}, bytes(4)), engine="Toy")
    assert [(run["kind"], run["what"], run["sha256"]) for run in found.runs] == [
        ("program", "parameters", None),
        ("program", "unknown", None),
    ]


def test_a_file_in_parts_is_as_large_as_its_parts(tmp_path: Path) -> None:
    parts = {"a.safetensors": stored(w=b"x"), "b.safetensors": stored(v=bytes(100))}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}))
    found = info(index, engine="Toy")
    assert found.cost["disk_bytes"] == sum(map(len, parts.values()))
    assert found.cost["memory_bytes"] == 101


def test_carried_code_is_said_with_where_to_read_it_and_how_to_trust_it(tmp_path: Path) -> None:
    code = b"print('hello')"
    (tmp_path / "block_factory.py").write_bytes(code)
    (tmp_path / "net.safetensors").write_bytes(stored(w=b"x"))
    trust = f"--trust-code sha256:{publish.sha256(code)}"
    assert runs(info(tmp_path, engine="Toy"))[-1] == (
        "code", "carried code", str(tmp_path / "block_factory.py"), None, None, False, trust,
    )  # fmt: skip
    packed = archives.zipped({"block_factory.py": code, "net.safetensors": stored(w=b"x")})
    assert runs(info(packed, engine="Toy"))[-1][-2:] == (False, trust)


def test_code_that_the_users_configuration_trusts_is_allowed(tmp_path: Path) -> None:
    code = b"print('hello')"
    (tmp_path / "block_factory.py").write_bytes(code)
    (tmp_path / "net.safetensors").write_bytes(stored(w=b"x"))
    (tmp_path / "mine.toml").write_text(f'trust_code = ["sha256:{publish.sha256(code)}"]')
    found = ModelZoo([], config=tmp_path / "mine.toml", plugins=[]).info(model_path=tmp_path, engine="Toy")
    assert runs(found)[-1][-2:] == (True, None)


def test_what_is_not_installed_is_not_allowed() -> None:
    found = info(stored({"zoo.factory": {"factory": "roses"}, "zoo.translator": {"name": "labels"}}, w=b"x"), engine="Toy")
    assert runs(found)[:2] == [
        ("code", "factory", "roses", None, None, False, None),
        ("code", "translator", "labels", None, None, False, None),
    ]


MALFORMED = ["", "{", "[]", "3", "null", '"x"', "[" * 100_000, "{}", '{"factory": 3, "name": 3}', '{"factory": [], "name": {}}']


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:20])
@pytest.mark.parametrize(
    "key", ["zoo.factory", "zoo.translator", "zoo.requires", "zoo.golden", "zoo.signature", "zoo.programs"]
)
def test_a_malformed_entry_is_shown_as_it_stands_and_runs_nothing(key: str, text: str) -> None:
    found = info(stored({key: text}, w=b"x"), engine="Toy")
    assert found.header[key] == text
    assert runs(found) == [("data", "parameters", "model", None, None, True, None)]


@pytest.mark.parametrize(
    "requires",
    [5, None, "acme", {"acme": 1}, [5, None, ["acme"], {}], ["x @ https://evil.example/x.whl", "x; rm -rf ~", "$(id)"]],
)
@pytest.mark.parametrize("key", ["zoo.requires", "zoo.factory"])
def test_what_is_no_requirement_is_never_something_to_install(key: str, requires: Any) -> None:
    value = requires if key == "zoo.requires" else {"factory": "scale", "requires": requires}
    assert info(stored({key: value}, w=b"x"), engine="Toy").cost["missing"] == []


def test_it_all_is_json(tmp_path: Path) -> None:
    document = json.loads(json.dumps(info(stored(HEADER, w=b"x")).to_dict()))
    assert list(document) == ["record", "name", "others", "format", "header", "parameters", "files", "cost", "runs"]
    assert document["record"] is None


def test_no_engine_and_no_numpy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(stored(HEADER, w=b"x", body___extra_state=make.PT2))
    code = "import sys, zoo_core; zoo_core.info(model_path=sys.argv[1]); print(*sys.modules)"
    path = str(tmp_path / "net.safetensors")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "mxnet", "numpy", "PIL", "requests", "rich", "zoo_pytorch", "zoo_mxnet", "tests"}


# artifacts -----------------------------------------------------------------------------------------------------------


def zoo_of(root: Path, files: dict[str, bytes], described: dict[str, Any] | None = None, **fields: Any) -> ModelZoo:
    """A repository with one artifact; files by their names, of which one without a suffix is the parameter file."""
    items = {("parameters" if "." not in name else name): publish.item(name, content) for name, content in files.items()}
    items = {key: {**item, **(described or {}).get(key, {})} for key, item in items.items()}
    publish.publish(root, publish.document(publish.artifact(files=items, engines=["Toy"], **fields)), files)
    return ModelZoo([root], config=False, plugins=[])


def test_a_header_in_an_artifact_that_is_here_is_read(tmp_path: Path) -> None:
    found = zoo_of(tmp_path, {"net": stored(HEADER, w=b"x")}).info("net")
    assert (found.format, found.cost["memory_bytes"]) == ("safetensors", 1)
    assert [run[:3] for run in runs(found)] == [
        ("code", "factory", "toy.scale"),
        ("code", "translator", "toy_numbers"),
        ("data", "parameters", "net"),
    ]


def test_arguments_name_the_factory_before_the_header_does(tmp_path: Path) -> None:
    zoo = zoo_of(tmp_path, {"net": stored(HEADER, w=b"x")}, arguments={"blockFactory": "labelled"})
    assert runs(zoo.info("net"))[0][:3] == ("code", "factory", "toy.labelled")


def test_a_file_that_is_not_here_is_what_its_name_shows(tmp_path: Path) -> None:
    for name, kind in (("net.pt2", "program"), ("net-symbol.json", "program"), ("net.safetensors", "unknown")):
        root = tmp_path / name
        files = {"parameters": publish.item(name, b"x")}
        publish.publish(root, publish.document(publish.artifact(files=files, engines=["Toy"])), {})
        found = ModelZoo([root], config=False, plugins=[]).info("net")
        assert (runs(found)[0][:3], found.format) == ((kind, "parameters", name), "")


def test_a_malformed_file_is_unknown_and_not_allowed(tmp_path: Path) -> None:
    found = zoo_of(tmp_path, {"net": b"hello"}).info("net")
    assert runs(found) == [("unknown", "parameters", "net", None, None, False, None)]


def test_a_symbol_is_named_before_its_parameters(tmp_path: Path) -> None:
    found = zoo_of(tmp_path, {"net": make.PARAMS, "net-symbol.json": make.SYMBOL}).info("net")
    assert [run[:3] for run in runs(found)] == [
        ("program", "parameters", "net-symbol.json"),
        ("program", "mxnet.symbol", "_extra_state"),
    ]


@pytest.mark.parametrize("digest", [{"sha256": publish.sha256(make.PT2)[:16]}, {"sha256": None, "sha1": None}])
def test_a_program_that_nobody_promised_is_allowed_by_nothing(tmp_path: Path, digest: dict[str, Any]) -> None:
    weak = {"parameters": {"sha256": None, **({"sha256Prefix": digest["sha256"]} if digest["sha256"] else {})}}
    found = zoo_of(tmp_path, {"net": make.PT2}, weak).info("net")
    assert runs(found)[0] == ("program", "parameters", "net", None, None, False, None)


@pytest.mark.parametrize("promised", [None, publish.sha256(b"other")], ids=["no digest", "another"])
def test_code_that_is_not_what_was_promised_is_allowed_by_nothing(tmp_path: Path, promised: str | None) -> None:
    files = {"net": stored(w=b"x"), "block_factory.py": b"x = 1"}
    items = {
        "parameters": publish.item("net", files["net"]),
        "code": {"uri": "block_factory.py", "sha256": promised} if promised else {"uri": "block_factory.py"},
    }
    publish.publish(tmp_path, publish.document(publish.artifact(files=items, engines=["Toy"])), files)
    found = ModelZoo([tmp_path], config=False, plugins=[]).info("net")
    assert runs(found)[-1][3:] == (None, None, False, None)
