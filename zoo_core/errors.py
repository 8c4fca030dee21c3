"""Every exception that Zoo raises.

    ZooError
    ├── CriteriaError (ValueError)            the question itself is wrong
    ├── InputError (ValueError)               what was given to a model cannot be used
    ├── ModelNotFoundError                    nothing matches; the reasons are in the message
    ├── AmbiguousModelError                   several different models match
    ├── PluginError                           a plugin is broken or breaks the contract
    │   ├── AmbiguousPluginError              several distributions claim one name
    │   └── PackageNotInstalledError          a distribution is missing
    │       └── EngineNotInstalledError       the missing distribution is an engine plugin
    ├── RepositoryError                       a repository cannot be read
    │   └── OfflineError                      the network is needed and forbidden
    ├── MetadataError                         a document does not follow the format
    ├── IntegrityError                        bytes are not those that were promised
    ├── UnsafeArchiveError                    an archive would write where it must not
    ├── UntrustedCodeError                    a load would run what nobody trusted
    ├── ParameterError                        parameters do not fit the block
    └── CacheError                            the cache folder cannot be used

A message says what was asked, what was found and what to do; the facts are attributes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from zoo_core.selection import Explanation


class ZooError(Exception):
    """The base of every error that Zoo raises.

    Attributes:
        exit_code: The exit status of the command ``zoo`` that ends with this error.
    """

    exit_code: ClassVar[int] = 1


class ZooWarning(UserWarning):
    """Something that did not stop the work and that its user should know: a stale index, a hook that raised."""


class CriteriaError(ZooError, ValueError):
    """The question is wrong: an unknown application, a malformed version range, two answers to one field."""

    exit_code = 2


class InputError(ZooError, ValueError):
    """What was given to a loaded model, or asked of it, cannot be used: no picture, wrong shape, no such device."""


class ModelNotFoundError(ZooError):
    """No artifact matches.

    Attributes:
        explanation: Every artifact that was looked at, with the reason why it was refused.
    """

    exit_code = 3

    def __init__(self, message: str, explanation: Explanation | None = None) -> None:
        super().__init__(message)
        self.explanation = explanation


class AmbiguousModelError(ZooError):
    """Several different models match, and nothing says which one is meant.

    Attributes:
        candidates: The models as ``group/artifact``, sorted.
    """

    exit_code = 3

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class PluginError(ZooError):
    """A plugin cannot be imported, does not follow its contract, or was made for another core."""

    exit_code = 8


class AmbiguousPluginError(PluginError):
    """Several distributions claim one name.

    Attributes:
        claimants: The names that choose one of them, as ``distribution:name``, sorted.
    """

    def __init__(self, message: str, claimants: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.claimants = tuple(claimants)


class PackageNotInstalledError(PluginError):
    """Distributions are missing.

    Attributes:
        missing: What to install, as PEP 508 requirements, sorted.
    """

    def __init__(self, message: str, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class EngineNotInstalledError(PackageNotInstalledError):
    """The plugin of an engine is missing."""


class RepositoryError(ZooError):
    """A repository cannot be read.

    Attributes:
        url: The repository, or the address in it.
        status: The status that a server answered; None where none did.
    """

    exit_code = 4

    def __init__(self, message: str, url: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class OfflineError(RepositoryError):
    """The network is needed, and offline mode forbids it."""


class MetadataError(ZooError):
    """A document does not follow the format of its kind.

    Attributes:
        url: Where the document lies.
        field: The path of the bad field in it, such as ``$.artifacts[0].files.model.uri``.
    """

    exit_code = 5

    def __init__(self, message: str, url: str = "", field: str = "") -> None:
        super().__init__(message)
        self.url = url
        self.field = field


class IntegrityError(ZooError):
    """Bytes are not those that were promised.

    Attributes:
        expected: The digest that was promised, as ``sha256:<hex>``.
        found: The digest of the bytes that came.
        url: Where they came from.
    """

    exit_code = 5

    def __init__(self, message: str, *, expected: str = "", found: str = "", url: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found
        self.url = url


class UnsafeArchiveError(ZooError):
    """An archive would write outside its folder, or more than it may.

    Attributes:
        member: The name of the member, as it stands in the archive; "" where it is the archive as a whole.
    """

    exit_code = 5

    def __init__(self, message: str, *, member: str = "") -> None:
        super().__init__(message)
        self.member = member


class UntrustedCodeError(ZooError):
    """Loading would run a program or code that nobody trusted."""

    exit_code = 6


class ParameterError(ZooError):
    """Parameters do not fit the block, or a parameter file is malformed.

    Attributes:
        missing: Names that the block has and the file lacks.
        unexpected: Names that the file has and the block lacks.
        mismatched: Names whose shapes differ.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        mismatched: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.mismatched = tuple(mismatched)


class CacheError(ZooError):
    """The cache folder cannot be written or read."""

    exit_code = 7
