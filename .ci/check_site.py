"""Check what Zensical's strict mode leaves out: pictures that are missing, pages left out of the menu, other people's hosts."""

import re
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches by itself when it shows a page. A link is followed by the reader, who may leave the site.
FETCHED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
#: Relations of <link> that name an address and fetch nothing.
NAMED_ONLY = {"canonical", "next", "prev"}


class Fetched(HTMLParser):
    """Collects the addresses that a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for each opening tag."""
        if tag == "link" and dict(attrs).get("rel") in NAMED_ONLY:
            return
        self.addresses += [value for name, value in attrs if (tag, name) in FETCHED and value]


def fetched(path: Path) -> list[str]:
    """The addresses that a page or a style sheet fetches."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return re.findall(r"""(?:url\(|@import\s)\s*["']?([^"')\s]+)""", text)
    parser = Fetched()
    parser.feed(text)
    return parser.addresses


def local(site: Path, page: Path, address: str) -> Path:
    """The file that an address on a page of the site means."""
    return (site if address.startswith("/") else page.parent) / unquote(address).lstrip("/")


def faults(site: Path) -> Iterator[str]:
    """Everything wrong with a built site, one line each."""
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        for address in fetched(path):
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.netloc:
                yield f"{path}: fetches {address} from another host"
            elif parts.path and not local(site, path, parts.path).exists():
                yield f"{path}: fetches {address}, which is missing"


def unlisted(config: Path) -> Iterator[str]:
    """Pages that the menu does not name, and names in it without a page."""
    project = tomllib.loads(config.read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"'([^']+\.md)'", repr(project["nav"])))
    pages = {path.relative_to(config.parent / "docs").as_posix() for path in config.parent.glob("docs/**/*.md")}
    yield from (f"{config.name}: the menu lacks the page {page}" for page in sorted(pages - named))
    yield from (f"{config.name}: the menu names {page}, which is missing" for page in sorted(named - pages))


if __name__ == "__main__":
    found = [*unlisted(Path("zensical.toml")), *faults(Path(sys.argv[1]))]
    print("\n".join(found) or "the site is complete and fetches nothing from elsewhere")  # noqa: T201
    sys.exit(bool(found))
