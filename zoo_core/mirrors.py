"""Other addresses of the same bytes: which mirror stands for which address, and in which order they are asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from zoo_core.errors import CriteriaError
from zoo_core.wording import printable

_PAIR = re.compile(r"(.+?)=([a-z]+://.+)", re.IGNORECASE)
_SCHEMES = ("http://", "https://", "file://")


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """Places that serve what lies under an address.

    Attributes:
        of: The beginning of the addresses that it stands for.
        urls: What that beginning is replaced by, in the order in which they are asked.
        is_trusted: The user's own configuration names it. Any other serves files whose document promises their bytes, and
            nothing that is taken as it comes.
    """

    of: str
    urls: tuple[str, ...]
    is_trusted: bool = True

    def addresses(self, url: str) -> Iterable[str]:
        """Where it has what lies at an address; nothing where it does not stand for that.

        >>> list(Mirror(of="https://models.example", urls=("https://near.example/m",)).addresses("https://models.example/a/b"))
        ['https://near.example/m/a/b']
        """
        # `https://models.example` is not the beginning of what lies on `models.example.org`.
        of, rest = self.of.rstrip("/"), url[len(self.of.rstrip("/")) :]
        if url.startswith(of) and (not rest or rest[0] in "/?#") and not _leads_out(rest):
            yield from (mirror.rstrip("/") + rest for mirror in self.urls)


def _leads_out(rest: str) -> bool:
    """Whether the end of an address leads out of what stands before it, which may be a folder of this machine."""
    path = unquote(re.split("[?#]", rest, maxsplit=1)[0])
    return ".." in re.split(r"[/\\]", path)


def mirrored(url: str, mirrors: Iterable[Mirror], *, is_pinned: bool) -> list[str]:
    """An address behind those of its mirrors, which are nearer or they would not have been named.

    Args:
        is_pinned: Whether a full digest tells right bytes from wrong ones, wherever they come from.
    """
    usable = [mirror for mirror in mirrors if mirror.is_trusted or is_pinned]
    return [*(address for mirror in usable for address in mirror.addresses(url)), url]


def checked_mirror(mirror: Mirror, where: str) -> Mirror:
    """The same mirror, if its addresses can be asked.

    Raises:
        CriteriaError: One is neither http(s) nor a folder of this machine.
    """
    for url in mirror.urls:
        if not url.lower().startswith(_SCHEMES):
            raise CriteriaError(f"{where}: mirror {printable(url)!r}: expected an address with http://, https:// or file://")
    if "://" not in mirror.of:
        raise CriteriaError(f"{where}: mirror of {printable(mirror.of)!r}: expected an address such as https://models.example/")
    return mirror


def parse_mirrors(text: str) -> tuple[Mirror, ...]:
    """What ``ZOO_MIRROR`` says: ``of=url``, several of them between spaces.

    Raises:
        CriteriaError: It says something else.

    >>> parse_mirrors("https://models.example/=file:///mnt/models/")
    (Mirror(of='https://models.example/', urls=('file:///mnt/models/',), is_trusted=True),)
    """
    mirrors = []
    for word in text.split():
        pair = _PAIR.fullmatch(word)
        if pair is None:
            raise CriteriaError(
                f"ZOO_MIRROR: {printable(word)!r}: expected OF=URL, such as https://a.example/=https://b.example/"
            )
        mirrors.append(checked_mirror(Mirror(of=pair[1], urls=(pair[2],)), "ZOO_MIRROR"))
    return tuple(mirrors)
