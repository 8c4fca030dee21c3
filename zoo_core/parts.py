"""What each file of an artifact becomes, and how they lie together in one folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from zoo_core.artifact import ArtifactFile
from zoo_core.contents import Contents
from zoo_core.folders import Layout
from zoo_core.members import Tree
from zoo_core.metadata import archive_kind
from zoo_core.record import ModelRecord
from zoo_core.unpack import CONTENT, FILES
from zoo_core.wording import printable


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one file of an artifact became on this machine.

    Attributes:
        place: Where it lies, if that is not in the artifact's folder.
        layout: What lies in the artifact's folder of it.
    """

    place: Path | None = None
    layout: Layout = msgspec.field(default_factory=lambda: Layout({}))

    def path(self, file: ArtifactFile, folder: Path | None) -> Path | None:
        """Where it lies, by the artifact's folder if there is one; None for the many files of an archive that have none."""
        if self.place is not None:
            return self.place
        inside = folder / file.name if folder is not None else None
        if inside is not None and inside.exists():
            return inside
        return self.layout.blobs.get(file.name) if file.type == "file" else None


def unpacked_as(file: ArtifactFile) -> str | None:
    """How a file is unpacked, as `unpack` wants it; None where it is stored as it is.

    Source: DJL's rule, ``docs/reference/metadata.md``; a tar file that is said to be one file stays what it is.
    """
    kind = archive_kind(file.uri)
    return kind if file.type == "dir" else {"gzip": "gzip", "zip": "entry"}.get(kind or "")


def unpacked_part(file: ArtifactFile, how: str, contents: Contents) -> Part:
    """What a file became by being unpacked: one file under its name, or many in the folder that it names."""
    if how in FILES:
        return Part(layout=Layout({file.name: contents.blobs[CONTENT]}))
    prefix = f"{file.name}/" if file.name else ""
    # A folder that nothing came into is there all the same.
    folders = contents.folders if contents.blobs or contents.folders or not file.name else ("",)
    inside = tuple(f"{prefix}{folder}".rstrip("/") for folder in folders)
    return Part(layout=Layout({f"{prefix}{path}": blob for path, blob in contents.blobs.items()}, inside))


def joined(record: ModelRecord, parts: Iterable[Part]) -> Layout:
    """What lies in an artifact's folder of all its files; equal files may stand in several archives.

    Raises:
        UnsafeArchiveError: Two archives, or an archive and a file, want different things at one place.
    """
    layouts = [part.layout for part in parts]
    tree, blobs, folders = Tree(f"the files of {printable(record.reference)} together"), dict[str, Path](), set[str]()
    for layout in layouts:
        for name, blob in layout.blobs.items():
            if name not in blobs or blobs[name].name != blob.name:
                blobs[tree.file(name)] = blob
        for folder in layout.folders:
            folders.add(tree.folder(folder))
    parents = {name.rpartition("/")[0] for name in blobs}
    return Layout(blobs, tuple(sorted(folders - parents)))
