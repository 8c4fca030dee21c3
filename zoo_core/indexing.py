"""The index of a repository on disk, so that it can be served and listed by one request."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core.artifact import ArtifactFile
from zoo_core.atomic import atomic_file
from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import Metadata
from zoo_core.repository.http import INDEX_NAME
from zoo_core.repository.local import FolderRepository
from zoo_core.store import Digests, digest_file
from zoo_core.wording import printable


@dataclass(frozen=True, kw_only=True)
class WrittenIndex:
    """What was written.

    Attributes:
        filled: ``<document>: <key of the file>`` for each file that got its digest or size.
    """

    path: Path
    documents: int
    filled: tuple[str, ...]


def write_index(folder: Path) -> WrittenIndex:
    """Write ``index.json`` and ``index.json.gz`` of a repository.

    Files of the repository that have no sha256 or size in their document get them; what a document says already is compared.

    Raises:
        RepositoryError: The folder is no repository, or a file that a document names is missing.
        MetadataError: A document is malformed, or a digest in it is not that of the file.
    """
    repository = FolderRepository(folder)
    paths = repository.document_paths()
    if not paths:
        raise RepositoryError(repository.without_documents(), str(folder))
    filled: list[str] = []
    with _both(repository.root / INDEX_NAME) as write:
        write('{"indexVersion":1,"documents":[')
        for number, path in enumerate(paths):
            relative = path.relative_to(repository.root).as_posix()
            filled += [f"{relative}: {key}" for key in _fill_in(path, relative, repository)]
            content = path.read_bytes()
            entry = {"path": relative, "sha256": hashlib.sha256(content).hexdigest(), "metadata": json.loads(content)}
            # One after the other: together they may be more than the memory holds.
            write(("," if number else "") + json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
        write("]}")
    return WrittenIndex(path=repository.root / INDEX_NAME, documents=len(paths), filled=tuple(filled))


@contextmanager
def _both(path: Path) -> Iterator[Callable[[str], None]]:
    """What writes text into a file and a compressed one beside it; both appear at the end, if there was no error."""
    packed = path.with_name(f"{path.name}.gz")
    # No name and time of writing inside: equal content gives equal bytes.
    with atomic_file(packed) as outer, atomic_file(path) as plain, gzip.GzipFile("", "wb", fileobj=outer, mtime=0) as inner:

        def write(text: str) -> None:
            content = text.encode()
            plain.write(content)
            inner.write(content)

        yield write


def _fill_in(path: Path, relative: str, repository: FolderRepository) -> list[str]:
    """Complete a document and give the keys of the files that were completed."""
    content = path.read_bytes()
    metadata = Metadata.from_json(content, path.as_uri(), path=relative)
    document: dict[str, Any] = json.loads(content)
    filled = []
    for number, artifact in enumerate(metadata.artifacts):
        for file in artifact.files:
            local = repository.local_path(file)
            if local is None:
                continue
            field = f"$.artifacts[{number}].files.{file.key}"
            _check_there(local, file, path, field)
            found = digest_file(local)
            _check_digests(file, found, path, field, local)
            item = document["artifacts"][number]["files"][file.key]
            missing = {"sha256": found.sha256, "size": local.stat().st_size}
            missing = {name: value for name, value in missing.items() if item.get(name) is None}
            item.update(missing)
            filled += [file.key] if missing else []
    if filled:
        with atomic_file(path) as stream:
            stream.write((json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return filled


def _check_there(local: Path, file: ArtifactFile, path: Path, field: str) -> None:
    if not local.is_file():
        raise RepositoryError(
            f"{path}: {field}.uri: {printable(file.uri)} names {local}, and there is no such file: put it there, or give the "
            "whole address (https://...) of where it is",
            str(path),
        )


def _check_digests(file: ArtifactFile, found: Digests, path: Path, field: str, local: Path) -> None:
    """Compare each digest that a document gives, so that a damaged file never gets a full digest of its own."""
    digests = (
        ("sha256", file.sha256, found.sha256),
        ("sha1Hash", file.sha1, found.sha1),
        ("sha256Prefix", file.sha256_prefix, found.sha256),
    )
    for name, given, actual in digests:
        if given and not actual.startswith(given):
            raise MetadataError(
                f"{path}: {field}.{name}: {given} is not that of {local}: {actual}", str(path), f"{field}.{name}"
            )
