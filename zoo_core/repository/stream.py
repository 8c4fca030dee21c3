"""index.json as a stream: its documents one after the other, whatever its size, never all of them in memory."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import msgspec

from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import MAX_DOCUMENT
from zoo_core.wording import bytes_text, shown_url

#: Bytes of an index that are read, compressed and unpacked; one of a million artifacts has some 800 MB.
MAX_INDEX = 2 << 30
#: Bytes that one entry has beside its document: the path and the digest.
_BESIDE = 1 << 16
_WINDOW = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_SPACE = " \t\n\r"
#: Numbers are not converted here: one of a million digits takes long, and nobody looks at it.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


class IndexEntry(msgspec.Struct, frozen=True):
    """One document in an index; what it says of the digest is not looked at, as it may be wrong."""

    path: str
    metadata: msgspec.Raw


def index_entries(stream: IO[bytes], url: str, *, max_size: int = MAX_INDEX) -> Iterator[IndexEntry]:
    """The entries of an index, in its order.

    Args:
        stream: At its beginning; compressed by gzip or not.
        url: For messages.
        max_size: Bytes that it may have, unpacked.

    Raises:
        MetadataError: It is no index, has another version, or an entry is too large or nested too deeply; raised when the
            stream is there, so that an error may come after entries.
        RepositoryError: It is too large, or damaged.
    """
    reader = _Reader(_Text(_unpacked(stream), url, max_size), url)
    version: Any = None
    has_documents = False
    for name in reader.members():
        if name == "documents":
            has_documents = True
            yield from reader.entries()
        elif name == "indexVersion":
            version = reader.value("$.indexVersion")
        else:
            reader.value(f"$.{name}")
    if version is None or not has_documents:
        lacking = "indexVersion" if version is None else "documents"
        raise _no_index(url, "$", f"it has no `{lacking}`")
    if version != "1":
        found = shown_url(str(version))
        raise MetadataError(
            f"{shown_url(url)}: $.indexVersion: expected 1, found {found}: upgrade zoo-core", url=url, field="$.indexVersion"
        )


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The bytes of a stream, unpacked if they are compressed: servers call one file by both names."""
    start = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb")) if start == _GZIP_MAGIC else stream


class _Text:
    """A window on a long text, which grows at its end and is cut at its beginning."""

    def __init__(self, stream: IO[bytes], url: str, max_size: int) -> None:
        self._stream, self._url, self._left = stream, url, max_size
        self._max_size = max_size
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self.text, self.at = "", 0
        self.is_whole = False

    def grow(self, count: int = _WINDOW) -> bool:
        """Read more; False where there is no more."""
        if self.is_whole:
            return False
        try:
            data = self._stream.read(count)
            more = self._decode.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise _no_index(self._url, "$", f"no UTF-8: {error.reason}") from error
        except (EOFError, zlib.error, OSError) as error:
            raise RepositoryError(f"{shown_url(self._url)} is damaged: {error}", self._url) from error
        self._left -= len(data)
        if self._left < 0:
            raise too_large(self._url, self._max_size)
        self.is_whole = not data
        self.text, self.at = self.text[self.at :] + more, 0
        return not self.is_whole

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _SPACE:
                    return self.text[self.at]
                self.at += 1
            if not self.grow():
                return ""


class _Reader:
    """Reads one value after the other."""

    def __init__(self, text: _Text, url: str) -> None:
        self._text, self._url = text, url

    def members(self) -> Iterator[str]:
        """The names of an object's members; whoever asks reads the value after each."""
        yield from self._each("{", "}", "$", lambda _: self._name())
        if self._text.peek():
            raise _no_index(self._url, "$", "something follows it")

    def entries(self) -> Iterator[IndexEntry]:
        """The elements of the array ``documents``."""
        return self._each("[", "]", "$.documents", self._entry)

    def value(self, field: str) -> Any:
        """Any value; numbers stay text."""
        return self._raw(field, MAX_DOCUMENT)[0]

    def _each(self, opening: str, closing: str, field: str, read: Callable[[int], Any]) -> Iterator[Any]:
        if self._text.peek() != opening:
            kind = "an object" if opening == "{" else "an array"
            raise _no_index(self._url, field, f"expected {kind}, found {self._text.peek()!r}")
        self._text.at += 1
        if self._text.peek() == closing:
            self._text.at += 1
            return
        number = 0
        while True:
            yield read(number)
            number += 1
            separator = self._text.peek()
            if separator not in (",", closing) or not separator:
                raise _no_index(self._url, field, f"expected a comma or {closing}, found {separator!r}")
            self._text.at += 1
            if separator == closing:
                return

    def _name(self) -> str:
        if self._text.peek() != '"':
            raise _no_index(self._url, "$", f"expected a name, found {self._text.peek()!r}")
        name = self._raw("$", _BESIDE)[0]
        if self._text.peek() != ":":
            raise _no_index(self._url, "$", f"expected a colon, found {self._text.peek()!r}")
        self._text.at += 1
        return str(name)

    def _entry(self, number: int) -> IndexEntry:
        field = f"$.documents[{number}]"
        if self._text.peek() != "{":
            raise _no_index(self._url, field, f"expected an object, found {self._text.peek()!r}")
        _, raw = self._raw(field, MAX_DOCUMENT + _BESIDE)
        try:
            return msgspec.json.decode(raw, type=IndexEntry)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _no_index(self._url, field, str(error)) from error

    def _raw(self, field: str, limit: int) -> tuple[Any, str]:
        """The next value, decoded and as it is written."""
        self._text.peek()
        wanted = _WINDOW
        while True:
            text, at = self._text.text, self._text.at
            try:
                value, end = _decoder.raw_decode(text, at)
            except RecursionError as error:
                raise _no_index(self._url, field, "it is nested too deeply") from error
            except ValueError as error:
                if len(text) - at > limit:
                    raise _no_index(self._url, field, f"no JSON of at most {bytes_text(limit)}") from error
                # The rest of it may not be here yet. What is read anew doubles, so that little is looked at twice.
                if not self._text.grow(wanted):
                    raise _no_index(self._url, field, f"no JSON: {error}") from error
                wanted *= 2
                continue
            # A number at the end of the window may go on.
            if end == len(text) and self._text.grow():
                continue
            if end - at > limit:
                raise _no_index(self._url, field, f"it is larger than {bytes_text(limit)}")
            text, at, end = self._text.text, self._text.at, end - at + self._text.at
            self._text.at = end
            return value, text[at:end]


def too_large(url: str, max_size: int) -> RepositoryError:
    """The error for an index that has more bytes than it may."""
    return RepositoryError(
        f"{shown_url(url)}: more than {bytes_text(max_size)} came; `max_index_size` in zoo.toml allows more", url
    )


def _no_index(url: str, field: str, what: str) -> MetadataError:
    return MetadataError(f"{shown_url(url)}: no index: {field}: {shown_url(what)}", url=url, field=field)
