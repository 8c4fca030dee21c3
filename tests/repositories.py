"""Small repositories made by hand, in the format in which one publishes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS = b"the parameters of a very small network"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def item(uri: str, content: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """A file of an artifact, with the digest and size of its content where that is given."""
    proof = {} if content is None else {"sha256": sha256(content), "size": len(content)}
    return {"uri": uri, **proof, **fields}


def artifact(version: str | None = "1.0", **fields: Any) -> dict[str, Any]:
    """One version, by default with one parameter file."""
    files = {"parameters": item("net.params.bin", WEIGHTS)}
    return {"version": version, "files": files, **fields}


def document(
    *artifacts: dict[str, Any], group_id: str = "com.example", artifact_id: str = "net", **fields: Any
) -> dict[str, Any]:
    """A ``metadata.json``."""
    return {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "cv/image_classification",
        "groupId": group_id,
        "artifactId": artifact_id,
        "name": artifact_id.capitalize(),
        "artifacts": list(artifacts),
        **fields,
    }


def location(content: Mapping[str, Any]) -> str:
    """The folder of a document below the root of its repository, as its ids say."""
    group = content["groupId"].replace(".", "/")
    return "/".join(part for part in (content["resourceType"], content["application"], group, content["artifactId"]) if part)


def publish(
    root: Path, content: Mapping[str, Any], files: Mapping[str, bytes] | None = None, *, folder: str | None = None
) -> Path:
    """Write a document and the files beside it; gives the document's path.

    Args:
        files: Name -> content; by default the parameter file that `artifact` names.
        folder: Where the document lies below the root; by default where its ids say.
    """
    place = root / (folder or location(content))
    place.mkdir(parents=True, exist_ok=True)
    for name, data in ({"net.params.bin": WEIGHTS} if files is None else files).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    path = place / "metadata.json"
    path.write_text(json.dumps(content), "utf-8")
    return path
