"""zoo sync --repository: bytes come from the repositories that it names, each asked as it always is, until one gives them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.web import Answer, Site, serving
from zoo_core import ModelZoo, RepositoryError

PATH = "model/cv/image_classification/com/example/net/net.params.bin"


def zoo(*repositories: Any, lock: Any = False, **keywords: Any) -> ModelZoo:
    return ModelZoo(list(repositories), config=False, plugins=[], lock=lock, **keywords)


def serve(site: Site, *contents: bytes, name: str = "zoo") -> str:
    """A repository on the web whose models, ``net``, ``net1`` and so on, have one file each."""
    documents = []
    for number, content in enumerate(contents):
        item = make.item("net.params.bin", content)
        document = make.document(make.artifact(files={"parameters": item}), artifact_id=f"net{number or ''}")
        site.pages[f"/{name}/{make.location(document)}/net.params.bin"] = content
        path = f"{make.location(document)}/metadata.json"
        documents.append({"path": path, "sha256": "", "metadata": document})
    site.pages[f"/{name}/index.json"] = json.dumps({"indexVersion": 1, "documents": documents}).encode()
    return f"{site.url}{name}/"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock of ``net``, whose own repository is gone."""
    with serving() as gone:
        zoo(serve(gone, make.WEIGHTS)).lock("net", path=tmp_path / "zoo.lock")
    return tmp_path / "zoo.lock"


def test_a_download_from_a_supplier_that_breaks_is_continued(tmp_path: Path, site: Site) -> None:
    content = os.urandom(3 << 20)
    with serving() as gone:
        zoo(serve(gone, content)).lock("net", path=tmp_path / "zoo.lock")
    url = serve(site, content)
    site.pages[f"/zoo/{PATH}"] = [Answer(content, cut=1 << 20), Answer(content)]
    assert zoo(lock=tmp_path / "zoo.lock").sync(model_urls=[url], progress=False).models == ("com.example/net@1.0",)
    asked = [headers.get("range") for path, headers in site.requests if path == f"/zoo/{PATH}"]
    assert len(asked) >= 2
    assert any(ranges and not ranges.startswith("bytes=0-") for ranges in asked)


def test_mirrors_that_a_supplier_names_are_asked_too(lock: Path, site: Site, tmp_path: Path) -> None:
    item = make.item("net.params.bin", make.WEIGHTS, mirrors=[f"{site.url}near.bin"])
    document = make.document(make.artifact(files={"parameters": item}))
    make.publish(tmp_path / "other", document, {})
    site.pages["/near.bin"] = make.WEIGHTS
    assert zoo(lock=lock).sync(model_urls=[tmp_path / "other"], progress=False).models == ("com.example/net@1.0",)


def test_one_supplier_may_be_named_alone(lock: Path, tmp_path: Path) -> None:
    make.publish(tmp_path / "other", make.document(make.artifact()))
    assert zoo(lock=lock).sync(model_urls=str(tmp_path / "other"), progress=False).models == ("com.example/net@1.0",)


@pytest.mark.parametrize("has_index", [False, True])
def test_a_supplier_that_gives_nothing_ends_nothing(lock: Path, site: Site, tmp_path: Path, has_index: bool) -> None:
    url = serve(site, make.WEIGHTS)
    del site.pages[f"/zoo/{PATH}"]
    if not has_index:
        del site.pages["/zoo/index.json"]
    make.publish(tmp_path / "good", make.document(make.artifact()))
    opened = zoo(lock=lock)
    with pytest.raises(RepositoryError, match="404"):
        opened.sync(model_urls=[url], progress=False)
    assert opened.sync(model_urls=[url, tmp_path / "good"], progress=False).models == ("com.example/net@1.0",)


def test_a_supplier_that_cannot_even_be_opened_ends_nothing_either(lock: Path, tmp_path: Path) -> None:
    make.publish(tmp_path / "good", make.document(make.artifact()))
    suppliers = ["odd://models.example/", tmp_path / "good"]
    assert zoo(lock=lock).sync(model_urls=suppliers, progress=False).models == ("com.example/net@1.0",)
    with pytest.raises(RepositoryError, match="no repository kind 'odd'"):
        zoo(lock=lock, cache=tmp_path / "other").sync(model_urls=suppliers[:1], progress=False)


def test_one_file_that_a_supplier_does_not_give_keeps_no_other_from_coming(tmp_path: Path, site: Site) -> None:
    contents = {f"{name}.bin": name.encode() for name in "abcdef"}
    files = {name: make.item(name, content) for name, content in contents.items()}
    document = make.document(make.artifact(files=files))
    with serving() as gone:
        for name, content in contents.items():
            gone.pages[f"/zoo/{make.location(document)}/{name}"] = content
        entry = {"path": f"{make.location(document)}/metadata.json", "sha256": "", "metadata": document}
        index = json.dumps({"indexVersion": 1, "documents": [entry]}).encode()
        gone.pages["/zoo/index.json"] = index
        zoo(f"{gone.url}zoo/").lock("net", path=tmp_path / "zoo.lock")
    site.pages["/zoo/index.json"] = index
    site.pages |= {f"/zoo/{make.location(document)}/{name}": contents[name] for name in contents if name != "a.bin"}
    make.publish(tmp_path / "rest", make.document(make.artifact(files={"a": files["a.bin"]})), {"a.bin": b"a"})
    models = zoo(lock=tmp_path / "zoo.lock").sync(model_urls=[f"{site.url}zoo/", tmp_path / "rest"], progress=False).models
    assert models == ("com.example/net@1.0",)


def test_each_index_is_read_once(tmp_path: Path, site: Site) -> None:
    contents = [bytes([number]) * 9 for number in range(4)]
    with serving() as gone:
        zoo(serve(gone, *contents)).lock("net", "net1", "net2", "net3", path=tmp_path / "zoo.lock")
    url = serve(site, *contents)
    assert len(zoo(lock=tmp_path / "zoo.lock").sync(model_urls=[url], progress=False).models) == 4
    # The smaller form of an index is looked for first.
    assert [path for path in site.paths if path == "/zoo/index.json"] == ["/zoo/index.json"]


def test_what_is_here_asks_no_supplier(lock: Path, site: Site, tmp_path: Path) -> None:
    make.publish(tmp_path / "good", make.document(make.artifact()))
    opened = zoo(lock=lock)
    opened.sync(model_urls=[tmp_path / "good"], progress=False)
    opened.sync(model_urls=[f"{site.url}nothing/"], progress=False)
    assert site.paths == []


def test_an_object_of_a_store_comes_part_by_part_under_a_lock_too(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    document = make.document(make.artifact())
    place, store = f"/locked/{tmp_path.name}", fsspec.filesystem("memory")
    store.pipe(f"{place}/{make.location(document)}/metadata.json", json.dumps(document).encode())
    store.pipe(f"{place}/{make.location(document)}/net.params.bin", make.WEIGHTS)
    zoo(f"memory:/{place}").lock("net", path=tmp_path / "zoo.lock")
    opened = zoo(lock=tmp_path / "zoo.lock")
    assert opened.repositories[0].has_parts
    assert opened.sync(progress=False).models == ("com.example/net@1.0",)
    assert zoo(lock=tmp_path / "zoo.lock", cache=tmp_path / "other").sync(
        model_urls=[f"memory:/{place}"], progress=False
    ).models == ("com.example/net@1.0",)
