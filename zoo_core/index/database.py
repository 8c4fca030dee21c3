"""The SQLite file of one repository: its tables, and how it is opened and asked.

    about       what the file is and was made from, as JSON texts
    documents   a row each: path and stamp, to tell whether it changed; position, the order of the repository; type; artifacts
    contents    the documents as the repository gives them
    postings    (term, document): see `zoo_core.index.terms`
    texts, ids  trigrams of all text, and of the artifact ids (FTS5, without the texts themselves)

A file never changes once it has its name, so it is read without a lock.
Source: SQLite's manual, "URI Filenames", the parameter ``immutable``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from zoo_core.index.damaged import DamagedIndexError, OutdatedIndexError
from zoo_core.index.terms import all_of

#: Changes with what a file holds; one of another kind is made anew.
SCHEMA = 1
TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stamp BLOB NOT NULL, position INTEGER NOT NULL,
    type TEXT NOT NULL, artifacts INTEGER NOT NULL
);
CREATE INDEX others ON documents (type) WHERE type <> 'model';
CREATE TABLE contents (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE postings (term INTEGER NOT NULL, document INTEGER NOT NULL, PRIMARY KEY (term, document)) WITHOUT ROWID;
"""
#: Without the positions of trigrams, which would take most of the space: what has all trigrams of a word is looked at anyway.
TEXT_TABLES = """
CREATE VIRTUAL TABLE {name} USING fts5(text, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1');
INSERT INTO {name} ({name}, rank) VALUES ('hashsize', 16777216);
"""
#: Tables that FTS5 makes; a library without it has a catalogue too, and reads all of it for a word.
TEXTS = ("texts", "ids")
#: Candidates up to which it does not matter by which of its terms a question is narrowed first.
_FEW = 1000
#: Documents that are read at once.
_BATCH = 200

Groups = Sequence[tuple[int, ...]]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was made from.

    Attributes:
        made_by: The version of Zoo; another one may read documents in another way.
        uid: Tells this file from every other one.
        state: See `zoo_core.repository.base.Listing`.
        problems: The documents that could not be read, a message each, and how many more.
        artifacts: Type -> how many there are.
        has_texts: Words can be looked for by FTS5.
    """

    schema: int = SCHEMA
    made_by: str = ""
    uid: str = ""
    state: dict[str, str] = {}
    problems: tuple[str, ...] = ()
    artifacts: dict[str, int] = {}
    has_texts: bool = False


class Database:
    """An open file, for several threads.

    Args:
        connection: Closed with this object.

    Raises:
        DamagedIndexError: It is no such file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self.close = weakref.finalize(self, connection.close)
        with damage(), _closing_on_error(self.close):
            (value,) = connection.execute("SELECT value FROM about WHERE name = 'about'").fetchone() or ("",)
            self.about = msgspec.json.decode(value, type=About)
        if self.about.schema != SCHEMA:
            self.close()
            raise OutdatedIndexError(f"schema {self.about.schema} where {SCHEMA} was expected")

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open a file that has its final name.

        Raises:
            DamagedIndexError: It is no such file, or gone.
        """
        with damage():
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        return cls(connection)

    # What it is asked.

    def has(self, terms: tuple[int, ...]) -> bool:
        """Whether a document has one of the terms."""
        return self._count(terms, 1) > 0

    def matching(self, type: str, groups: Groups, grams: Sequence[str] = ()) -> list[int]:
        """The documents that have a term of each group, and all trigrams, in the order of the repository."""
        return [number for number, _ in sorted(self._found(type, groups, grams, -1), key=lambda item: item[1])]

    def some(self, type: str, groups: Groups, limit: int) -> list[int]:
        """A few of the documents that have a term of each group, at a cost that does not depend on how many there are."""
        return [number for number, _ in sorted(self._found(type, groups, (), limit), key=lambda item: item[1])]

    def near(self, type: str, question: str, limit: int) -> list[int]:
        """A few of the documents whose ids a question for trigrams finds."""
        if not self.about.has_texts:
            return []
        sql = "SELECT id, position FROM documents WHERE id IN (SELECT rowid FROM ids WHERE ids MATCH ? LIMIT ?) AND type = ?"
        try:
            found = self._rows(sql, (question, limit, type))
        except _NoTextsError:
            return []
        return [number for number, _ in sorted(found, key=lambda item: item[1])]

    def contents(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """The paths and contents of documents, in the order of the numbers, read when they are wanted."""
        for start in range(0, len(numbers), _BATCH):
            wanted = numbers[start : start + _BATCH]
            sql = f"SELECT id, path, content FROM documents JOIN contents USING (id) WHERE id IN ({_marks(wanted)})"
            by_number = {number: (path, content) for number, path, content in self._rows(sql, wanted)}
            yield from (by_number[number] for number in wanted if number in by_number)

    def check(self) -> list[str]:
        """What SQLite finds wrong with the whole file, as far as it shows."""
        return [text for (text,) in self._rows("PRAGMA quick_check(3)", ()) if text != "ok"]

    # How it is asked.

    def _found(self, type: str, groups: Groups, grams: Sequence[str], limit: int) -> list[tuple[int, int]]:
        """Numbers and positions."""
        counted = sorted(groups, key=lambda terms: self._count(terms, _FEW))
        few = bool(counted) and self._count(counted[0], _FEW) < _FEW
        if grams and not few and self.about.has_texts:
            try:
                return self._narrowed(
                    type, ("id IN (SELECT rowid FROM texts WHERE texts MATCH ?)", [all_of(grams)]), counted, limit
                )
            except _NoTextsError:
                pass
        if not counted:
            return self._narrowed(type, ("1", []), [], limit)
        first = f"id IN (SELECT document FROM postings WHERE term IN ({_marks(counted[0])}))"
        return self._narrowed(type, (first, list(counted[0])), counted[1:], limit)

    def _narrowed(self, type: str, first: tuple[str, list[Any]], rest: Groups, limit: int) -> list[tuple[int, int]]:
        clauses, values = [first[0]], first[1]
        for terms in rest:
            clauses.append(f"EXISTS (SELECT 1 FROM postings WHERE term IN ({_marks(terms)}) AND document = documents.id)")
            values += terms
        # So that the few which are no models are found without looking at all the others.
        clauses.append("type = ?" if type == "model" else "type <> 'model' AND type = ?")
        sql = f"SELECT id, position FROM documents WHERE {' AND '.join(clauses)} LIMIT ?"
        return self._rows(sql, [*values, type, limit])

    def _count(self, terms: tuple[int, ...], most: int) -> int:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM postings WHERE term IN ({_marks(terms)}) LIMIT ?)"
        ((count,),) = self._rows(sql, [*terms, most])
        return int(count)

    def _rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with damage(), self._lock:
            return self._connection.execute(sql, values).fetchall()


class _NoTextsError(Exception):
    """This SQLite cannot read what another one made."""


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Tell what SQLite says of a file in our words.

    Raises:
        DamagedIndexError: The file is damaged, gone, or no database.
    """
    try:
        yield
    except sqlite3.Error as error:
        if "no such tokenizer" in str(error) or "no such module" in str(error):
            raise _NoTextsError from error
        raise DamagedIndexError(str(error)) from error
    except msgspec.DecodeError as error:
        raise DamagedIndexError(str(error)) from error


@contextlib.contextmanager
def _closing_on_error(close: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close()
        raise


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
