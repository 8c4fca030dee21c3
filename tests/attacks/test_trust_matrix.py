"""The table of trust: what kind of file, from where, and whether a load takes it; `info` says the same as the load does."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import parameter_files as make
from tests import repositories as publish
from tests.core import toy_engine
from zoo_core import IntegrityError, Model, ModelInfo, ModelZoo, PluginError, UntrustedCodeError

np = pytest.importorskip("numpy")

#: What an engine may always load.
DATA = {
    "tensors": toy_engine.stored(
        {"weight": [1.0]}, {"zoo.factory": '{"factory": "scale", "fields": {"width": 1}}', "zoo.engines": '["Toy"]'}
    ),
    "tensors that call themselves a program": toy_engine.stored(
        {"weight": [1.0]}, {"zoo.factory": '{"factory": "scale"}', "zoo.programs": '{"_extra_state": {"kind": "torch.export"}}'}
    ),
    "torch.aten inside": make.with_program(make.ATEN),
    "torch.aten as a whole": make.ATEN,
}
#: What runs something.
PROGRAMS = {
    **{f"{kind} inside": make.with_program(content) for kind, content in make.PROGRAMS.items() if kind != "torch.aten"},
    "a program that calls itself torch.aten": make.with_program(
        make.PT2, header={"zoo.programs": '{"_extra_state": {"kind": "torch.aten"}}'}
    ),
    "a program under an alias": make.with_program(make.PT2, "weight", {"zoo.aliases": '{"_extra_state": "weight"}'}),
    "floats that are named as a program": make.safetensors({"_extra_state": make.entry("F32", [1], 0, 4)}, bytes(4)),
    "params with a program": make.params([make.array((4,), 3, b"code")], ["arg:_extra_state"]),
    "pth with a program": make.pth(
        make.state_dict({"_extra_state": make.tensor((4,), (1,), 0, make.storage("0", 4, "ByteStorage"))}), {"0": b"code"}
    ),
    "torchscript as a whole": make.TORCHSCRIPT,
    "torch.export as a whole": make.PT2,
    "mxnet.symbol as a whole": make.SYMBOL,
}
CONTENTS = {**DATA, **PROGRAMS}

#: What a place gives: how to load the content of a name, and what info says of it.
Load = Callable[..., Model]
Tell = Callable[[str], ModelInfo]


@pytest.fixture(autouse=True)
def toy(install: Callable[..., Path]) -> None:
    """An engine that takes every program that reaches it."""
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


def verdicts(load: Load, **how: Any) -> dict[str, bool]:
    """Name of a content -> whether a load takes it."""
    found = {}
    for name in CONTENTS:
        try:
            with load(name, **how) as model:
                programs = getattr(model.block, "kinds", {})
                assert ("_extra_state" in programs) is (name not in ("tensors", "tensors that call themselves a program"))
            found[name] = True
        except UntrustedCodeError as error:
            assert "trust_programs=True (--trust-programs)" in str(error)  # noqa: PT017 - half of the table
            found[name] = False
    return found


def told(tell: Tell) -> dict[str, bool]:
    """Name of a content -> whether `info` says that a load takes it."""
    found = {}
    for name in CONTENTS:
        runs = [run for run in tell(name).runs if run["kind"] != "code"]
        assert runs
        assert {run["allow_with"] for run in runs if not run["allowed"]} <= {"--trust-programs"}
        assert {run["allow_with"] for run in runs if run["allowed"]} <= {None}
        found[name] = all(run["allowed"] for run in runs)
    return found


ALL = dict.fromkeys(CONTENTS, True)
DATA_ALONE = {name: name in DATA for name in CONTENTS}


# files that the caller hands over ------------------------------------------------------------------------------------


def packed(way: str, content: bytes, place: Path) -> Any:
    place.mkdir(exist_ok=True)
    path = place / "net.pt"
    path.write_bytes(content)
    match way:
        case "file":
            return path
        case "text":
            return str(path)
        case "folder":
            return place
        case "bytes":
            return content
        case "stream":
            return io.BytesIO(content)
    packing = archives.zipped if way == "zip" else archives.tarred
    archive = place.parent / f"{place.name}.{way}"
    archive.write_bytes(packing({"net.pt": content}))
    return archive


@pytest.mark.parametrize("way", ["file", "text", "folder", "zip", "tar", "bytes", "stream"])
def test_a_file_that_the_caller_hands_over_may_be_a_program(way: str, tmp_path: Path) -> None:
    zoo = ModelZoo([], config=False, plugins=[])

    def given(name: str) -> Any:
        return packed(way, CONTENTS[name], tmp_path / name)

    assert verdicts(lambda name, **how: zoo.load_model(model_path=given(name), engine="Toy", **how)) == ALL
    assert told(lambda name: zoo.info(model_path=given(name), engine="Toy")) == ALL


# artifacts -----------------------------------------------------------------------------------------------------------


def published(root: Path, file: Callable[[str, bytes], dict[str, Any]] = publish.item, **fields: Any) -> Path:
    """A repository with an artifact for each content; the names of the files tell nothing."""
    for name, content in CONTENTS.items():
        files = {"parameters": file("net.bin", content)}
        document = publish.document(publish.artifact(files=files, engines=["Toy"], **fields), artifact_id=name)
        publish.publish(root, document, {"net.bin": content})
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return published(tmp_path / "zoo")


def asking(zoo: ModelZoo, **keywords: Any) -> tuple[Load, Tell]:
    return (
        lambda name, **how: zoo.load_model(f"com.example/{name}", **keywords, **how),
        lambda name: zoo.info(f"com.example/{name}", **keywords),
    )


def own_file(text: str) -> None:
    """The user's own configuration."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "zoo")
    folder.mkdir(parents=True)
    (folder / "zoo.toml").write_text(text)


def entry(root: Path) -> str:
    return f'[[repository]]\nurl = "{root}"\n'


@pytest.mark.parametrize(
    "way", ["installed", "own zoo.toml", "--config", "ZOO_CONFIG", "ZOO_REPOSITORIES", "ModelZoo", "ModelZoo and model_urls"]
)
def test_a_repository_that_is_installed_or_configured_may_hold_programs(
    way: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[..., Path]
) -> None:
    config: Any = None
    keywords: dict[str, Any] = {}
    match way:
        case "installed":
            entry_points = {"zoo_core.repositories": {"acme": "acme_models"}}
            site = install("acme-models", entry_points=entry_points, modules={"acme_models/__init__.py": ""})
            published(site / "acme_models")
        case "own zoo.toml":
            own_file(entry(root))
        case "--config":
            config = tmp_path / "mine.toml"
            config.write_text(entry(root))
        case "ZOO_CONFIG":
            (tmp_path / "mine.toml").write_text(entry(root))
            monkeypatch.setenv("ZOO_CONFIG", str(tmp_path / "mine.toml"))
        case "ZOO_REPOSITORIES":
            monkeypatch.setenv("ZOO_REPOSITORIES", root.as_uri())
        case "ModelZoo and model_urls":
            # Naming what is configured takes no trust away.
            keywords["model_urls"] = [root.as_uri()]
    zoo = ModelZoo([root] if way.startswith("ModelZoo") else None, config=config, plugins=[])
    load, tell = asking(zoo, **keywords)
    assert verdicts(load) == ALL
    assert told(tell) == ALL


def ad_hoc(way: str, root: Path) -> tuple[Load, Tell]:
    zoo, empty = ModelZoo(plugins=[]), ModelZoo([], config=False, plugins=[])
    match way:
        case "./zoo.toml":
            Path("zoo.toml").write_text(entry(root))
            return asking(ModelZoo(plugins=[]))
        case "a name of ./zoo.toml":
            Path("zoo.toml").write_text(entry(root) + 'name = "acme"\n')
            return asking(ModelZoo(plugins=[]), model_urls=["acme"])
        case "a folder":
            return asking(empty, model_urls=[root])
        case "an address":
            return asking(zoo, model_urls=root.as_uri())
        case "an object":
            return asking(empty, model_urls=[empty.open_repository(root)])
        case "an object in another zoo":
            return asking(ModelZoo([empty.open_repository(root)], config=False, plugins=[]))
        case "a zoo made of another's":
            Path("zoo.toml").write_text(entry(root))
            return asking(ModelZoo(ModelZoo(plugins=[]).repositories, config=False, plugins=[]))

    def record(name: str) -> Any:
        (found,) = empty.search(artifact_id=name, model_urls=[root])
        return found

    other = ModelZoo([root], config=False, plugins=[]) if way == "a record in a zoo that has it" else empty
    return (lambda name, **how: other.load_model(record(name), **how), lambda name: other.info(record(name)))


AD_HOC = [
    "./zoo.toml",
    "a name of ./zoo.toml",
    "a folder",
    "an address",
    "an object",
    "an object in another zoo",
    "a zoo made of another's",
    "a record",
    "a record in a zoo that has it",
]


@pytest.mark.parametrize("way", AD_HOC)
def test_a_repository_that_only_the_call_or_its_folder_names_may_hold_data_alone(way: str, root: Path) -> None:
    load, tell = ad_hoc(way, root)
    assert verdicts(load) == DATA_ALONE
    assert told(tell) == DATA_ALONE
    assert verdicts(load, trust_programs=True) == ALL


@pytest.mark.parametrize("how", ["arguments", "options", "properties"])
def test_a_document_that_trusts_itself_is_not_believed(how: str, tmp_path: Path) -> None:
    words = {"trust_programs": "true", "trustPrograms": "true", "trust_code": "*"}
    root = published(tmp_path / "zoo", **{how: words})
    load, _ = asking(ModelZoo([], config=False, plugins=[]), model_urls=[root])
    with pytest.raises(UntrustedCodeError):
        load("torch.export inside")


@pytest.mark.parametrize("word", ["trust_programs=true", "trustPrograms=true", "trust_code=*", "block_factory=scale"])
def test_an_address_adds_no_trust(word: str, root: Path) -> None:
    Path("zoo.toml").write_text(entry(root))
    zoo = ModelZoo(plugins=[])
    for text in (f"zoo://com.example/torch.export inside/1.0?{word}", f"com.example/torch.export inside?{word}"):
        # As a filter it matches nothing; in no case is the program loaded.
        with pytest.raises(Exception, match=r"no model matches|holds a program"):
            zoo.load_model(text)


# archives of artifacts, and addresses of one file ----------------------------------------------------------------------


def archived(root: Path, name: str, file: Callable[[str, bytes], dict[str, Any]] = publish.item, **more: bytes) -> Path:
    """A repository with one artifact, whose archive has the content of a name in a folder; the file's name tells nothing."""
    members = {"net/net.pt": CONTENTS[name], **{f"net/{key.replace('__', '.')}": content for key, content in more.items()}}
    for suffix, content in ((".zip", archives.zipped(members)), (".tar.gz", archives.tarred(members, mode="w:gz"))):
        files = {"model": {**file(f"net{suffix}", content), "name": ""}}
        document = publish.document(publish.artifact(files=files, engines=["Toy"]), artifact_id=f"{name} in {suffix[1:4]}")
        publish.publish(root, document, {f"net{suffix}": content})
    return root


@pytest.mark.parametrize("suffix", ["in zip", "in tar"])
def test_what_is_in_an_archive_is_told_by_its_bytes(suffix: str, tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    for name in CONTENTS:
        archived(root, name)
    load, tell = asking(ModelZoo([], config=False, plugins=[]), model_urls=[root])
    # The archive itself is looked into before it is unpacked, and its folder afterwards.
    for _ in range(2):
        assert told(lambda name: tell(f"{name} {suffix}")) == DATA_ALONE
        assert verdicts(lambda name, **how: load(f"{name} {suffix}", **how)) == DATA_ALONE
    assert verdicts(lambda name, **how: load(f"{name} {suffix}", **how), trust_programs=True) == ALL
    assert verdicts(load_of(root, suffix)) == ALL


def load_of(root: Path, suffix: str) -> Load:
    """From a repository that is configured."""
    load, _ = asking(ModelZoo([root], config=False, plugins=[]))
    return lambda name, **how: load(f"{name} {suffix}", **how)


@pytest.mark.parametrize("file", ["sha1", "prefix"])
def test_a_program_in_an_archive_needs_the_archives_full_digest(file: str, tmp_path: Path) -> None:
    promised = {"sha1": sha1, "prefix": prefix}[file]
    load = load_of(archived(tmp_path / "zoo", "torchscript as a whole", promised), "in zip")
    if file == "sha1":
        load("torchscript as a whole")
        return
    with pytest.raises(UntrustedCodeError, match=r"net\.zip belongs to a program, and its document promises no full digest"):
        load("torchscript as a whole", trust_programs=True)


def test_another_archive_of_the_artifact_needs_one_as_well(tmp_path: Path) -> None:
    """Both are unpacked into one folder, and its program may be of either."""
    one, other = archives.zipped({"synset.txt": b"cat"}), archives.zipped({"net.pt": make.TORCHSCRIPT})
    files = {"model": {**publish.item("a.zip", one), "name": ""}, "more": {**prefix("b.zip", other), "name": ""}}
    document = publish.document(publish.artifact(files=files, engines=["Toy"]))
    publish.publish(tmp_path / "zoo", document, {"a.zip": one, "b.zip": other})
    with pytest.raises(UntrustedCodeError, match=r"b\.zip belongs to a program, and its document promises no full digest"):
        ModelZoo([tmp_path / "zoo"], config=False, plugins=[]).load_model("net")


@pytest.mark.parametrize("way", ["artifact", "address"])
def test_code_in_an_archive_never_runs(way: str, tmp_path: Path) -> None:
    """Not even where its bytes and its repository are trusted: no document promises it."""
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\nfrom tests.core.toy_engine import ScaleFactory\n".encode()
    content = archives.zipped({"net.safetensors": toy_engine.stored({"weight": [1.0]}), "block_factory.py": code})
    root = tmp_path / "zoo"
    files = {"model": {**publish.item("net.zip", content), "name": ""}}
    place = publish.publish(root, publish.document(publish.artifact(files=files, engines=["Toy"])), {"net.zip": content})
    address = f"{place.with_name('net.zip').as_uri()}#sha256={publish.sha256(content)}"
    url = root.as_uri() if way == "artifact" else address
    trust = [f"sha256:{publish.sha256(code)}", url]
    zoo = ModelZoo([url], config=False, plugins=[])
    with pytest.raises(PluginError, match="names no block factory"):
        zoo.load_model("net", trust_code=trust, trust_programs=True, engine="Toy")
    assert not any(run["what"] == "carried code" for run in zoo.info("net").runs)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["torch.export inside", "torchscript as a whole", "mxnet.symbol as a whole"])
@pytest.mark.parametrize("way", ["serving.properties", "metadata.json"])
def test_what_comes_in_an_archive_trusts_nothing_in_it(way: str, name: str, tmp_path: Path) -> None:
    words = {"trust_programs": "true", "trustPrograms": "true", "trust_code": "*", "allow_unverified": "true"}
    document = publish.document(publish.artifact(arguments=words, options=words))
    lines = [f"{key}={value}\noption.{key}={value}" for key, value in words.items()]
    content = "\n".join(lines).encode() if way == "serving.properties" else json.dumps(document).encode()
    root = archived(tmp_path / "zoo", name, **{way.replace(".", "__"): content})
    load, _ = asking(ModelZoo([], config=False, plugins=[]), model_urls=[root])
    with pytest.raises(UntrustedCodeError):
        load(f"{name} in zip")


@pytest.mark.parametrize(
    "named",
    ["blockFactory=os.system", "blockFactory=tests.core.toy_engine:Wrong", "translator=os:system", "translatorFactory=a.B"],
)
def test_a_serving_properties_reaches_registered_names_alone(named: str, tmp_path: Path) -> None:
    root = archived(tmp_path / "zoo", "tensors", serving__properties=named.encode())
    load, _ = asking(ModelZoo([root], config=False, plugins=[]))
    with pytest.raises(PluginError, match=r"registers|no installed package"):
        load("tensors in zip", trust_programs=True)


def addressed(name: str, place: Path, *, is_pinned: bool = True) -> str:
    (place / "net.safetensors").write_bytes(CONTENTS[name])
    digest = f"#sha256={publish.sha256(CONTENTS[name])}" if is_pinned else ""
    return f"{(place / 'net.safetensors').as_uri()}{digest}"


@pytest.mark.parametrize("way", ["MODEL", "model_urls"])
def test_the_address_of_a_file_that_only_the_call_names_may_hold_data_alone(way: str, tmp_path: Path) -> None:
    zoo = ModelZoo([], config=False, plugins=[])

    def load(name: str, **how: Any) -> Model:
        url = addressed(name, tmp_path)
        return (
            zoo.load_model(url, engine="Toy", **how)
            if way == "MODEL"
            else zoo.load_model(model_urls=[url], engine="Toy", **how)
        )

    assert verdicts(load) == DATA_ALONE
    assert told(lambda name: zoo.info(addressed(name, tmp_path), engine="Toy")) == DATA_ALONE
    assert verdicts(load, trust_programs=True) == ALL


def test_the_address_of_a_file_that_is_configured_may_hold_programs(tmp_path: Path) -> None:
    def load(name: str, **how: Any) -> Model:
        return ModelZoo([addressed(name, tmp_path)], config=False, plugins=[]).load_model("net", engine="Toy", **how)

    assert verdicts(load) == ALL


@pytest.mark.filterwarnings("ignore:.*was not verified")
def test_without_a_digest_an_address_holds_data_alone_whatever_is_trusted(tmp_path: Path) -> None:
    zoo, found = ModelZoo([], config=False, plugins=[]), {}
    for name in CONTENTS:
        try:
            zoo.load_model(addressed(name, tmp_path, is_pinned=False), engine="Toy", trust_programs=True)
            found[name] = True
        except UntrustedCodeError as error:
            assert "promises no full digest of it" in str(error)  # noqa: PT017 - half of the table
            found[name] = False
    assert found == DATA_ALONE


# digests -------------------------------------------------------------------------------------------------------------

Item = Callable[[str, bytes], dict[str, Any]]


def sha1(uri: str, content: bytes) -> dict[str, Any]:
    return {"uri": uri, "sha1Hash": publish.sha1(content)}


def prefix(uri: str, content: bytes) -> dict[str, Any]:
    return {"uri": uri, "sha256Prefix": publish.sha256(content)[:16]}


def none(uri: str, content: bytes) -> dict[str, Any]:
    return {"uri": uri}


@pytest.mark.parametrize(("item", "allowed"), [(sha1, True), (prefix, False), (none, False)], ids=["sha1", "prefix", "none"])
@pytest.mark.filterwarnings("ignore:.*was not verified")
def test_a_program_needs_a_full_digest_wherever_it_comes_from(item: Item, allowed: bool, tmp_path: Path) -> None:
    root = published(tmp_path / "zoo", item)
    own_file(entry(root) + "allow_unverified = true\n")
    load, tell = asking(ModelZoo(plugins=[]))
    expected = ALL if allowed else DATA_ALONE
    for how in ({}, {"trust_programs": True}):
        found = {}
        for name in CONTENTS:
            try:
                load(name, **how)
                found[name] = True
            except UntrustedCodeError as error:
                assert "promises no full digest of it" in str(error)  # noqa: PT017 - half of the table
                found[name] = False
        assert found == expected
    for name in PROGRAMS:
        runs = [run for run in tell(name).runs if run["kind"] != "code"]
        assert {(run["allowed"], run["allow_with"]) for run in runs} == {(allowed, None)}


@pytest.mark.filterwarnings("ignore:.*was not verified")
def test_every_file_of_a_program_needs_one(tmp_path: Path) -> None:
    """The parameters beside a symbol may hold programs too."""
    files = {"symbol": publish.item("net-symbol.json", make.SYMBOL), "parameters": none("net.params", make.PARAMS)}
    contents = {"net-symbol.json": make.SYMBOL, "net.params": make.PARAMS}
    publish.publish(tmp_path / "zoo", publish.document(publish.artifact(files=files, engines=["Toy"])), contents)
    own_file(entry(tmp_path / "zoo") + "allow_unverified = true\n")
    with pytest.raises(UntrustedCodeError, match=r"net\.params belongs to a program, and its document promises no full digest"):
        ModelZoo(plugins=[]).load_model("com.example/net")


def test_without_the_users_own_word_what_has_no_digest_is_not_even_read(tmp_path: Path) -> None:
    root = published(tmp_path / "zoo", none)
    with pytest.raises(IntegrityError):
        ModelZoo([root], config=False, plugins=[]).load_model("com.example/tensors")


# names ---------------------------------------------------------------------------------------------------------------


def with_files(root: Path, contents: Iterable[tuple[str, str, bytes]], **fields: Any) -> Path:
    """An artifact of files by key, name and content."""
    files = {key: publish.item(name, content) for key, name, content in contents}
    document = publish.document(publish.artifact(files=files, engines=["Toy"], **fields))
    publish.publish(root, document, {name: content for _, name, content in contents})
    return root


@pytest.mark.parametrize(
    ("files", "fields", "allowed"),
    [
        ([("parameters", "net.pt2", make.PT2)], {}, False),
        ([("parameters", "net-symbol.json", make.SYMBOL)], {}, False),
        ([("symbol", "net-symbol.json", make.SYMBOL), ("parameters", "net.params", make.PARAMS)], {}, False),
        ([("any", "net-symbol.json", make.SYMBOL), ("parameters", "net.params", make.PARAMS)], {}, False),
        ([("symbol", "net.json", make.SYMBOL), ("parameters", "net.params", make.PARAMS)], {}, False),
        # Neither of them is read.
        ([("more", "net.pt2", make.PT2), ("parameters", "net.bin", DATA["tensors"])], {}, True),
        (
            [("symbol", "net-symbol.json", make.SYMBOL), ("parameters", "net.bin", DATA["tensors"])],
            {"arguments": {"blockFactory": "scale"}},
            True,
        ),
        ([("golden", "golden.safetensors", make.with_program(make.PT2)), ("model", "net.bin", DATA["tensors"])], {}, True),
    ],
    ids=["pt2", "symbol", "symbol by key", "symbol by name", "symbol by bytes", "unread pt2", "unread symbol", "golden"],
)
def test_info_and_load_agree_on_what_is_read(
    files: list[tuple[str, str, bytes]], fields: dict[str, Any], allowed: bool, tmp_path: Path
) -> None:
    zoo = ModelZoo([], config=False, plugins=[])
    root = with_files(tmp_path / "zoo", files, **fields)
    runs = [run for run in zoo.info("net", model_urls=[root]).runs if run["kind"] != "code"]
    assert all(run["allowed"] for run in runs) is allowed
    if allowed:
        zoo.load_model("net", model_urls=[root])
        return
    with pytest.raises(UntrustedCodeError):
        zoo.load_model("net", model_urls=[root])


def test_what_shows_by_its_name_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    root = with_files(tmp_path / "zoo", [("parameters", "net.pt2", make.PT2)])
    next(root.rglob("net.pt2")).unlink()
    with pytest.raises(UntrustedCodeError):
        ModelZoo([], config=False, plugins=[]).load_model("net", model_urls=[root])
