"""Repository: a place that lists documents and opens files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from zoo_core.artifact import ArtifactFile
    from zoo_core.metadata import Metadata
    from zoo_core.record import Source
    from zoo_core.sources import Parts
    from zoo_core.transfer import Transfer


class Repository(ABC):
    """A place that lists and serves artifacts: a folder, an HTTP(S) tree, the resources of an installed package.

    Attributes:
        url: What names it, in messages and in records.
    """

    url: str
    #: Asking it takes a network, so that for a while what is known of it is used without asking.
    is_remote: bool = False
    #: It gives any part of its own files by itself, so that several connections bring one; see `parts_of`.
    has_parts: bool = False
    #: What a zoo opened it as. It stays that when it is given to another: ModelZoo([url, *ModelZoo().repositories]).
    _opened_as: Source | None = None

    @abstractmethod
    def documents(self) -> Iterable[Metadata]:
        """All its documents.

        Raises:
            RepositoryError: It cannot be read.
            MetadataError: A document is malformed; raised for that document while the others are still given, see `problems`.
        """

    @abstractmethod
    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """The bytes of a file as transferred, from an offset on.

        Raises:
            RepositoryError: The file cannot be had.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that changes when what `documents` gives changes; cheap to get."""

    def local_path(self, file: ArtifactFile) -> Path | None:
        """Where a file lies on this machine, if this repository has it there; it is read in place and never changed."""
        return None

    def transfer_for(self, file: ArtifactFile) -> Transfer | None:
        """What fetches a file from its addresses on the web, where the cache may do so by itself, without `open`.

        Downloads are continued then, take mirrors, and use several connections. None: only `open` reaches the file.
        """
        return None

    def parts_of(self, file: ArtifactFile) -> Parts:
        """What reads any part of one of its own files, in several threads; asked only where it `has_parts`.

        Raises:
            RepositoryError: The file cannot be had.
        """
        raise NotImplementedError

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong the last time `documents` was read, without hiding the other documents."""
        return ()
