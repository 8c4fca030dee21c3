"""What a repository lists, into a file: all of it the first time, later only what changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import msgspec

from zoo_core.__about__ import __version__
from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.index.database import SCHEMA, TABLES, TEXT_TABLES, TEXTS, About, Database, damage
from zoo_core.index.terms import ids_of, terms_of, text_of
from zoo_core.metadata import Metadata
from zoo_core.repository.base import Entry, Listing, Repository
from zoo_core.wording import shown_url

#: Messages that are kept of documents that could not be read.
_MOST_PROBLEMS = 100
#: Nothing reads the file before it is whole, and what a killed process leaves is never read.
_FAST = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-65536"


def write(path: Path, repository: Repository, listing: Listing, known: About | None = None) -> None:
    """Make a file of a listing.

    Args:
        path: Where it is made; a file of ours that is there, which `known` describes, is changed.
        known: What is in the file already; None: it is empty.

    Raises:
        RepositoryError, MetadataError, ...: What reading the listing raises; the file is worth nothing then.
        DamagedIndexError: What was there is damaged, or the file cannot be written.
    """
    with closing(_connected(str(path))) as connection:
        _fill(connection, repository, listing, known)


def build(repository: Repository, listing: Listing) -> Database:
    """Make a database that goes with this process; it is on the disk where it is large.

    Raises:
        RepositoryError, MetadataError, DamagedIndexError: As for `write`.
    """
    # An empty name is a file that SQLite deletes. Source: SQLite's manual, "In-Memory Databases".
    connection = _connected("")
    try:
        _fill(connection, repository, listing, None)
    except BaseException:
        connection.close()
        raise
    return Database(connection)


def _connected(path: str) -> sqlite3.Connection:
    with damage():
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _fill(connection: sqlite3.Connection, repository: Repository, listing: Listing, known: About | None) -> None:
    with damage(), listing:
        connection.executescript(_FAST)
        about = _Building(connection, repository, known).taken(listing)
        connection.execute("REPLACE INTO about VALUES ('about', ?)", (msgspec.json.encode(about).decode(),))
        connection.execute("COMMIT")


class _Building:
    def __init__(self, connection: sqlite3.Connection, repository: Repository, known: About | None) -> None:
        self._run = connection.execute
        self._connection, self._repository = connection, repository
        self._is_new = known is None
        self._problems: list[str] = []
        self._more_problems = 0
        self._seen = bytearray(1)
        if known is None:
            connection.executescript(TABLES)
            has_texts = _with_texts(connection)
            # Sorted once, when all are there: each at its place would be a page of the disk each.
            connection.executescript("PRAGMA temp_store=FILE; CREATE TEMP TABLE staged (term INTEGER, document INTEGER)")
            self._postings = "INSERT INTO temp.staged VALUES (?, ?)"
        else:
            has_texts = known.has_texts
            self._postings = "INSERT OR IGNORE INTO postings VALUES (?, ?)"
        self._texts = TEXTS if has_texts else ()
        connection.execute("BEGIN")

    def taken(self, listing: Listing) -> About:
        """Take everything in; gives what the file is then."""
        for position, entry in enumerate(listing.entries):
            self._take(entry, position)
        for problem in self._repository.problems:
            self._problem(problem)
        if self._is_new:
            self._run("INSERT INTO postings SELECT DISTINCT term, document FROM temp.staged ORDER BY term, document")
            self._run("DROP TABLE temp.staged")
        else:
            self._remove_unseen()
        for name in self._texts if self._is_new else ():
            self._run(f"INSERT INTO {name} ({name}) VALUES ('optimize')")
        counts = self._run("SELECT type, sum(artifacts) FROM documents GROUP BY type")
        more = [f"... and {self._more_problems} more documents could not be read"] if self._more_problems else []
        return About(
            schema=SCHEMA,
            made_by=__version__,
            uid=uuid4().hex,
            state=dict(listing.state),
            problems=(*self._problems, *more),
            artifacts=dict(counts.fetchall()),
            has_texts=bool(self._texts),
        )

    def _take(self, entry: Entry, position: int) -> None:
        known = self._run("SELECT id, stamp, position FROM documents WHERE path = ?", (entry.path,)).fetchone()
        if known is not None and self._is_seen(known[0]):
            self._problem(f"{entry.path} is listed twice; the first counts")
            return
        if known is not None and entry.stamp and known[1] == entry.stamp:
            self._see(known[0])
            if known[2] != position:
                self._run("UPDATE documents SET position = ? WHERE id = ?", (position, known[0]))
            return
        try:
            content = entry.read()
            metadata = self._repository.decoded(entry.path, content)
        except (MetadataError, RepositoryError) as error:
            # The one that was there is removed, since it is not seen.
            self._problem(shown_url(str(error)))
            return
        if known is not None:
            self._remove(known[0])
        self._add(entry, position, content, metadata)

    def _add(self, entry: Entry, position: int, content: bytes, metadata: Metadata) -> None:
        row = (entry.path, entry.stamp, position, metadata.mrl.type, len(metadata.artifacts))
        sql = "INSERT INTO documents (path, stamp, position, type, artifacts) VALUES (?, ?, ?, ?, ?)"
        number = self._run(sql, row).lastrowid or 0
        self._run("INSERT INTO contents VALUES (?, ?)", (number, content))
        self._connection.executemany(self._postings, ((term, number) for term in terms_of(metadata)))
        for name, text in self._texts_of(metadata):
            self._run(f"INSERT INTO {name} (rowid, text) VALUES (?, ?)", (number, text))
        self._see(number)

    def _remove(self, number: int) -> None:
        ((path, content),) = self._run("SELECT path, content FROM documents JOIN contents USING (id) WHERE id = ?", (number,))
        metadata = self._repository.decoded(path, content)
        for name, text in self._texts_of(metadata):
            # What FTS5 does not keep it must be told. Source: SQLite's manual, "Contentless Tables".
            self._run(f"INSERT INTO {name} ({name}, rowid, text) VALUES ('delete', ?, ?)", (number, text))
        terms = ((term, number) for term in terms_of(metadata))
        self._connection.executemany("DELETE FROM postings WHERE term = ? AND document = ?", terms)
        self._run("DELETE FROM contents WHERE id = ?", (number,))
        self._run("DELETE FROM documents WHERE id = ?", (number,))

    def _remove_unseen(self) -> None:
        gone = [number for (number,) in self._run("SELECT id FROM documents") if not self._is_seen(number)]
        for number in gone:
            self._remove(number)

    def _texts_of(self, metadata: Metadata) -> Iterator[tuple[str, str]]:
        made: dict[str, Callable[[Metadata], str]] = {"texts": text_of, "ids": ids_of}
        return ((name, made[name](metadata)) for name in self._texts)

    def _see(self, number: int) -> None:
        if number >= len(self._seen):
            self._seen.extend(bytes(max(number + 1, 2 * len(self._seen)) - len(self._seen)))
        self._seen[number] = 1

    def _is_seen(self, number: int) -> bool:
        return number < len(self._seen) and bool(self._seen[number])

    def _problem(self, message: str) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(message)
        else:
            self._more_problems += 1


def _with_texts(connection: sqlite3.Connection) -> bool:
    """Make the tables for words; False where this SQLite has no FTS5, or one without trigrams."""
    try:
        for name in TEXTS:
            connection.executescript(TEXT_TABLES.format(name=name))
    except sqlite3.OperationalError:
        for name in TEXTS:
            with suppress(sqlite3.OperationalError):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
        return False
    return True
