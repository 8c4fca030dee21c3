"""A repository in memory, as if it were far away, and artifacts with files in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from tests import repositories as make
from tests.records import record
from zoo_core import ArtifactFile, Metadata, ModelRecord, Repository

WEIGHTS, LABELS = b"weights" * 100, b"cat\ndog\n"
URL = "https://models.example/zoo/"


class Memory(Repository):
    """A repository whose files are in memory, as if they were far away; it counts how often each is opened."""

    def __init__(self, **files: bytes) -> None:
        self.url, self.contents, self.opened = URL, files, list[str]()

    def documents(self) -> Iterator[Metadata]:
        yield from ()

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        self.opened.append(file.key)
        return io.BytesIO(self.contents[file.key][offset:])

    def fingerprint(self) -> str:
        return ""


def file(key: str = "parameters", content: bytes | None = WEIGHTS, **fields: object) -> ArtifactFile:
    """A file of an artifact, with the full digest of its content unless that is None."""
    digest = {"sha256": make.sha256(content), "size": len(content)} if content is not None else {}
    return ArtifactFile(**{"key": key, "name": f"{key}.bin", "uri": f"{key}.bin", "url": f"{URL}{key}.bin", **digest, **fields})


def model(*files: ArtifactFile, **fields: object) -> ModelRecord:
    return record(files=files or (file(),), **fields)  # type: ignore[arg-type]  # passed on as they are
