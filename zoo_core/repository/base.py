"""Repository: a place that lists documents and opens files."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from zoo_core.artifact import ArtifactFile
    from zoo_core.metadata import Metadata
    from zoo_core.record import Source
    from zoo_core.sources import Parts
    from zoo_core.transfer import Transfer


class Entry(msgspec.Struct, frozen=True):
    """One document of a repository, perhaps not read yet.

    Attributes:
        path: What tells it from the repository's others.
        stamp: Bytes that change when the document does.
        read: Gives what `Repository.decoded` makes a document of; may raise a RepositoryError.
    """

    path: str
    stamp: bytes
    read: Callable[[], bytes]


class Listing(msgspec.Struct, frozen=True):
    """All that a repository holds now; to be closed.

    Attributes:
        entries: Read once, in the repository's order.
        state: What the repository wants to be told the next time that it is asked.
        close: Gives up what the entries are read from.
    """

    entries: Iterator[Entry] = iter(())
    state: Mapping[str, str] = {}
    close: Callable[[], object] = lambda: None

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
    #: Two of its kind that say one address hold the same.
    _is_told_by_url: bool = True
    #: What a zoo opened it as. It stays that when it is given to another: ModelZoo([url, *ModelZoo().repositories]).
    _opened_as: Source | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Whoever gives documents in its own way does not hold those that a class above it would list.
        if "documents" in vars(cls) and "entries" not in vars(cls):
            cls.entries, cls.decoded = Repository.entries, Repository.decoded  # type: ignore[method-assign]  # said above

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

    def listing(self, known: Mapping[str, str] | None = None) -> Listing | None:
        """All that it holds; None where that is what is known already.

        One that can tell by the same request whether anything changed, and what, does so here.

        Args:
            known: The state of the listing that is known; None where none is.

        Raises:
            RepositoryError: It cannot be read.
            MetadataError: What it gives is no listing.
        """
        fingerprint = self.fingerprint()
        if known is not None and known.get("fingerprint") == fingerprint:
            return None
        return Listing(iter(self.entries()), {"fingerprint": fingerprint})

    def hurried(self) -> Repository:
        """The same one, which asks once and soon gives up: for a listing that can be done without, since one is known."""
        return self

    def entries(self) -> Iterable[Entry]:
        """All its documents, so that those which are known already need not be read."""
        seen: dict[str, int] = {}
        for metadata in self.documents():
            content = _encoded(metadata)
            place = f"{metadata.url} {metadata.mrl}"
            # A repository may give all its documents one address.
            number = seen[place] = seen.get(place, 0) + 1
            path = place if number == 1 else f"{place} {number}"
            yield Entry(path, hashlib.sha256(content).digest(), functools.partial(bytes, content))

    def decoded(self, path: str, content: bytes) -> Metadata:
        """The document of an entry.

        Raises:
            MetadataError: It is malformed.
        """
        from zoo_core.metadata import Metadata

        return msgspec.json.decode(content, type=Metadata, dec_hook=_thawed)

    def document(self, metadata: Metadata) -> bytes:
        """The whole document, as it is written, where only a listing was read; see `Metadata.listed_as`.

        Raises:
            RepositoryError: It cannot be had.
        """
        from zoo_core.errors import RepositoryError

        raise RepositoryError(f"{self.url} lists {metadata.mrl} and has no document of it", metadata.url)

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


def _encoded(metadata: object) -> bytes:
    from zoo_core.errors import PluginError
    from zoo_core.metadata import Metadata

    if not isinstance(metadata, Metadata):
        raise PluginError(f"a repository must give Metadata; it gave a {type(metadata).__name__}")
    return msgspec.json.encode(metadata, enc_hook=dict)


def _thawed(kind: Any, value: Any) -> Any:
    return kind(value)
