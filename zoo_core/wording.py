"""How lists, near names and foreign text are worded in messages."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable


def near(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names that look most like a name, best first; case does not count.

    >>> near("dataste", ["dataset", "layers"])
    ['dataset']
    """
    by_folded = {text.lower(): text for text in known}
    return [by_folded[text] for text in difflib.get_close_matches(name.lower(), by_folded, limit, 0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause in parentheses that offers near names, or nothing.

    >>> did_you_mean("dataste", ["dataset", "layers"])
    ' (did you mean dataset?)'
    """
    names = near(name, known)
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def listing(items: Iterable[object], *, limit: int = 8, near_to: str = "") -> str:
    """Items sorted and joined, those near a name first, cut after ``limit`` with the number that was left out.

    Foreign text among them is made harmless, as `printable` does it.

    >>> listing(range(4), limit=2), listing(["dog", "tabby cat"], near_to="tabby")
    ('0, 1, and 2 more', 'tabby cat, dog')
    """
    known = {printable(str(item)) for item in items}
    first = near(near_to, known) if near_to else []
    texts = [*first, *sorted(known - set(first), key=natural)]
    shown = ", ".join(texts[:limit])
    return f"{shown}, and {len(texts) - limit} more" if len(texts) > limit else shown


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that orders numbers inside names by value: 18 before 101."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for char in f"{text}\0":
        if char.isascii() and char.isdigit():
            digits += char
            continue
        if digits:
            # A number longer than this is an id; int() of thousands of digits raises.
            parts.append((0, int(digits[:64]), digits))
            digits = ""
        parts.append((1, ord(char), ""))
    return tuple(parts)


def printable(text: str) -> str:
    r"""Foreign text made harmless for a terminal: control and direction characters and ends of lines are escaped.

    >>> printable("a" + chr(27) + "[31m")
    'a\\x1b[31m'
    """
    return "".join(
        char
        if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


#: Parts of the names that parameters of an address have which hold a secret: those of signed addresses are among them.
_SECRET = re.compile(r"([?&][^=&#\s]*(?:auth|credential|key|passw|secret|sig|token)[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)


def shown_url(url: str) -> str:
    """An address for a message: printable, and without the user, password, token or signature that it may hold.

    >>> shown_url("https://anna:secret@models.example.com/zoo/?token=secret&version=1")
    'https://***@models.example.com/zoo/?token=***&version=1'
    """
    return printable(_SECRET.sub(r"\1***", re.sub(r"(?<=://)[^/?#\s]*@", "***@", url)))


def age_text(age_s: float) -> str:
    """Seconds in words for people, in the largest unit that there is a whole one of.

    >>> age_text(7300), age_text(40), age_text(0.2)
    ('2 hours', '40 seconds', '1 second')
    """
    units = ((86_400, "day"), (3600, "hour"), (60, "minute"))
    unit_s, name = next((unit for unit in units if age_s >= unit[0]), (1, "second"))
    count = max(1, int(age_s // unit_s))
    return f"{count} {name}{'s' if count != 1 else ''}"


def bytes_text(count: int) -> str:
    """A number of bytes for people, in powers of 1000.

    >>> bytes_text(18_800_000)
    '18.8 MB'
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
