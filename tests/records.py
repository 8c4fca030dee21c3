"""Model records made by hand, for what looks at records only."""

from __future__ import annotations

from typing import Any

from zoo_core.artifact import MRL, Artifact, ArtifactFile
from zoo_core.frozen import FrozenDict
from zoo_core.metadata import Metadata
from zoo_core.record import ModelRecord, Source

HERE = Source(repository="file:///here", name="here")


def parameters(sha256: str | None = None, **fields: Any) -> ArtifactFile:
    """A parameter file whose digest is one hexadecimal digit, repeated."""
    digest = sha256 * 64 if sha256 else None
    url = "https://models.example/net.bin"
    return ArtifactFile(**{"key": "parameters", "name": "net.bin", "uri": "net.bin", "url": url, "sha256": digest, **fields})


def source(name: str, **fields: Any) -> Source:
    return Source(repository=f"https://{name}.example/", name=name, **fields)


def record(
    artifact_id: str = "net",
    *,
    group_id: str = "com.example",
    application: str = "cv/image_classification",
    type: str = "model",
    source: Source = HERE,
    position: int = 0,
    missing: tuple[str, ...] = (),
    properties: dict[str, str] | None = None,
    arguments: dict[str, Any] | None = None,
    written: dict[str, str] | None = None,
    **fields: Any,
) -> ModelRecord:
    """A record; `fields` are those of its artifact, `written` the ids inside the document where the folder says others."""
    inside = {"application": application, "group_id": group_id, "artifact_id": artifact_id, **(written or {})}
    mrl = MRL(type=type, application=application, group_id=group_id, artifact_id=artifact_id)
    artifact = Artifact(
        **{"version": "1.0", "properties": FrozenDict(properties), "arguments": FrozenDict(arguments), **fields}
    )
    metadata = Metadata(mrl=mrl, url="https://models.example/metadata.json", artifacts=(artifact,), **inside)
    return ModelRecord(metadata=metadata, artifact=artifact, source=source, position=position, missing=missing)
