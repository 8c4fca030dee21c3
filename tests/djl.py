"""Documents of the shapes that DJL's repository has, all invented, and a server's pages for any documents of that format."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from tests import archives as pack
from tests import repositories as make

if TYPE_CHECKING:
    from tests.web import Site

HOST = "https://models.example.org"


def _document(
    kind: str, application: str, group: str, artifact: str, *artifacts: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    licenses = {"license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}}
    return {
        "metadataVersion": "0.2", "resourceType": kind, "application": application, "groupId": group, "artifactId": artifact,
        "name": artifact.capitalize(), "description": f"{artifact} invented", "website": "https://models.example.org/about",
        "licenses": licenses, "artifacts": list(artifacts), **fields,
    }  # fmt: skip


def _artifact(version: str, files: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"version": version, "snapshot": False, "files": files, **fields}


def _file(uri: str, size: Any = 10, **fields: Any) -> dict[str, Any]:
    return {"uri": uri, "sha1Hash": "0" * 40, "size": size, **fields}


_IMAGES = "model/cv/image_classification/org/example"

#: Folder below the root -> the document in it.
DOCUMENTS: dict[str, dict[str, Any]] = {
    f"{_IMAGES}/torch/tinynet": _document(
        "model", "cv/image_classification", "org.example.torch", "tinynet",
        _artifact(
            "0.0.1", {"synset": _file(f"{HOST}/{_IMAGES}/torch/synset.txt"), "model": _file("0.0.1/traced_tinynet8.pt.gz")},
            name="traced_tinynet8", properties={"layers": "8", "dataset": "shapes"}, options={"mapLocation": "true"},
            arguments={"width": 32, "height": 32, "applySoftmax": True},
        ),
        _artifact(
            "0.0.1", {"model": _file("0.0.1/tinynet16.tar.gz", name="")}, name="tinynet16",
            properties={"layers": "16", "dataset": "shapes"},
        ),
    ),
    f"{_IMAGES}/mxnet/tinynet": _document(
        "model", "cv/image_classification", "org.example.mxnet", "tinynet",
        _artifact(
            "0.0.1",
            {
                "synset": _file("../synset.txt"), "symbol": _file("0.0.1/tinynet-symbol.json"),
                "parameters": _file("0.0.1/tinynet-0000.params.gz"),
            },
            name="tinynet8", properties={"layers": "8", "flavor": "v1"}, arguments={"resize": 256, "centerCrop": True},
        ),
        _artifact(
            "0.0.1", {"symbol": _file("0.0.1/tinynet-symbol.json", name="tinynet16-symbol.json")}, name="tinynet16",
            properties={"layers": "16", "flavor": "v1"},
        ),
    ),
    # The folder says other ids, and the application has another spelling in it.
    "model/cv/image-drawing/org/example/torch/biggy-deep": _document(
        "model", "cv/image_generation", "org.example.torch", "biggy",
        _artifact("0.0.1", {"model": _file("0.0.1/biggy.pt.gz")}, name="biggy", properties={"size": 128, "deep": True}),
        metadataVersion="0.1",
    ),
    "model/cv/object_detection/org/example/torch/seer5s": _document(
        "model", "cv/object_detection", "org.example.torch", "seer5",
        _artifact("0.0.1", {"model": _file("0.0.1/seer5s.zip", name="")}, arguments={"threshold": 0.4}),
    ),
    "model/nlp/sentiment_analysis/org/example/torch/Mood/Large": _document(
        "model", "nlp/sentiment_analysis", "org.example.torch", "Mood/Large",
        _artifact("1.0-SNAPSHOT", {"model": _file("mood.zip", name="", type="dir")}, name="mood"),
        _artifact(
            "0.9", {"vocab": _file("mood/0.9/vocab.txt.gz"), "model": _file("mood/0.9/mood.pt.gz")}, name="mood",
            properties={"backbone": "small"},
        ),
        licenses=None,
    ),
    "model/timeseries/forecasting/org/example/mxnet/tides": _document(
        "model", "timeseries/forecasting", "org.example.mxnet", "tides",
        _artifact("0.0.1", {"model": _file("0.0.1/tides.zip", name="")}, name="north", properties={"dataset": "north"}),
        _artifact("0.0.1", {"model": _file("0.0.1/tides-south.mar")}, name="south", properties={"dataset": "south"}),
    ),
    f"{_IMAGES}/zoo/perceptron": _document(
        "model", "cv/image_classification", "org.example.zoo", "perceptron",
        _artifact(
            "0.0.3",
            {
                "synset": _file(f"{HOST}/{_IMAGES}/zoo/digits.txt", name="synset.txt"),
                "parameters": _file(f"/{_IMAGES}/zoo/perceptron/0.0.3/perceptron-0000.params.gz"),
            },
            name="perceptron", properties={"dataset": "digits"},
            arguments={"hidden": [128, 64], "blockFactory": "org.example.basic.PerceptronBlockFactory"},
        ),
    ),
    "model/nlp/text_generation/org/example/onnxruntime/writer": _document(
        "model", "nlp/text_generation", "org.example.onnxruntime", "writer",
        _artifact(
            "0.1", {"model": _file("0.1/writer.onnx.zip", name="writer.onnx", type="file")}, name="writer",
            arguments={"engine": "OnnxRuntime"},
        ),
    ),
    "dataset/tabular/org/example/basicdataset/films": _document(
        "dataset", "tabular", "org.example.basicdataset", "films",
        _artifact("1.0", {"films": _file("1.0/films.zip", "632294")}),
    ),
    "dataset/cv/org/example/basicdataset/photos": _document(
        "dataset", "cv", "org.example.basicdataset", "photos",
        _artifact(
            "1.0",
            {
                "train": _file("http://images.example.org/zips/train.zip", name=""),
                "val": _file("http://images.example.org/zips/val.zip", name=""),
                "annotations": _file("http://images.example.org/annotations/all.tar", name=""),
            },
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Served:
    """What a server has of a repository.

    Attributes:
        documents: Folder below the root -> the document, its digests those of what the server gives.
        files: Address of a file -> what a download of it must become: path inside the file's place -> content.
    """

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)


def served(site: Site, documents: Mapping[str, Mapping[str, Any]], program: bytes = b"") -> Served:
    """Give a server an index of documents and small files for every address in them.

    Nothing in the documents changes but digests, sizes, and the hosts of absolute addresses, which become the server's.

    Args:
        program: What every ``.pt`` is, those in archives too; by default some bytes.
    """
    made = Served()
    for folder, document in documents.items():
        changed: dict[str, Any] = copy.deepcopy(dict(document))
        for artifact in changed["artifacts"]:
            for item in artifact["files"].values():
                _serve(site, made, f"{site.url}{folder}/metadata.json", item, program)
        made.documents[folder] = changed
    index = [{"path": f"{folder}/metadata.json", "metadata": document} for folder, document in made.documents.items()]
    site.pages["/index.json"] = json.dumps({"indexVersion": 1, "documents": index}).encode()
    return made


def _serve(site: Site, made: Served, base: str, item: dict[str, Any], program: bytes) -> None:
    if urlsplit(item["uri"]).scheme:
        item["uri"] = urljoin(site.url, urlsplit(item["uri"]).path)
    address = urljoin(base, item["uri"])
    content, made.files[address] = _content(address, item, program)
    site.pages[quote(urlsplit(address).path)] = content
    item["sha1Hash"] = make.sha1(content)
    # Published sizes are texts at times, and wrong at others.
    item["size"] = str(len(content)) if isinstance(item["size"], str) else max(1, len(content) // 3)


def _content(address: str, item: Mapping[str, Any], program: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The bytes at an address, and what they become."""
    path = urlsplit(address).path
    stem = path.rpartition("/")[2].partition(".")[0]
    tree = {f"{stem}/{stem}.bin": path.encode() * 5, f"{stem}-notes.txt": b"of " + path.encode()}
    if program:
        tree = {f"{stem}/{stem}.pt": program, f"{stem}/synset.txt": b"red\ngreen\nblue\n"}
    lower = path.lower()
    if lower.endswith((".zip", ".mar")):
        return pack.zipped(tree), {"": next(iter(tree.values()))} if item.get("type") == "file" else tree
    if lower.endswith((".tar.gz", ".tgz")):
        return pack.tarred(tree, mode="w:gz"), tree
    if lower.endswith(".tar"):
        return pack.tarred(tree), tree
    if program and lower.endswith(".pt.gz"):
        return gzip.compress(program), {"": program}
    if lower.endswith(".gz"):
        return gzip.compress(path.encode() * 5), {"": path.encode() * 5}
    return path.encode() * 5, {"": path.encode() * 5}
