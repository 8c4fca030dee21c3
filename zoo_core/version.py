"""The order of versions, and the ranges that choose among them.

Versions that parse as PEP 440 sort above all that do not; among the others DJL's order holds (``docs/reference/metadata.md``);
an absent version is the lowest. One key for all, since a comparison pair by pair is no order.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.version import Version

from zoo_core.errors import CriteriaError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_SNAPSHOT = "-SNAPSHOT"
_PEP440_OPERATOR = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)")
_MAVEN_RANGE = re.compile(r"\s*([\[(])([^\[\]()]*)([\])])\s*(,|$)")

Key = tuple[Any, ...]


def version_key(text: str | None) -> Key:
    """The sort key of a version; None and "" stand for an absent one, the lowest.

    >>> sorted(["1.0", "1.0-SNAPSHOT", "1.0a1", "1.10", "1.9", "latest"], key=version_key)
    ['latest', '1.0a1', '1.0-SNAPSHOT', '1.0', '1.9', '1.10']
    """
    if not text:
        return (0,)
    plain = text.removesuffix(_SNAPSHOT)
    is_release = plain == text
    try:
        return (2, Version(plain), is_release)
    # Not only InvalidVersion: a number of thousands of digits is a plain ValueError.
    except ValueError:
        return (1, _parts(plain), is_release)


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    """DJL's comparison: at most five parts, numbers by value and below any text, then text by code unit."""
    parts = []
    for part in text.split(".", 4):
        if re.fullmatch(r"[+-]?[0-9]{1,10}", part) and -(2**31) <= int(part) < 2**31:
            parts.append((0, int(part), ""))
        else:
            parts.append((1, 0, part))
    return tuple(parts)


def is_prerelease(text: str | None) -> bool:
    """Whether a version is a pre-, development or snapshot release."""
    if not text:
        return False
    if text.endswith(_SNAPSHOT):
        return True
    try:
        return Version(text).is_prerelease
    except ValueError:
        return False


class VersionRange(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that a user asked for: exactly one, a PEP 440 specifier, or a union of Maven ranges.

    An absent version lies inside every Maven range and every specifier, as in DJL, and is never exactly one.
    """

    text: str
    exact: str | None = None
    specifier: SpecifierSet | None = None
    intervals: tuple[Interval, ...] = ()

    @property
    def names_prerelease(self) -> bool:
        """Whether the range itself names a pre-release, so that one may be chosen."""
        if self.exact is not None:
            return is_prerelease(self.exact)
        if self.specifier is not None:
            return any(is_prerelease(part.version.removesuffix(".*")) for part in self.specifier)
        return any(is_prerelease(bound) for interval in self.intervals for bound in (interval.low, interval.high))

    def __contains__(self, version: object) -> bool:
        text = version if isinstance(version, str) else None
        if self.exact is not None:
            return version_key(text) == version_key(self.exact)
        if not text:
            return True
        if self.specifier is not None:
            return self._specified(text, self.specifier)
        return any(version_key(text) in interval for interval in self.intervals)

    @staticmethod
    def _specified(text: str, specifier: SpecifierSet) -> bool:
        try:
            return specifier.contains(_pep440(text), prereleases=True)
        except ValueError:
            return False


def _pep440(text: str) -> Version:
    """A version as specifiers compare it; a snapshot as what lies just below its release, as `version_key` has it."""
    plain = text.removesuffix(_SNAPSHOT)
    found = Version(plain)
    if plain == text or found.is_devrelease or found.local:
        return found
    return Version(f"{plain}.dev0" if found.is_prerelease or found.is_postrelease else f"{plain}rc{10**9}")


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """One Maven interval; a bound that is None is open to that side."""

    low: str | None
    high: str | None
    includes_low: bool
    includes_high: bool

    def __contains__(self, key: Key) -> bool:
        if self.low is not None:
            low = version_key(self.low)
            if key < low or (key == low and not self.includes_low):
                return False
        if self.high is not None:
            high = version_key(self.high)
            if key > high or (key == high and not self.includes_high):
                return False
        return True


def parse_range(text: str) -> VersionRange:
    """Read a version, a PEP 440 specifier (``>=1,<2``) or a Maven range (``[1.0,2.0)``).

    >>> "1.5" in parse_range("[1.0,2.0)"), "1.0.0" in parse_range("1.0"), "2.0" in parse_range("~=1.4")
    (True, True, False)

    Raises:
        CriteriaError: The text is none of them.
    """
    stripped = text.strip()
    if stripped.startswith(("[", "(")):
        return VersionRange(text=text, intervals=_maven(stripped))
    if _PEP440_OPERATOR.match(stripped):
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            return VersionRange(text=text, specifier=SpecifierSet(stripped))
        except InvalidSpecifier as error:
            raise CriteriaError(f"version {text!r} is not a PEP 440 specifier such as '>=1.0,<2'") from error
    if not stripped or any(char in stripped for char in "[](), "):
        raise _malformed(text, "it is neither a version nor a range")
    return VersionRange(text=text, exact=stripped)


def _maven(text: str) -> tuple[Interval, ...]:
    intervals: list[Interval] = []
    position = 0
    while position < len(text):
        found = _MAVEN_RANGE.match(text, position)
        if found is None or (found[4] == "," and found.end() == len(text)):
            raise _malformed(text, "a range is not closed, or text follows it")
        intervals.append(_interval(text, found))
        position = found.end()
    for before, after in itertools.pairwise(intervals):
        if before.high is None or after.low is None or version_key(before.high) > version_key(after.low):
            raise _malformed(text, "the ranges overlap or do not rise")
        if version_key(before.high) == version_key(after.low) and before.includes_high and after.includes_low:
            raise _malformed(text, "the ranges overlap")
    return tuple(intervals)


def _interval(text: str, found: re.Match[str]) -> Interval:
    opening, body, closing = found[1], found[2].strip(), found[3]
    if "," not in body:
        if opening != "[" or closing != "]" or not body:
            raise _malformed(text, "a single version stands in square brackets: [1.0]")
        return Interval(low=body, high=body, includes_low=True, includes_high=True)
    low, _, high = (part.strip() or None for part in body.partition(","))
    if high is not None and "," in high:
        raise _malformed(text, "an interval has two bounds")
    if low is not None and high is not None and version_key(low) >= version_key(high):
        raise _malformed(text, "the lower bound is not below the upper one")
    return Interval(low=low, high=high, includes_low=opening == "[", includes_high=closing == "]")


def _malformed(text: str, why: str) -> CriteriaError:
    return CriteriaError(f"version {text!r}: {why}. Examples: 1.0, >=1.0,<2, [1.0,2.0), (,1.5]")
