"""ModelRecord: one artifact as a search finds it."""

from __future__ import annotations

from typing import Any

import msgspec

from zoo_core.artifact import MRL, Artifact, ArtifactFile, License
from zoo_core.frozen import FrozenDict
from zoo_core.metadata import Metadata
from zoo_core.registered import over
from zoo_core.wording import shown_url


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record comes from, and what that means.

    Attributes:
        repository: The URL of the repository.
        name: What a user calls it: its name in ``zoo.toml``, its distribution, or the URL.
        distribution: The installed distribution that carries it, or "".
        groups: Group ids that the user's own configuration grants it.
        is_named: The call itself names it, so that no other repository's claim counts.
        is_configured: Installed packages and the user's own configuration name it; otherwise it is ad hoc.
        allow_unverified: The user's own configuration allows files without a digest.
        arguments: What the query of its address says for all its models, over what its documents say.
        is_claimed: A lock file names the repository, which has not been asked. Nothing is trusted for that.
    """

    repository: str
    name: str
    distribution: str = ""
    groups: tuple[str, ...] = ()
    is_named: bool = False
    is_configured: bool = False
    allow_unverified: bool = False
    arguments: FrozenDict[Any] = msgspec.field(default_factory=FrozenDict)
    is_claimed: bool = False


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact as a search finds it.

    Attributes:
        metadata: Its document.
        artifact: The version.
        position: Its place in the document.
        source: Its repository.
        cached: All its files are on this machine.
        missing: Packages that a load needs and that are not installed, as PEP 508 requirements.
    """

    metadata: Metadata
    artifact: Artifact
    position: int = 0
    source: Source
    cached: bool = False
    missing: tuple[str, ...] = ()

    @property
    def mrl(self) -> MRL:
        """Where the model is."""
        return self.metadata.mrl

    @property
    def application(self) -> str:
        """Its task, such as ``cv/image_classification``."""
        return self.mrl.application

    @property
    def group_id(self) -> str:
        """Who publishes it."""
        return self.mrl.group_id

    @property
    def artifact_id(self) -> str:
        """The model."""
        return self.mrl.artifact_id

    @property
    def name(self) -> str:
        """The name inside the version."""
        return self.artifact.name

    @property
    def version(self) -> str | None:
        """The version; None where the document gives none."""
        return self.artifact.version

    @property
    def description(self) -> str:
        """What the publisher says of it."""
        return self.metadata.description

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines it runs in, its author's preference first."""
        return self.artifact.engines

    @property
    def properties(self) -> FrozenDict[str]:
        """What filters match."""
        return self.artifact.properties

    @property
    def arguments(self) -> FrozenDict[Any]:
        """For the factory and the translator: the document's, and over them those of the repository's address."""
        if not self.source.arguments:
            return self.artifact.arguments
        return FrozenDict(over(self.artifact.arguments, self.source.arguments))

    @property
    def requires(self) -> tuple[str, ...]:
        """Distributions that a load needs, as PEP 508 requirements."""
        return self.artifact.requires

    @property
    def licenses(self) -> tuple[License, ...]:
        """The licences its document names."""
        return self.metadata.licenses

    @property
    def files(self) -> tuple[ArtifactFile, ...]:
        """Its files, in the document's order."""
        return self.artifact.files

    @property
    def size(self) -> int | None:
        """Bytes of all files as transferred; None where a file does not tell, or nobody has told of the files yet."""
        return None if self.metadata.listed_as else self.artifact.size

    @property
    def repository(self) -> str:
        """The URL of its repository."""
        return self.source.repository

    @property
    def reference(self) -> str:
        """The text that names it on the command line: ``group/artifact@version``."""
        return f"{self.group_id}/{self.artifact_id}" + (f"@{self.version}" if self.version else "")

    def to_dict(self, reason: str | None = None) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "mrl": str(self.mrl),
            "group_id": self.group_id,
            "artifact_id": self.artifact_id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "application": self.application,
            "engines": list(self.engines),
            "properties": dict(self.properties),
            "requires": list(self.requires),
            "licenses": [item.to_dict() for item in self.licenses],
            "files": [file.to_dict() for file in self.files],
            "size": self.size,
            "repository": shown_url(self.repository),
            "cached": self.cached,
            "missing": list(self.missing),
            "reason": reason,
        }
