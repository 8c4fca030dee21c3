"""What a document describes: the versions of a model, their files and licences, at one location."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import msgspec

from zoo_core.frozen import FrozenDict

#: The key of the file that holds the parameters, in the order in which keys are looked for.
PARAMETER_KEYS = ("parameters", "model")
#: The key of the only Python that an artifact can carry.
CODE_KEY = "code"


class MRL(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A model resource locator: where a document lies below the root of a repository.

    Attributes:
        type: ``model`` or ``dataset``.
        application: A path such as ``cv/image_classification``; "" where the document names none.
        group_id: Who publishes. Anyone can write it: it names and never grants trust.
        artifact_id: The model.
    """

    type: str = "model"
    application: str = ""
    group_id: str
    artifact_id: str

    def __str__(self) -> str:
        """A text that is a MODEL on the command line too; the ids are percent-encoded.

        >>> str(MRL(application="cv", group_id="com.example", artifact_id="a/b"))
        'model/cv/com.example/a%2Fb'
        """
        application = [quote(part, safe="") for part in self.application.split("/") if part]
        return "/".join([self.type, *application, quote(self.group_id, safe=""), quote(self.artifact_id, safe="")])

    @classmethod
    def parse(cls, text: str) -> MRL | None:
        """Read what `str` writes; None where the text is no MRL."""
        kind, *rest = text.split("/")
        if kind not in ("model", "dataset") or len(rest) < 2 or not all(rest):
            return None
        *application, group_id, artifact_id = (unquote(part) for part in rest)
        return cls(type=kind, application="/".join(application), group_id=group_id, artifact_id=artifact_id)


class ArtifactFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an artifact, as its document describes it.

    Attributes:
        key: The label: ``parameters``, ``model``, ``symbol``, ``synset``, ``golden``, ``code``, ...
        name: The name to store it under; "" unpacks an archive straight into the artifact's folder.
        uri: As written in the document: absolute, or relative to the document's folder.
        url: Resolved: ``https://...``, ``file://...`` or ``package://<import name>/<path>``.
        size: In bytes, as transferred; for progress and bounds, never to decide. None: unknown.
        sha256: Of the bytes as transferred, lower-case hex; None: not given.
        sha1: DJL's digest, used where `sha256` is missing.
        sha256_prefix: A weak digest: the first hex digits of the sha256.
        mirrors: Further addresses of the same bytes.
        type: ``file`` or ``dir``; an archive becomes a ``dir``.
    """

    key: str
    name: str
    uri: str
    url: str
    size: int | None = None
    sha256: str | None = None
    sha1: str | None = None
    sha256_prefix: str | None = None
    mirrors: tuple[str, ...] = ()
    type: str = "file"

    @property
    def has_full_digest(self) -> bool:
        """Whether the document promises these bytes and no others, so that a program among them may run."""
        return bool(self.sha256 or self.sha1)

    @property
    def title(self) -> str:
        """What messages call it: an archive that is unpacked straight into the artifact's folder has no name of its own."""
        return self.name or unquote(self.uri.partition("?")[0].rpartition("/")[2])

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"key": self.key, "name": self.name, "uri": self.uri, "size": self.size, "sha256": self.sha256}


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one model.

    Attributes:
        version: None where the document gives none.
        name: The model's name inside the version; "" where there is none.
        properties: What filters match, as text.
        arguments: For the factory and the translator.
        options: For the engine, as text.
        engines: The engines it runs in, its author's preference first; empty where nothing tells.
        requires: PEP 508 requirements of distributions that loading needs.
        files: In the document's order.
    """

    version: str | None = None
    name: str = ""
    properties: FrozenDict[str] = msgspec.field(default_factory=FrozenDict)
    arguments: FrozenDict[Any] = msgspec.field(default_factory=FrozenDict)
    options: FrozenDict[str] = msgspec.field(default_factory=FrozenDict)
    engines: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    files: tuple[ArtifactFile, ...] = ()

    @property
    def size(self) -> int | None:
        """Bytes of all files as transferred; None where a file does not tell."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def file(self, *keys: str) -> ArtifactFile | None:
        """The first file that has one of the keys, in the order of the keys."""
        by_key = {file.key: file for file in self.files}
        return next((by_key[key] for key in keys if key in by_key), None)


class License(msgspec.Struct, frozen=True, kw_only=True):
    """A licence as a document names it."""

    id: str
    name: str = ""
    url: str = ""

    def to_dict(self) -> dict[str, str]:
        """What ``--json`` prints."""
        return {"id": self.id, "name": self.name, "url": self.url}
