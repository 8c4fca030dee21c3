"""What a load may execute: programs by where they come from, carried code by its digest or its repository.

Trust is the user's own word, in a call, on a command line or in their configuration. Nothing that an artifact, an address or a
document says adds to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo_core.address import address_of
from zoo_core.entry_points import normalised
from zoo_core.errors import UntrustedCodeError
from zoo_core.parameters import ParameterFile
from zoo_core.record import Source
from zoo_core.wording import printable, shown_url

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)
_DISTRIBUTION = "dist:"


def may_run_programs(source: Source | None, *, trusted: bool) -> bool:
    """Whether programs may be loaded from a place.

    Args:
        source: The repository; None where the caller handed over the file itself.
        trusted: The caller's own word, ``trust_programs``.
    """
    return trusted or source is None or source.is_configured


def refuse_untrusted_program(file: ParameterFile, what: str, source: Source | None, *, trusted: bool) -> None:
    """Refuse a file that carries a program, unless it is data or comes from where programs are trusted.

    Raises:
        UntrustedCodeError: It is neither.
    """
    if file.is_data or may_run_programs(source, trusted=trusted):
        return
    raise untrusted_program(what, sorted({program.kind for program in file.programs.values()}), source)


def untrusted_program(what: str, kinds: Iterable[str], source: Source | None) -> UntrustedCodeError:
    """The error for a program from an address that nothing configured."""
    place = f" from {shown_url(source.repository)}" if source is not None else ""
    return UntrustedCodeError(
        f"{what} holds a program ({', '.join(kinds)}){place}, which only this call names; programs run from installed packages "
        "and from repositories of your own configuration. To load it all the same: trust_programs=True (--trust-programs)"
    )


def is_code_trusted(sha256: str, source: Source | None, trusted: Iterable[str]) -> bool:
    """Whether the user trusts carried code.

    Args:
        sha256: The digest of the code, in lower-case hexadecimal.
        source: The repository that it comes from; None where the caller handed over the folder itself.
        trusted: The user's words: ``sha256:<hex>``, the address of a repository, or ``dist:<distribution>``.

    >>> is_code_trusted("0" * 64, None, ["sha256:" + "0" * 64]), is_code_trusted("0" * 64, None, ["0" * 63 + "1"])
    (True, False)
    """
    return any(_trusts(word.strip(), sha256, source) for word in trusted)


def _trusts(word: str, sha256: str, source: Source | None) -> bool:
    digest = _SHA256.fullmatch(word)
    if digest is not None:
        return digest[1].lower() == sha256
    # What a lock says of where it is from is anybody's word.
    if source is None or source.is_claimed or not word:
        return False
    if word.startswith(_DISTRIBUTION):
        named = normalised(word.removeprefix(_DISTRIBUTION))
        return bool(named) and named == normalised(source.distribution)
    # A folder is written as it is for --repository.
    return address_of(word).rstrip("/") == source.repository.rstrip("/")


def untrusted_code(what: str, place: str, sha256: str) -> UntrustedCodeError:
    """The error for carried code that nobody trusts."""
    return UntrustedCodeError(
        f"{what} carries Python code, which runs only where you trust it. Read it: {printable(place)}. To trust exactly "
        f'this code: trust_code=["sha256:{sha256}"] (--trust-code sha256:{sha256})'
    )
