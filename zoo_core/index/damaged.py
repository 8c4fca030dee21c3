"""The errors for a file of the catalogue that is of no use; told apart without SQLite."""

from zoo_core.errors import CacheError


class DamagedIndexError(CacheError):
    """A file is none of ours any more; whoever meets it makes a new one."""


class OutdatedIndexError(DamagedIndexError):
    """A file is whole, and of another version of Zoo that put other things into it."""
